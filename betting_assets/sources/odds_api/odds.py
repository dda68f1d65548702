"""Rows of The Odds API → ticks: whole books, home first, with the lay prices of an exchange beside its back prices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import ValidationError

from betting_assets.sources.feed import Account, Event, Told, fixture_id, football_fixture
from betting_assets.sources.odds_api.names import FOOTBALL_PREFIX, SOURCE, bookmaker_slug, league_of
from betting_assets.sources.odds_api.rows import Row
from betting_assets.sources.records import MAX_PRICE, SELECTIONS, Fixture, Market, Tick

GOAL_LINE = 2.5
_MARKETS = {
    "h2h": Market.MATCH_RESULT,
    "h2h_lay": Market.MATCH_RESULT,
    "totals": Market.OVER_UNDER,
    "spreads": Market.ASIAN_HANDICAP,
}
_LAY = "h2h_lay"


class _Timed(NamedTuple):
    at: dt.datetime
    tick: Tick


class _Key(NamedTuple):
    sport: str
    starts: dt.datetime
    home: str
    away: str
    bookmaker: str
    market: Market
    line: float
    pulled_at: dt.datetime | None


@dataclass
class _Prices:
    taken_at: dt.datetime
    place: int
    back: dict[str, float] = field(default_factory=dict)
    lay: dict[str, float] = field(default_factory=dict)


def ticks(rows: Iterable[Row], account: Account, *, league: str = "", told: Told | None = None) -> Iterator[Event]:
    """Ticks in order of time: that of the pull where the rows tell it, else that of the bookmaker's last update.

    A tick's `taken_at` is the bookmaker's last update; its sequence is the time of the pull in milliseconds, so that of
    two answers with one time of update the later one counts. `league` stands in where rows do not name their sport.
    """
    told = told or Told()
    events = [event for key, prices in _books(rows, account).items() if (event := _event(key, prices, account, league))]
    events.sort(key=lambda one: (one[0].at, one[0].tick.match_id, one[0].tick.bookmaker, one[0].tick.market))
    for (at, tick), fixture in events:
        news = told.news(tick.match_id, fixture)
        yield account.count(Event(at, tick.model_copy(update={"fixture": news}) if news else tick))


def _books(rows: Iterable[Row], account: Account) -> dict[_Key, _Prices]:
    books: dict[_Key, _Prices] = {}
    for row in rows:
        market = _MARKETS.get(row.market)
        selection = _selection(row)
        if market is None:
            account.skip("unsupported_market")
        elif row.sport and not row.sport.startswith(FOOTBALL_PREFIX):
            account.skip("unsupported_sport")
        elif selection is None:
            account.skip("unknown_outcome")
        elif (line := _line(row, market, selection)) is None:
            account.skip("other_total_line" if market is Market.OVER_UNDER else "without_point")
        else:
            key = _Key(row.sport, row.starts, row.home, row.away, row.bookmaker, market, line, row.pulled_at)
            _add(books.setdefault(key, _Prices(row.taken_at, row.place)), row, selection, account)
    return books


def _add(prices: _Prices, row: Row, selection: str, account: Account) -> None:
    side = prices.lay if row.market == _LAY else prices.back
    if selection in side:
        account.skip("repeated_price")
    if 1.0 < row.price <= MAX_PRICE:
        side[selection] = row.price
    else:
        account.skip("price_out_of_range")
    prices.taken_at = max(prices.taken_at, row.taken_at)
    prices.place = row.place


def _selection(row: Row) -> str | None:
    if row.market == "totals":
        return row.outcome.lower() if row.outcome.lower() in SELECTIONS[Market.OVER_UNDER] else None
    if row.outcome == row.home:
        return "home"
    if row.outcome == row.away:
        return "away"
    return "draw" if row.outcome == "Draw" and row.market in ("h2h", _LAY) else None


def _line(row: Row, market: Market, selection: str) -> float | None:
    """The book's line; a handicap is the one of the home team, so the away team's is turned round."""
    if market is Market.MATCH_RESULT:
        return 0.0
    if row.point is None:
        return None
    if market is Market.OVER_UNDER:
        return GOAL_LINE if row.point == GOAL_LINE else None
    return (row.point if selection == "home" else -row.point) + 0.0  # plus zero: no minus zero


def _event(key: _Key, prices: _Prices, account: Account, league: str) -> tuple[_Timed, Fixture] | None:
    fixture = football_fixture(league_of(key.sport) if key.sport else league or SOURCE, key.starts, key.home, key.away)
    if fixture is None:
        account.reject(prices.place, "unusable_names", f"{key.home} v {key.away}")
        return None
    if not prices.back:
        account.skip("lay_without_back")
        return None
    selections = SELECTIONS[key.market]
    try:
        tick = Tick(
            match_id=fixture_id(fixture),
            bookmaker=bookmaker_slug(key.bookmaker),
            market=key.market,
            line=key.line,
            prices=tuple(prices.back.get(one) for one in selections),
            lay=tuple(prices.lay.get(one) for one in selections) if prices.lay else None,
            in_play=prices.taken_at >= key.starts,
            taken_at=prices.taken_at,
            sequence=int(key.pulled_at.timestamp() * 1000) if key.pulled_at else 0,
            source=SOURCE,
        )
    except ValidationError as error:
        first = error.errors()[0]
        account.reject(prices.place, "unusable_book", f"{key.home} v {key.away}, {key.bookmaker}: {first['msg']}")
        return None
    return _Timed(key.pulled_at or prices.taken_at, tick), fixture
