"""The one reader of a worker: a thread that follows what is landed and renders it once, however many look at it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import replace

import psycopg

from bentos.match_odds.board import reading
from bentos.match_odds.board.contract import Serving, Status
from bentos.match_odds.board.rendering import Rendered, Rendering
from bentos.match_odds.board.snapshot import Snapshot, is_over
from bentos.match_odds.deploying.database_thread import DatabaseThread

POLL = 0.4
"""Seconds between two looks for what was landed."""

DESCRIBE = 30.0
"""Seconds between two looks whether what is known of the matches has changed."""

TOO_MANY = 50_000
"""Predictions landed between two looks, above which the board is read anew: that reads less."""

AWAY = "the database cannot be reached"
LIVE, EMPTY = Status(state="live"), Status(state="empty")


class BoardReader:
    """Calls `publish` from its thread: when it has read for the first time, and then with what changed.

    Args:
        replayed: time is told by the newest odds, not by the clock.
        serving: what the worker serves at that moment.
    """

    def __init__(
        self, url: str, replayed: bool, serving: Callable[[], Serving], publish: Callable[[Rendered], None]
    ) -> None:
        self._replayed, self._serving, self._publish = replayed, serving, publish
        self._snapshot = Snapshot()
        self._rendering = Rendering(self._snapshot, replayed)
        self._told: tuple[Status, Serving] | None = None
        self._reason = AWAY
        self._thread = DatabaseThread(url, "betting board", self._work, self._failed)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """It ends within a moment; nobody waits for that."""
        self._thread.stopping.set()

    def _work(self, conn: psycopg.Connection) -> None:
        conn.isolation_level, conn.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
        try:
            while not self._thread.stopping.is_set():
                self._follow(conn, self._read_all(conn))
        except psycopg.Error as error:
            self._reason = _reason(error)
            raise
        except Exception:
            self._reason = "the board cannot be read, see the log of the service"
            raise

    def _read_all(self, conn: psycopg.Connection) -> reading.Heads:
        """A new snapshot, as of one moment."""
        snapshot = Snapshot()
        with conn.transaction():
            heads = reading.heads(conn)
            for head in heads.values():
                snapshot.heard(head.taken_at)
            clock = self._clock(snapshot)
            matches = reading.describe(conn, reading.match_ids(conn))
            matches = [match for match in matches if not is_over(match, clock, clock)]
            snapshot.describe(matches)
            snapshot.take(reading.newest(conn, [match.match_id for match in matches]))
            snapshot.prune(clock)
            self._recall(conn, snapshot, snapshot.match_ids)
        self._snapshot, self._rendering = snapshot, Rendering(snapshot, self._replayed)
        self._told = None
        self._tell(LIVE if heads else EMPTY)
        return heads

    def _follow(self, conn: psycopg.Connection, heads: reading.Heads) -> None:
        """Until told to stop, or so much was landed that all is to be read anew."""
        describe_at = time.monotonic() + DESCRIBE
        while not self._thread.stopping.wait(POLL):
            is_due = time.monotonic() > describe_at
            with conn.transaction():
                now = reading.heads(conn)
                if reading.waiting(heads, now) > TOO_MANY:
                    return
                self._snapshot.take(reading.since(conn, heads, now))
                if new := self._snapshot.undescribed():
                    self._recall(conn, self._snapshot, new)
                if wanted := self._snapshot.match_ids if is_due else new:
                    self._snapshot.describe(reading.describe(conn, wanted))
            heads = now
            describe_at = time.monotonic() + DESCRIBE if is_due else describe_at
            self._snapshot.prune(self._clock(self._snapshot))
            self._tell(LIVE if heads else EMPTY)

    def _recall(self, conn: psycopg.Connection, snapshot: Snapshot, matches: list[str]) -> None:
        for some in reading.histories(conn, matches):
            snapshot.recall(some)

    def _tell(self, status: Status) -> None:
        """Publish what changed, if anything did; all of it the first time, and after the board was read anew."""
        change, told = self._snapshot.changes(), (status, self._serving())
        if not change and told == self._told:
            return
        rendered = self._rendering.render(change, *told)
        self._publish(replace(rendered, change=None) if self._told is None else rendered)
        self._told = told

    def _failed(self) -> None:
        """The connection could not be made, or broke: what was read before is shown on, and the reason told."""
        if not self._thread.stopping.is_set():
            self._tell(Status(state="away", detail=self._reason))
        self._reason = AWAY

    def _clock(self, snapshot: Snapshot) -> dt.datetime:
        return (snapshot.newest_odds if self._replayed else None) or dt.datetime.now(dt.UTC)


def _reason(error: psycopg.Error) -> str:
    """In one line, without what the server says of itself: it is for whoever looks at the page."""
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return "the database has not the tables of this version: `betting up` migrates it"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return "the service's database user may not read the schemas stream and core: grant it SELECT"
    if isinstance(error, psycopg.errors.QueryCanceled):
        return "the database answers too slowly"
    return AWAY
