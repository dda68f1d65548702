"""What the board shows, kept in memory: pure state without I/O, bounded, in the order of the ticks it speaks for."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bentos.match_odds.board.contract import BoardMarket, BoardMatch, Point

LINGERS = dt.timedelta(hours=3)
"""How long after its kick-off a match is shown."""

UNKNOWN_LINGERS = dt.timedelta(days=1)
"""How long after its newest odds a match without a known date is shown."""

MOST_MATCHES = 2_000
MOST_POINTS = 61
"""Of a market's movement: sixty earlier ones, and the newest."""

Key = tuple[str, str]
"""Match and market."""


@dataclass(frozen=True)
class Landed:
    """A prediction as it was landed; the first three say for which tick it speaks."""

    epoch: int
    partition: int
    offset: int
    market: BoardMarket

    @property
    def key(self) -> Key:
        return self.market.match_id, self.market.market

    def replaces(self, other: Landed) -> bool:
        """Whether it speaks for a later tick; a repeated or delayed publication does not."""
        if (self.epoch, self.partition) == (other.epoch, other.partition):
            return self.offset > other.offset
        return (self.epoch, self.market.scored_at) > (other.epoch, other.market.scored_at)


@dataclass(frozen=True)
class Change:
    matches: list[BoardMatch]
    markets: list[BoardMarket]
    gone: list[str]

    def __bool__(self) -> bool:
        return bool(self.matches or self.markets or self.gone)


class Snapshot:
    """Matches that are not over, and the newest prediction of each of their markets.

    Attributes:
        newest_odds: when the newest odds that were ever taken in were taken; None before the first.
    """

    def __init__(self) -> None:
        self.newest_odds: dt.datetime | None = None
        self._matches: dict[str, BoardMatch] = {}
        self._newest: dict[Key, Landed] = {}
        self._history: dict[Key, deque[Point]] = {}
        self._shown: dict[str, BoardMatch] = {}
        self._told: dict[Key, Landed] = {}

    @property
    def match_ids(self) -> list[str]:
        """Of all that it holds; those of predictions whose match was not described yet among them."""
        return list({match_id for match_id, _ in self._newest})

    def undescribed(self) -> list[str]:
        return [match_id for match_id in self.match_ids if match_id not in self._matches]

    def describe(self, matches: Iterable[BoardMatch]) -> None:
        self._matches |= {match.match_id: match for match in matches}

    def take(self, predictions: Iterable[Landed]) -> None:
        """Keep each that is newer than what is held of its market."""
        for one in predictions:
            self.heard(one.market.taken_at)
            held = self._newest.get(one.key)
            if held is None or one.replaces(held):
                self._newest[one.key] = one

    def heard(self, taken_at: dt.datetime) -> None:
        """Odds of this time exist."""
        self.newest_odds = max(self.newest_odds or taken_at, taken_at)

    def recall(self, histories: Mapping[Key, Iterable[Point]]) -> None:
        """How markets moved up to what is held of them, oldest first."""
        for key, points in histories.items():
            self._history.pop(key, None)
            for point in points:
                self._point(key, point)

    def prune(self, clock: dt.datetime) -> None:
        """Forget matches that are over, and the least recently scored of too many."""
        scored: dict[str, dt.datetime] = {}
        taken: dict[str, dt.datetime] = {}
        for (match_id, _), landed in self._newest.items():
            market = landed.market
            scored[match_id] = max(scored.get(match_id, market.scored_at), market.scored_at)
            taken[match_id] = max(taken.get(match_id, market.taken_at), market.taken_at)
        kept = [match_id for match_id in scored if not is_over(self._match(match_id), taken[match_id], clock)]
        if len(kept) > MOST_MATCHES:
            kept = sorted(kept, key=lambda match_id: scored[match_id], reverse=True)[:MOST_MATCHES]
        wanted = set(kept)
        self._newest = {key: one for key, one in self._newest.items() if key[0] in wanted}
        self._history = {key: points for key, points in self._history.items() if key[0] in wanted}
        self._matches = {match_id: match for match_id, match in self._matches.items() if match_id in wanted}

    def changes(self) -> Change:
        """What differs from the last time that this was asked; movements get a point for each market in it."""
        present = {match_id: self._match(match_id) for match_id in self.match_ids}
        matches = [match for match_id, match in present.items() if self._shown.get(match_id) != match]
        markets = [one.market for key, one in self._newest.items() if self._told.get(key) is not one]
        for market in markets:
            if market.market_probabilities:
                point = market.taken_at.timestamp(), market.market_probabilities[0]
                self._point((market.match_id, market.market), point)
        gone = [match_id for match_id in self._shown if match_id not in present]
        self._shown, self._told = present, dict(self._newest)
        return Change(matches, markets, gone)

    def history(self, key: Key) -> tuple[Point, ...]:
        return tuple(self._history.get(key, ()))

    def _point(self, key: Key, point: Point) -> None:
        """Only what moved: the line is flat between two points."""
        points = self._history.setdefault(key, deque(maxlen=MOST_POINTS))
        if not points or points[-1][1] != point[1]:
            points.append(point)

    def _match(self, match_id: str) -> BoardMatch:
        return self._matches.get(match_id) or BoardMatch(match_id=match_id)


def is_over(match: BoardMatch, newest_odds: dt.datetime, clock: dt.datetime) -> bool:
    """Whether a match is not shown any more.

    By its kick-off; where only its date is known, by the end of that day; where nothing is, by its newest odds.
    """
    if match.kickoff is not None:
        return clock > match.kickoff + LINGERS
    if match.match_date is not None:
        return clock > dt.datetime.combine(match.match_date, dt.time(), dt.UTC) + dt.timedelta(days=1) + LINGERS
    return clock > newest_odds + UNKNOWN_LINGERS
