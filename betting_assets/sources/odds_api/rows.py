"""The Odds API's prices in one form, a row a price, whichever layout they came in."""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from betting_assets.sources.errors import SourceError
from betting_assets.sources.feed import Account, utc

_COLUMNS = {
    "event": ("event_id", "game_id", "id"),
    "sport": ("sport_key",),
    "starts": ("commence_time",),
    "home": ("home_team",),
    "away": ("away_team",),
    "bookmaker": ("bookmaker_key", "bookmaker"),
    "updated": ("last_update",),
    "pulled": ("snapshot_time", "pulled_at"),
    "market": ("market", "market_key"),
    "outcome": ("outcome_name", "name"),
    "price": ("price",),
    "point": ("point",),
}
"""Names that tools give to the columns when they keep answers of the API as tables."""

_OPTIONAL = ("event", "sport", "pulled", "point")


class Row(NamedTuple):
    """One price. `place` is its line in a table, or the number of its event in JSON."""

    place: int
    sport: str
    starts: dt.datetime
    home: str
    away: str
    bookmaker: str
    market: str
    outcome: str
    price: float
    point: float | None
    taken_at: dt.datetime
    pulled_at: dt.datetime | None


def is_odds_table(header: list[str]) -> bool:
    return all(any(name in header for name in _COLUMNS[field]) for field in _COLUMNS if field not in _OPTIONAL)


def rows_of_table(content: bytes, account: Account) -> Iterator[Row]:
    """Rows of a CSV file; a row that lacks a time, a team or a number is rejected with its line."""
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig", "replace"), newline=""))
    header = list(reader.fieldnames or [])
    chosen = {field: next((name for name in names if name in header), "") for field, names in _COLUMNS.items()}
    while True:
        try:
            raw = next(reader, None)
        except csv.Error as error:
            account.reject(reader.line_num, "torn_line", error)
            continue
        if raw is None:
            return
        values = {field: (raw.get(name) or "").strip() for field, name in chosen.items()}
        row = _row(reader.line_num, values)
        if isinstance(row, Row):
            yield row
        else:
            account.reject(reader.line_num, row, ",".join(str(value) for value in raw.values()))


def rows_of_answer(
    events: list[Any], account: Account, pulled_at: dt.datetime | None = None, sport: str = ""
) -> Iterator[Row]:
    """Rows of the API's answer (a list of events with bookmakers, markets and outcomes)."""
    for place, event in enumerate(events, 1):
        if not isinstance(event, dict):
            account.reject(place, "not_an_event", event)
            continue
        shared = {
            "sport": event.get("sport_key") or sport,
            "starts": event.get("commence_time"),
            "home": event.get("home_team"),
            "away": event.get("away_team"),
        }
        for bookmaker in _dicts(event.get("bookmakers")):
            for market in _dicts(bookmaker.get("markets")):
                for outcome in _dicts(market.get("outcomes")):
                    values = shared | {
                        "bookmaker": bookmaker.get("key"),
                        "updated": market.get("last_update") or bookmaker.get("last_update"),
                        "market": market.get("key"),
                        "outcome": outcome.get("name"),
                        "price": outcome.get("price"),
                        "point": outcome.get("point"),
                    }
                    row = _row(place, values, pulled_at)
                    if isinstance(row, Row):
                        yield row
                    else:
                        account.reject(place, row, values)


def in_decimal_odds(rows: list[Row], file: str) -> list[Row]:
    """The rows in decimal odds: American ones, which are all -100 and below or 100 and above, are converted exactly.

    Raises:
        SourceError: the file has negative prices beside ones that are no American odds.
    """
    american = bool(rows) and all(abs(row.price) >= 100 for row in rows)
    if american:
        return [row._replace(price=_decimal(row.price)) for row in rows]
    if negative := next((row for row in rows if row.price < 0), None):
        raise SourceError(
            f"{file}: price {negative.price:g} at {negative.place} is American odds, others are not; "
            "ask the API with oddsFormat=decimal"
        )
    return rows


def _decimal(american: float) -> float:
    return 1 + american / 100 if american > 0 else 1 + 100 / -american


def _row(place: int, values: Mapping[str, Any], pulled_at: dt.datetime | None = None) -> Row | str:
    """The row, or the reason why it is none."""
    starts = utc(values.get("starts"))
    pulled = pulled_at or utc(values.get("pulled"))
    taken = utc(values.get("updated")) or pulled
    if starts is None or taken is None:
        return "no_time"
    text = {name: values.get(name) or "" for name in ("sport", "home", "away", "bookmaker", "market", "outcome")}
    if not all(isinstance(value, str) for value in text.values()):
        return "not_text"
    text = {name: " ".join(value.split()) for name, value in text.items()}
    if not (text["home"] and text["away"] and text["bookmaker"] and text["market"] and text["outcome"]):
        return "incomplete_row"
    price, point = number(values.get("price")), number(values.get("point"))
    if price is None or (point is None and values.get("point") not in (None, "")):
        return "not_a_number"
    return Row(place, **text, starts=starts, price=price, point=point, taken_at=taken, pulled_at=pulled)


def number(value: object) -> float | None:
    """A finite number, given as such or as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        parsed = float(value)
    except ValueError:
        return None
    return parsed if math.isfinite(parsed) else None


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
