"""Features of the matches that are asked for, kept in memory and never staler than a stated bound.

Everything here runs on one event loop, but for the reads, which block and have a thread of their own. Requests that
need a read at the same moment share one. What was asked for in the last seconds, or is watched, is read again in the
background, so that few requests wait. While the store is away nobody waits for it: rows that are not too old are still
given out, everything else is refused at once, and the background tries again until the store answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import heapq
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bentos.match_odds.errors import Overloaded, Unavailable
from bentos.match_odds.features.online import NO_STORE, OnlineReader, Read, one_line, reason
from bentos.match_odds.features.stored_rows import ChampionRows, Content, contents
from bentos.match_odds.model.champions import Champion
from bentos.match_odds.model.rows import CachedRow

TIMEOUT = 5.0
"""Seconds to wait for the store before a request is refused."""

OPENING_TIMEOUT = 30.0
"""Seconds for the first read: loading Feast alone takes some."""

MAX_READ = 4096
"""Matches in one read, and matches that can be watched: all of them are read together."""

MAX_ENTRIES = 20_000
WANTED = 5.0
"""Seconds for which a match that was asked for is kept fresh."""

PROBE_EVERY = 0.5
"""Seconds between two attempts to reach a store that is away."""

REST = 4.0
"""The background rests at least so many times as long as it reads, whatever the bound."""

RETIRED = 60.0
"""Seconds after which a champion that nobody asks for is forgotten."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoreState:
    """Attributes:
    reason: one line about why the store is not reachable.
    entries: matches in memory.
    oldest_age: seconds, of the oldest of those that are asked for or watched.
    """

    reachable: bool
    reason: str | None
    entries: int
    oldest_age: float | None


class Subscription:
    """Tells which of its matches have changed, each once however often it did, for as long as nobody looks.

    Attributes:
        stale: matches of which also newer times of the same values are a change.
    """

    def __init__(self, market: str, match_ids: Sequence[str]) -> None:
        self.market = market
        self.match_ids = tuple(dict.fromkeys(match_ids))
        self.stale: set[str] = set()
        self._changed: set[str] = set()
        self._event = asyncio.Event()

    def mark(self, match_id: str) -> None:
        self._changed.add(match_id)
        self._event.set()

    def mark_all(self) -> None:
        self._changed.update(self.match_ids)
        self._event.set()

    def in_order(self, match_ids: Collection[str]) -> list[str]:
        return [match_id for match_id in self.match_ids if match_id in match_ids]

    async def changes(self, seconds: float) -> set[str]:
        """Matches that have changed since the last call; waits at most `seconds` for one."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), max(seconds, 0.0))
        self._event.clear()
        changed, self._changed = self._changed, set()
        return changed


class _Entry:
    """`started`: when the read began that gave the content; `asked`: when somebody last wanted it."""

    __slots__ = ("asked", "content", "read_at", "started")

    def __init__(self, content: Content, started: float, read_at: dt.datetime) -> None:
        self.content = content
        self.started = started
        self.read_at = read_at
        self.asked = started


class _Flight:
    """One read, shared by all who want it. `done` never holds an error: see what the cache has then."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self.started: float | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


