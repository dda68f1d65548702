"""Every answer about a match goes to serving.prediction_log, in batches, by a thread that serving never waits for."""

from __future__ import annotations

import datetime as dt
import logging
import struct
import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from bentos.match_odds.log.bounded_queue import BoundedQueue
from bentos.match_odds.log.copy_format import HEADER, NULL, TRAILER, columns, floats, jsonb, moment, text
from bentos.match_odds.model.rows import ModelRow

if TYPE_CHECKING:
    import psycopg

COLUMNS = (
    "predicted_at",
    "request_id",
    "match_id",
    "probabilities",
    "features",
    "feature_time",
    "feature_read_at",
    "market",
    "variant",
    "model_version",
    "bento_tag",
    "role",
    "served_by",
)
COPY = f"COPY serving.prediction_log ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"

CAPACITY = 20_000
BATCH = 2_000
PAUSE = 0.25
"""Seconds between two looks at the queue: nobody has to wake the thread, and a write has hundreds of rows."""

BREATH = 10
"""Rows that are encoded before the thread lets others run: it holds the interpreter meanwhile (50 us, or 400 us where
no row was logged before and its JSON is still to be made)."""

SLICE = 50
"""Rows that are sent at once."""

ABOUT_ROWS = ("21", "22", "23", "54")
"""SQLSTATE classes that mean a row (bad data, a broken constraint, too large); in all others the database is at fault.
"""

Role = Literal["champion", "challenger"]
logger = logging.getLogger(__name__)


class Fate(StrEnum):
    """What became of a row: written, dropped because the queue was full or the end came, or refused by the database."""

    WRITTEN = "written"
    DROPPED = "dropped"
    REFUSED = "refused"


class LoggedAnswer(NamedTuple):
    """One row of the log. A tuple, because one is made for every answer: a frozen dataclass costs five times as much.

    Attributes:
        row: what the model read. It is kept for champions only: a challenger reads some of what the champion's row
            of the same request says.
        role: champion: it was the answer; challenger: it was computed beside the answer, and nobody saw it.
    """

    predicted_at: dt.datetime
    request_id: str
    match_id: str
    market: str
    variant: str
    model_version: str
    bento_tag: str
    probabilities: Sequence[float]
    row: ModelRow
    feature_time: dt.datetime | None
    feature_read_at: dt.datetime | None
    role: Role = "champion"


class PredictionLog:
    """A bounded queue and one writing thread. WRITTEN + DROPPED + REFUSED is the number of rows put in.

    While the database is away rows wait in the queue; when it is full, new rows are dropped and counted. A row that
    the database refuses takes no other with it. A connection that is lost in the very moment of a commit is the one
    case in which rows are written twice.

    Args:
        database_url: postgresql://…
        served_by: host:pid of this process.
        count: told of every row's fate.
        capacity: rows held at once, those being written included.
        patience: seconds between attempts while the database is away.
    """

    def __init__(
        self,
        database_url: str,
        served_by: str,
        count: Callable[[Fate, int], None],
        capacity: int = CAPACITY,
        patience: float = 1.0,
    ) -> None:
        self._url = database_url
        self._served_by = served_by
        self._count = count
        self._patience = patience
        self._queue: BoundedQueue[LoggedAnswer] = BoundedQueue(capacity)
        self._closing = threading.Event()
        self._connection: psycopg.Connection | None = None
        self._away = False
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def put(self, answers: Sequence[LoggedAnswer]) -> None:
        """Hand over answers. Returns at once, whatever the database does; any thread may call it."""
        if dropped := self._queue.put(answers):
            self._count(Fate.DROPPED, dropped)

    def close(self, seconds: float = 5.0) -> None:
        """Write what is left, for at most so many seconds; what cannot be written is counted as dropped."""
        self._closing.set()
        self._thread.join(seconds)
        if left := self._queue.give_up():
            self._count(Fate.DROPPED, left)
            logger.error("prediction log: %d rows could not be written before the end", left)

    def _run(self) -> None:
        try:
            while not (self._closing.is_set() and not self._queue):
                if len(self._queue) < BATCH:
                    self._closing.wait(PAUSE)
                batch = self._queue.take(BATCH)
                if batch and not self._written(self._encoded(batch)):
                    return
        finally:
            self._disconnect()

    def _encoded(self, batch: Sequence[LoggedAnswer]) -> list[bytes]:
        rows: list[bytes] = []
        for i, answer in enumerate(batch):
            if i % BREATH == 0:
                time.sleep(0)
            try:
                rows.append(encoded(answer, self._served_by))
            except (ValueError, TypeError, AttributeError, OverflowError, struct.error) as error:
                self._refuse(1, error)
        return rows

    def _written(self, rows: list[bytes]) -> bool:
        """Write rows until each has met its fate; False where the end comes before the database does."""
        import psycopg

        parts = [rows]
        while parts:
            part = parts.pop()
            try:
                self._copy(part)
            except psycopg.Error as error:
                if not _is_about_rows(error):
                    parts.append(part)
                    if not self._wait_for_database(error):
                        return False
                elif len(part) == 1:
                    self._refuse(1, error)
                else:  # halves, the first of them next
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
            else:
                self._away = False
                self._settle(Fate.WRITTEN, len(part))
        return True

    def _copy(self, rows: Sequence[bytes]) -> None:
        """All of `rows` or none: outside of a transaction a COPY is one of its own."""
        if not rows:
            return
        with self._connected().cursor() as cursor, cursor.copy(COPY) as copy:
            for start in range(0, len(rows), SLICE):
                copy.write(b"".join(rows[start : start + SLICE]) if start else HEADER + b"".join(rows[:SLICE]))
            copy.write(TRAILER)

    def _connected(self) -> psycopg.Connection:
        import psycopg

        if self._connection is None:
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=5,
                tcp_user_timeout=20_000,
                application_name="prediction log",
                options="-c statement_timeout=20000",
            )
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _wait_for_database(self, error: psycopg.Error) -> bool:
        """False where the end comes first."""
        self._disconnect()
        if not self._away:
            self._away = True
            logger.warning("prediction log: database away, rows wait: %s", _line(error))
        return not self._closing.wait(self._patience)

    def _refuse(self, rows: int, error: Exception) -> None:
        kind = type(error).__name__
        if kind not in self._told:
            self._told.add(kind)
            logger.error("prediction log: a row is refused, from now on without a word: %s: %s", kind, _line(error))
        self._settle(Fate.REFUSED, rows)

    def _settle(self, fate: Fate, rows: int) -> None:
        if rows and self._queue.settle(rows):
            self._count(fate, rows)


def encoded(answer: LoggedAnswer, served_by: str) -> bytes:
    """One row in binary COPY format, in the order of COLUMNS."""
    return b"".join(
        (
            _BEGIN,
            moment(answer.predicted_at),
            text(answer.request_id),
            text(answer.match_id),
            floats(answer.probabilities),
            jsonb(answer.row.json) if answer.role == "champion" else NULL,
            moment(answer.feature_time),
            moment(answer.feature_read_at),
            _labels(answer.market, answer.variant, answer.model_version, answer.bento_tag, str(answer.role), served_by),
        )
    )


_BEGIN = columns(len(COLUMNS))


@lru_cache(maxsize=256)
def _labels(*values: str) -> bytes:
    return b"".join(map(text, values))


def _is_about_rows(error: psycopg.Error) -> bool:
    return error.sqlstate is not None and error.sqlstate[:2] in ABOUT_ROWS


def _line(error: Exception) -> str:
    """The first line, without the second one in which PostgreSQL repeats the data."""
    return str(error).split("\n")[0]
