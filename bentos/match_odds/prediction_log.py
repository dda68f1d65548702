"""Every answer about a match goes to serving.prediction_log, in batches, by a thread that serving never waits for."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bentos.match_odds.contract import Row, RowAnswer

COLUMNS = (
    "predicted_at",
    "request_id",
    "match_id",
    "market",
    "variant",
    "model_version",
    "bento_tag",
    "probabilities",
    "features",
    "feature_time",
    "feature_read_at",
    "served_by",
)
CAPACITY = 20_000
BATCH = 500
logger = logging.getLogger(__name__)


class Fate(StrEnum):
    """What became of a row: written, dropped because the queue was full, or refused by the database."""

    WRITTEN = "written"
    DROPPED = "dropped"
    REFUSED = "refused"


@dataclass(frozen=True)
class Logged:
    predicted_at: dt.datetime
    row: Row
    answer: RowAnswer


class PredictionLog:
    """A bounded queue and one writing thread.

    While the database is away rows wait in the queue; when it is full, new rows are dropped and counted.

    Args:
        database_url: postgresql://…
        bento: tag of the Bento that answers.
        served_by: host:pid of this process.
        count: told of every row's fate.
        patience: seconds between attempts while the database is away.
    """

    def __init__(
        self,
        database_url: str,
        bento: str,
        served_by: str,
        count: Callable[[Fate, int], None],
        capacity: int = CAPACITY,
        patience: float = 1.0,
    ) -> None:
        self._url = database_url
        self._bento = bento
        self._served_by = served_by
        self._count = count
        self._patience = patience
        self._queue: queue.Queue[Logged] = queue.Queue(capacity)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def put(self, rows: Sequence[Row], answers: Sequence[RowAnswer]) -> None:
        """Hand over the answered rows that name a match. Returns at once, whatever the database does."""
        now = dt.datetime.now(dt.UTC)
        for row, answer in zip(rows, answers, strict=True):
            if row.match_id is None or answer.error is not None:
                continue
            try:
                self._queue.put_nowait(Logged(now, row, answer))
            except queue.Full:
                self._count(Fate.DROPPED, 1)

    def close(self, seconds: float = 5.0) -> None:
        """Write what is left, for at most so many seconds; what cannot be written is counted as dropped."""
        self._closing.set()
        self._thread.join(seconds)
        left = self._take(self._queue.qsize())
        if left:
            self._count(Fate.DROPPED, len(left))
            logger.error("prediction log: %d rows could not be written before the end", len(left))

    def _run(self) -> None:
        import psycopg

        while not (self._closing.is_set() and self._queue.empty()):
            batch = self._take(BATCH, wait=0.2)
            while batch:
                try:
                    self._write(batch)
                except psycopg.OperationalError as error:
                    logger.warning("prediction log: database away, %d rows wait: %s", self._queue.qsize(), error)
                    if self._closing.wait(self._patience):
                        self._count(Fate.DROPPED, len(batch))
                        return
                    continue
                except psycopg.Error as error:
                    self._count(Fate.REFUSED, len(batch))
                    logger.error("prediction log: %d rows refused: %s", len(batch), error)
                else:
                    self._count(Fate.WRITTEN, len(batch))
                batch = []

    def _take(self, most: int, wait: float = 0.0) -> list[Logged]:
        """Up to `most` rows: what is there, or the first that comes within `wait` seconds."""
        taken: list[Logged] = []
        with contextlib.suppress(queue.Empty):
            if most and wait:
                taken.append(self._queue.get(timeout=wait))
                time.sleep(0.05)  # so that a burst becomes one transaction
            while len(taken) < most:
                taken.append(self._queue.get_nowait())
        return taken

    def _write(self, batch: Sequence[Logged]) -> None:
        import psycopg

        statement = f"COPY serving.prediction_log ({', '.join(COLUMNS)}) FROM STDIN"
        with (
            psycopg.connect(self._url, connect_timeout=5, options="-c statement_timeout=20000") as connection,
            connection.cursor().copy(statement) as copy,
        ):
            for logged in batch:
                copy.write_row(self._cells(logged))

    def _cells(self, logged: Logged) -> tuple[object, ...]:
        row, answer = logged.row, logged.answer
        return (
            logged.predicted_at,
            row.request_id or "",
            row.match_id,
            str(row.market),
            answer.variant,
            answer.model_version,
            self._bento,
            answer.probabilities,
            json.dumps(row.features),
            row.feature_time,
            row.feature_read_at,
            self._served_by,
        )