class FeatureCache:
    """See the module. Without `open`, nothing happens in the background.

    Args:
        url: PostgreSQL that holds the online store; None where the service runs without one.
        bound: seconds above which a row is not served while the store answers.
        stale_limit: seconds up to which one is served while the store is away, or slower than the bound.
        read: instead of the online store at `url`.
        max_entries: matches in memory; well above what one read takes.
    """

    def __init__(
        self,
        url: str | None,
        bound: float,
        stale_limit: float,
        read: Read | None = None,
        clock: Callable[[], float] = time.monotonic,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._bound = bound
        self._limit = max(bound, stale_limit)
        self._read = read or (OnlineReader(url) if url else None)
        self._clock = clock
        self._max_entries = max_entries
        self._thread = ThreadPoolExecutor(1, "online-store")
        self._entries: dict[str, _Entry] = {}
        self._champions: dict[int, ChampionRows] = {}
        self._subscribers: dict[str, set[Subscription]] = {}
        self._flying: _Flight | None = None
        self._next: _Flight | None = None
        self._pilot: asyncio.Task[None] | None = None
        self._background: asyncio.Task[None] | None = None
        self._failure: str | None = None
        self._answered = False
        self._oldest: float | None = None

    @property
    def reachable(self) -> bool:
        """Whether the store answered the last read."""
        return self._answered and self._failure is None

    @property
    def state(self) -> StoreState:
        why = NO_STORE if self._read is None else self._failure
        if why is None and not self._answered:
            why = "the online store has not been read yet"
        age = None if self._oldest is None else self._clock() - self._oldest
        return StoreState(self.reachable, why, len(self._entries), age)

    async def open(self) -> None:
        """Load Feast, connect, and begin to keep rows fresh. Raises Unavailable; the background goes on trying."""
        if self._read is None:
            raise Unavailable(NO_STORE)
        flight = self._join(())
        if self._background is None:
            self._background = asyncio.create_task(self._keep_fresh())
        await asyncio.wait({flight.done}, timeout=OPENING_TIMEOUT)
        if not self.reachable:
            raise Unavailable(self._why())

    def close(self) -> None:
        """Let go of the store; requests that wait for it are refused."""
        self._failure = "the service is stopping"
        for task in (self._background, self._pilot):
            if task is not None:
                task.cancel()
        for flight in (self._flying, self._next):
            if flight is not None:
                flight.end()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def peek(self, champion: Champion, match_ids: Sequence[str]) -> list[CachedRow] | None:
        """One row an id, in order, if all of them are younger than the bound: no waiting, no thread."""
        return self._rows(champion, match_ids, self._bound)

    async def get(self, champion: Champion, match_ids: Sequence[str]) -> list[CachedRow]:
        """As `peek`, after a read where one is needed. Rows above the bound: the store is away, or slower than it.

        Raises:
            Unavailable: the store cannot be reached, or not in time, and what is in memory is too old.
            Overloaded: too many other matches are waiting to be read.
        """
        rows = self._rows(champion, match_ids, self._bound)
        if rows is None:
            await self._freshen(match_ids)
            rows = self._rows(champion, match_ids, self._limit)
        if rows is None:
            raise Unavailable(self._why())
        return rows

    @contextlib.contextmanager
    def subscribed(self, market: str, match_ids: Sequence[str]) -> Iterator[Subscription]:
        """Keeps matches fresh, and tells which of them change in what an answer for this market shows.

        Raises:
            Overloaded: too many matches are watched already.
        """
        subscription = Subscription(market, match_ids)
        new = sum(match_id not in self._subscribers for match_id in subscription.match_ids)
        if len(self._subscribers) + new > MAX_READ:
            raise Overloaded(f"{len(self._subscribers)} matches are watched already, and {MAX_READ} can be: try again")
        for match_id in subscription.match_ids:
            self._subscribers.setdefault(match_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            for match_id in subscription.match_ids:
                self._subscribers[match_id].discard(subscription)
                if not self._subscribers[match_id]:
                    del self._subscribers[match_id]

    async def refresh(self) -> None:
        """One round in the background: forget what nobody needs, read what somebody does, or look for a lost store."""
        now = self._clock()
        self._forget(now)
        wanted = self._wanted(now)
        read = [self._entries[match_id].started for match_id in wanted if match_id in self._entries]
        self._oldest = min(read, default=None)
        if self._failure is None and not wanted:
            return
        try:
            flight = self._join(wanted if self._failure is None else ())
        except Overloaded:
            return  # Requests read more than fits, and what they read is fresh.
        await asyncio.wait({flight.done})
        if self._failure is None and read:
            self._oldest = flight.started

    async def _keep_fresh(self) -> None:
        while True:
            began = self._clock()
            await self.refresh()
            took = self._clock() - began
            rest = max(self._bound / 2 - took, REST * took)
            await asyncio.sleep(rest if self._failure is None else PROBE_EVERY)

    def _rows(self, champion: Champion, match_ids: Sequence[str], limit: float) -> list[CachedRow] | None:
        """None if a row is missing or older than `limit` seconds."""
        now = self._clock()
        of = self._champions.get(id(champion))
        if of is None:
            of = self._champions[id(champion)] = ChampionRows(champion)
        of.used = now
        rows = []
        for match_id in match_ids:
            entry = self._entries.get(match_id)
            if entry is None or now - entry.started > limit:
                return None
            entry.asked = now
            rows.append(CachedRow(of.of(entry.content), entry.read_at, now - entry.started))
        return rows

    async def _freshen(self, match_ids: Sequence[str]) -> None:
        """Wait for a read of these matches; but while there are rows to fall back on, not for long.

        All of them are read: the young ones would grow old while the others are waited for.
        """
        if self._read is None or self._failure is not None:
            return
        flight, now = self._join(match_ids), self._clock()
        found = [entry for match_id in match_ids if (entry := self._entries.get(match_id)) is not None]
        for entry in found:
            entry.asked = now
        patience = TIMEOUT
        if len(found) == len(match_ids) and all(now - entry.started <= self._limit for entry in found):
            began = now if flight.started is None else flight.started
            patience = max(began + self._bound - now, 0.0)
        await asyncio.wait({flight.done}, timeout=patience)

    def _why(self) -> str:
        if self._read is None:
            return NO_STORE
        return self._failure or "the online store did not answer in time: try again"

    def _join(self, match_ids: Sequence[str]) -> _Flight:
        """The read under way if it has all of these, else the next one. Raises Overloaded."""
        if self._flying is not None and all(match_id in self._flying.ids for match_id in match_ids):
            return self._flying
        flight = self._next or _Flight()
        if len(flight.ids) + sum(match_id not in flight.ids for match_id in match_ids) > MAX_READ:
            raise Overloaded(f"{len(flight.ids)} matches are waiting for the online store already: try again")
        flight.ids.update(dict.fromkeys(match_ids))
        self._next = flight
        if self._pilot is None:
            self._pilot = asyncio.create_task(self._fly())
        return flight

    async def _fly(self) -> None:
        """Read after read until none is wanted. It starts a turn late, so that requests of one moment meet."""
        try:
            while (flight := self._next) is not None:
                self._flying, self._next = flight, None
                await self._land(flight)
        finally:
            self._flying = self._pilot = None

    async def _land(self, flight: _Flight) -> None:
        began = flight.started = self._clock()
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._blocking, list(flight.ids))
        timeout = TIMEOUT if self._answered else OPENING_TIMEOUT
        try:
            await asyncio.wait({work}, timeout=timeout)
            if not work.done():
                work.cancel()  # Only if it has not begun; what the thread is at ends by the store's own timeouts.
                self._fail(f"the online store did not answer within {timeout:.0f} seconds: try again")
            elif (error := work.exception()) is not None:
                self._fail(reason(error), error)
            else:
                self._keep(began, *work.result())
        finally:
            flight.end()

    def _blocking(self, match_ids: list[str]) -> tuple[dt.datetime, list[Content]]:
        """In the thread: it only looks into the entries."""
        assert self._read is not None
        read = self._read(match_ids)
        return read.read_at, contents(read, self._known)

    def _known(self, match_id: str) -> Content | None:
        entry = self._entries.get(match_id)
        return None if entry is None else entry.content

    def _fail(self, why: str, error: BaseException | None = None) -> None:
        """Nobody waits for a store that is away, nor those who wanted the next read."""
        if self._failure is None:
            logger.warning("%s%s", why, f" ({one_line(error)})" if error else "")
        self._failure = why
        if self._next is not None:
            self._next.end()
            self._next = None

    def _keep(self, began: float, read_at: dt.datetime, found: Sequence[Content]) -> None:
        """Ages count from the beginning of the read: nothing is older than it says."""
        if self._failure is not None:
            logger.warning("the online store answers again")
        self._failure, self._answered = None, True
        for content in found:
            entry = self._entries.get(content.match_id)
            if entry is None:
                self._entries[content.match_id] = _Entry(content, began, read_at)
                continue
            if entry.content is not content:
                self._tell(entry.content, content)
                entry.content = content
            entry.started, entry.read_at = began, read_at
        if len(self._entries) > self._max_entries:
            self._shrink()

    def _tell(self, before: Content, after: Content) -> None:
        for subscription in self._subscribers.get(after.match_id, ()):
            if after.match_id in subscription.stale or not after.shows_as(before, subscription.market):
                subscription.mark(after.match_id)

    def _wanted(self, now: float) -> list[str]:
        """What is watched, and what was asked for lately; of too many, what was asked for last."""
        wanted = list(self._subscribers)
        asked = [
            (entry.asked, match_id)
            for match_id, entry in self._entries.items()
            if now - entry.asked <= WANTED and match_id not in self._subscribers
        ]
        room = MAX_READ - len(wanted)
        last = asked if len(asked) <= room else heapq.nlargest(room, asked)
        return wanted + [match_id for _, match_id in last]

    def _forget(self, now: float) -> None:
        """Rows that are too old to be served, and champions that nobody asks for any more.

        What is watched stays: what comes next is compared with it.
        """
        old = [
            match_id
            for match_id, entry in self._entries.items()
            if now - entry.started > self._limit and match_id not in self._subscribers
        ]
        for match_id in old:
            del self._entries[match_id]
        for key in [key for key, of in self._champions.items() if now - of.used > RETIRED]:
            del self._champions[key]
            for entry in self._entries.values():
                entry.content.rows.pop(key, None)

    def _shrink(self) -> None:
        """A tenth more than needed goes, so that not every read has to; what was asked for last stays."""
        unwatched = [(e.asked, match_id) for match_id, e in self._entries.items() if match_id not in self._subscribers]
        surplus = len(self._entries) - self._max_entries * 9 // 10
        for _, match_id in heapq.nsmallest(surplus, unwatched):
            del self._entries[match_id]
