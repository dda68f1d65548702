"""The books of all matches in hand: kept in memory, loaded from PostgreSQL when a match is first heard of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import psycopg

from betting_assets.sources.records import Tick
from betting_assets.streaming.scoring import checkpoint
from betting_assets.streaming.scoring.books import At, Book, Match, Names, book_of, is_modelled, microseconds

MOST = 20_000
"""Matches that are held; beyond that all are let go, and loaded again when they are heard of."""

Touched = tuple[str, str]
"""A match and a market."""


class State:
    """Attributes:
    touched: what ticks have told of since the last prediction, in order.
    changed: books that no checkpoint has yet.
    unmodelled: ticks of lines that no model can know.

    Args:
        by_data: time is told by the newest tick, not by the clock.
    """

    def __init__(self, conn: psycopg.Connection, *, by_data: bool) -> None:
        self._conn = conn
        self._by_data = by_data
        self._newest = checkpoint.newest_time(conn)
        self.names = Names()
        self.matches: dict[str, Match] = {}
        self.touched: dict[Touched, None] = {}
        self.changed: dict[tuple[str, str, str], Book] = {}
        self.unmodelled = 0

    @property
    def now(self) -> int:
        """Microseconds since 1970."""
        return self._newest if self._by_data else microseconds(dt.datetime.now(dt.UTC))

    def apply(self, ticks: Iterable[tuple[Tick, At]]) -> None:
        """A tick that is older than what is known changes no book, but is spoken for as any other."""
        modelled = [(tick, at) for tick, at in ticks if self._counts(tick)]
        self._know({tick.match_id for tick, _ in modelled})
        for tick, at in modelled:
            market, book = tick.market.value, book_of(tick, at)
            if self.matches[tick.match_id].lines[market].apply(book):
                self.changed[tick.match_id, market, book.bookmaker] = book
                self._newest = max(self._newest, book.taken_at)
            self.touched[tick.match_id, market] = None

    def take_changed(self) -> dict[tuple[str, str, str], Book]:
        """What a checkpoint should hold."""
        changed, self.changed = self.changed, {}
        return changed

    def let_go(self) -> None:
        """Forget matches if they are too many. Only while a checkpoint has every book, and nothing is touched."""
        if len(self.matches) > MOST:
            self.matches = {}

    def _counts(self, tick: Tick) -> bool:
        modelled = is_modelled(tick)
        self.unmodelled += not modelled
        return modelled

    def _know(self, match_ids: set[str]) -> None:
        if new := sorted(match_ids - self.matches.keys()):
            loaded = checkpoint.load(self._conn, new)
            self.matches |= {match_id: Match(self.names, books) for match_id, books in loaded.items()}
