"""The live feed from The Odds API: asks at an interval, publishes the books that changed and the scores of late."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from betting_assets.settings import Settings
from betting_assets.sources.errors import SourceError
from betting_assets.sources.feed import Account, Event, Told
from betting_assets.sources.odds_api.names import LEAGUE_CODES
from betting_assets.sources.odds_api.odds import ticks
from betting_assets.sources.odds_api.rows import in_decimal_odds, rows_of_answer
from betting_assets.sources.odds_api.scores import results
from betting_assets.sources.records import LiveResult, Tick
from betting_assets.streaming.feeds.errors import FeedError, QuotaError
from betting_assets.streaming.feeds.odds_api_client import HOST, OddsApi
from betting_assets.streaming.feeds.publisher import Publisher

log = logging.getLogger(__name__)

MARKETS = ("h2h", "totals")
REGIONS = ("uk", "eu")
SCORES_COST = 2
"""Of asking for scores of the last days."""

_FAILURES = 10


@dataclass(frozen=True)
class PollerConfig:
    """An answer of odds costs markets × regions requests of the quota, for each sport and interval.

    `scores_every`: scores are asked for in every so many rounds; 0: never.
    """

    sports: tuple[str, ...] = ("soccer_epl",)
    interval: float = 300.0
    markets: tuple[str, ...] = MARKETS
    regions: tuple[str, ...] = REGIONS
    scores_every: int = 12
    base_url: str = HOST

    @property
    def odds_cost(self) -> int:
        return len(self.markets) * len(self.regions)


def sports_of(leagues: str) -> tuple[str, ...]:
    """Sport keys of comma-separated league codes, for `settings.leagues`; empty: the Premier League alone.

    Raises:
        FeedError: a league that The Odds API does not have.
    """
    wanted = [code.strip() for code in leagues.split(",") if code.strip()]
    keys = {code: sport for sport, code in LEAGUE_CODES.items()}
    if strange := [code for code in wanted if code not in keys]:
        raise FeedError(f"The Odds API has no league {', '.join(strange)}; choose from {', '.join(sorted(keys))}")
    return tuple(keys[code] for code in wanted) or PollerConfig().sports


@dataclass
class Poller:
    """Runs until `stop` is set, the quota is used up, or the API is silent for ten rounds."""

    settings: Settings
    config: PollerConfig = field(default_factory=PollerConfig)
    stop: threading.Event = field(default_factory=threading.Event)
    _books: dict[tuple[object, ...], Tick] = field(default_factory=dict)
    _told: Told = field(default_factory=Told)
    _results: dict[str, object] = field(default_factory=dict)

    def run(self) -> None:
        """Ask and publish, round after round; ends, with a line in the log, before the quota is used up.

        Raises:
            FeedError: the feed is off, has no key, was refused, or is silent; one line without the key.
            BrokerError: the broker took nothing for thirty seconds.
        """
        if self.settings.live_feed != "odds_api":
            raise FeedError("the feed from The Odds API is off: set BETTING_LIVE_FEED=odds_api")
        api = OddsApi(self.settings, self.stop.wait, self.config.base_url)
        try:
            with Publisher(self.settings) as publisher:
                self._rounds(api, publisher)
        except QuotaError as error:
            log.warning("%s", error)
        finally:
            api.close()

    def _rounds(self, api: OddsApi, publisher: Publisher) -> None:
        number, silent = 0, 0
        while not self.stop.is_set():
            answered, published = self._round(api, publisher, number)
            publisher.flush()
            silent = 0 if answered else silent + 1
            if silent >= _FAILURES:
                raise FeedError(f"The Odds API gave no answer in {silent} rounds; look at its status and start again")
            left = "unknown" if api.remaining is None else f"{api.remaining:g}"
            log.info("The Odds API: %d messages published; requests left: %s", published, left)
            number += 1
            if self.stop.wait(self.config.interval):
                return

    def _round(self, api: OddsApi, publisher: Publisher, number: int) -> tuple[int, int]:
        """Answers got and messages published in one round."""
        answered = published = 0
        for sport in self.config.sports:
            if self.stop.is_set():
                break
            found = self._odds(api, sport)
            answered += found is not None
            published += _send(publisher, found or [])
            if self.config.scores_every and number % self.config.scores_every == 0:
                published += _send(publisher, self._scores(api, sport))
        return answered, published

    def _odds(self, api: OddsApi, sport: str) -> list[Event] | None:
        query = {
            "regions": ",".join(self.config.regions),
            "markets": ",".join(self.config.markets),
            "oddsFormat": "decimal",
            "dateFormat": "iso",
        }
        answer = api.get(f"/v4/sports/{sport}/odds", self.config.odds_cost, **query)
        if answer is None:
            log.warning("The Odds API gave no odds of %s this time", sport)
            return None
        if answer.document is None:
            return []
        account = Account(sport)
        try:
            rows = in_decimal_odds(list(rows_of_answer(answer.document, account, answer.taken_at, sport)), sport)
        except SourceError as error:
            log.warning("%s", error)
            return None
        events = list(ticks(rows, account, told=self._told))
        if account.skipped:
            log.info("The Odds API, %s: not used: %s", sport, dict(account.skipped))
        return self._changed(sport, events)

    def _changed(self, sport: str, events: Iterable[Event]) -> list[Event]:
        """Events whose book says something new: other prices, another status, or a later time of the same.

        Only the books of the last answer are remembered, so that memory does not grow with the season.
        """
        now = {(sport, *_book_of(event.record)): event for event in events if isinstance(event.record, Tick)}
        fresh = [
            event
            for key, event in now.items()
            if event.record.fixture is not None or _said(self._books.get(key)) != _said(event.record)
        ]
        self._books = {key: tick for key, tick in self._books.items() if key[0] != sport}
        self._books.update({key: event.record for key, event in now.items() if isinstance(event.record, Tick)})
        return fresh

    def _scores(self, api: OddsApi, sport: str) -> list[Event]:
        answer = api.get(f"/v4/sports/{sport}/scores", SCORES_COST, daysFrom="3", dateFormat="iso")
        if answer is None or answer.document is None:
            return []
        found = {event.record.match_id: event for event in results(answer.document, Account(sport))}
        fresh = [event for key, event in found.items() if self._results.get(key) != _score(event)]
        self._results.update({key: _score(event) for key, event in found.items()})
        return fresh


def _send(publisher: Publisher, events: list[Event]) -> int:
    for event in events:
        publisher.send(event.record)
    return len(events)


def _score(event: Event) -> object:
    record = event.record
    return (record.home_score, record.away_score) if isinstance(record, LiveResult) else None


def _book_of(tick: Tick) -> tuple[object, ...]:
    return tick.match_id, tick.market, tick.line, tick.bookmaker


def _said(record: Tick | LiveResult | None) -> object:
    if not isinstance(record, Tick):
        return None
    return record.prices, record.lay, record.trading, record.in_play, record.taken_at
