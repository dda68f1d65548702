"""The board as JSON, each piece of it rendered once, however often the whole is put together."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from bentos.match_odds.board.contract import BoardMarket, Serving, Status
from bentos.match_odds.board.snapshot import Change, Key, Snapshot


@dataclass(frozen=True)
class Rendered:
    """A `BoardData`, without the clock that goes before it.

    Attributes:
        whole: all of it, for whoever comes now.
        change: what is new; None where everybody needs the whole.
        clock: of replayed matches; None: the time.
    """

    whole: bytes
    change: bytes | None
    clock: dt.datetime | None

    def now(self) -> dt.datetime:
        return self.clock or dt.datetime.now(dt.UTC)

    def told_whole(self) -> bytes:
        return _with_clock(self.now(), self.whole)

    def told_change(self) -> bytes | None:
        return None if self.change is None else _with_clock(self.now(), self.change)


class Rendering:
    """Follows the changes of one snapshot."""

    def __init__(self, snapshot: Snapshot, replayed: bool) -> None:
        self._snapshot = snapshot
        self._replayed = replayed
        self._matches: dict[str, bytes] = {}
        self._markets: dict[Key, bytes] = {}

    def render(self, change: Change, status: Status, serving: Serving) -> Rendered:
        """The change, and the whole after it."""
        new = {key for market in change.markets if (key := (market.match_id, market.market)) not in self._markets}
        self._apply(change)
        matches = [match.model_dump_json().encode() for match in change.matches]
        markets = [
            self._markets[key] if (key := (market.match_id, market.market)) in new else _bare(market)
            for market in change.markets
        ]
        return Rendered(
            self._put(status, serving, self._matches.values(), self._markets.values(), []),
            self._put(status, serving, matches, markets, change.gone),
            self._snapshot.newest_odds if self._replayed else None,
        )

    def _apply(self, change: Change) -> None:
        self._matches |= {match.match_id: match.model_dump_json().encode() for match in change.matches}
        for market in change.markets:
            key = market.match_id, market.market
            history = self._snapshot.history(key)
            self._markets[key] = market.model_copy(update={"history": history}).model_dump_json().encode()
        for match_id in set(change.gone):
            self._matches.pop(match_id, None)
        if change.gone:
            self._markets = {key: text for key, text in self._markets.items() if key[0] in self._matches}

    def _put(
        self, status: Status, serving: Serving, matches: Iterable[bytes], markets: Iterable[bytes], gone: list[str]
    ) -> bytes:
        parts = (
            b'"replayed":' + (b"true" if self._replayed else b"false"),
            b'"status":' + status.model_dump_json().encode(),
            b'"serving":' + serving.model_dump_json().encode(),
            b'"matches":[' + b",".join(matches) + b"]",
            b'"markets":[' + b",".join(markets) + b"]",
            b'"gone":[' + b",".join(f'"{match_id}"'.encode() for match_id in gone) + b"]",
        )
        return b",".join(parts) + b"}"


def _bare(market: BoardMarket) -> bytes:
    return market.model_dump_json(exclude={"history"}).encode()


def _with_clock(clock: dt.datetime, message: bytes) -> bytes:
    return f'{{"clock":"{clock.isoformat()}",'.encode() + message
