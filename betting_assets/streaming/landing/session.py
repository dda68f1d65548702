"""One go at landing, from positions in PostgreSQL to the first thing that goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType

import psycopg
from kafka import TopicPartition

from betting_assets.streaming import positions
from betting_assets.streaming.landing.batch import Batch, Sorter
from betting_assets.streaming.landing.copies import Copies
from betting_assets.streaming.landing.source import Source
from betting_assets.streaming.landing.writer import Writer
from betting_assets.streaming.ownership import RENEW_SECONDS, Heartbeat, Ownership
from betting_assets.streaming.topic_logs import BrokerLog, current_epoch

MAX_ROWS = 10_000
"""Of one transaction; two batches at most are in memory, one being sorted and one being written."""

CHECK_SECONDS = 30.0
POLL_MS, BUSY_POLL_MS = 200, 10
LAST_WRITE_SECONDS = 30.0


class ChangedError(RuntimeError):
    """The broker's topics are not those that this session began with: begin another one."""


@dataclass
class Tally:
    """How many messages and dead letters were landed; `works` hears of it, and of everything being well."""

    works: Callable[[int], None]
    done: int = 0

    def add(self, rows: int) -> None:
        self.done += rows
        self.works(rows)


class Session:
    """Reads what is owned, and lands it while the next batch is being sorted.

    Use as a context manager: at the end it waits for the transaction under way.
    """

    def __init__(self, conn: psycopg.Connection, source: Source, ownership: Ownership, tally: Tally) -> None:
        self._conn, self._source, self._ownership, self._tally = conn, source, ownership, tally
        self._writer = Writer(conn, Copies(source.producer))
        self._thread = ThreadPoolExecutor(1, "landing")
        self._writing: Future[int] | None = None
        self._batch = Batch()
        self._next: dict[TopicPartition, int] = {}
        self._identities = source.identities()
        self._epochs = {topic: current_epoch(conn, log) for topic, log in source.logs().items()}
        self._sorters = {name: Sorter(topic, name, self._epochs[name]) for name, topic in source.topics.items()}
        self._checked = 0.0

    def run(self, stop: threading.Event) -> None:
        """Land until `stop` is set. Raises what `Writer`, `Source`, `Ownership` and `positions` raise."""
        renewed = 0.0
        while not stop.is_set():
            if time.monotonic() - renewed >= RENEW_SECONDS:
                self._finish()
                self._renew()
                renewed = time.monotonic()
            self._read(stop)
            self._write_if_due()
        self._finish()

    def _read(self, stop: threading.Event) -> None:
        if not self._next:
            stop.wait(POLL_MS / 1000)
            return
        patience = BUSY_POLL_MS if self._batch.size else POLL_MS
        for partition, messages in self._source.poll(patience, MAX_ROWS - self._batch.size).items():
            old = self._next[partition]
            self._next[partition] = self._sorters[partition.topic].add(self._batch, partition, old, messages)

    def _write_if_due(self) -> None:
        """Hand the batch over if the writer is free; wait for it if the batch is full."""
        if self._batch.size and (self._batch.size >= MAX_ROWS or self._writing is None or self._writing.done()):
            self._written()
            batch, self._batch = self._batch, Batch()
            self._writing = self._thread.submit(self._write, batch)

    def _write(self, batch: Batch) -> int:
        self._writer.write(batch)
        return batch.size

    def _written(self) -> None:
        """Wait until the transaction under way has ended; others see us alive meanwhile."""
        if self._writing is None:
            return
        while not wait([self._writing], RENEW_SECONDS).done:
            self._ownership.stay(self._identities, self._heartbeat(), self._conn)
        writing, self._writing = self._writing, None
        self._tally.add(writing.result())

    def _finish(self) -> None:
        """Everything that was read is landed."""
        self._written()
        self._write_if_due()
        self._written()

    def _renew(self) -> None:
        """See that the topics are still the same, speak, and take or give up partitions. Nothing is under way."""
        identities = self._source.identities()
        if identities != self._identities:
            raise ChangedError("the topics have changed")
        owned = self._ownership.renew({name: parts for name, (_, _, parts) in identities.items()}, self._heartbeat())
        if owned != set(self._next) or time.monotonic() - self._checked >= CHECK_SECONDS:
            logs = self._source.logs()
            self._take(owned, logs)
            self._checked = time.monotonic()
        self._tally.works(0)

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(self._tally.done, self._source.lag(self._next))

    def _take(self, owned: frozenset[TopicPartition], logs: Mapping[str, BrokerLog]) -> None:
        """Read exactly what is owned: from the position in PostgreSQL what is new, from where we are what we had."""
        offsets: dict[TopicPartition, int] = {}
        for topic, log in logs.items():
            mine = {partition.partition for partition in owned if partition.topic == topic}
            known = {
                p.partition: offset for p, offset in self._next.items() if p.topic == topic and p.partition in mine
            }
            positions.check(log, known)
            gained = sorted(mine - set(known))
            known |= positions.load(self._conn, positions.LANDER, log, self._epochs[topic], gained)
            if set(known) != mine:
                raise positions.FencedError(f"{topic}: its positions are of another epoch")
            offsets |= {TopicPartition(topic, number): offset for number, offset in known.items()}
        if offsets.keys() != self._next.keys():
            self._source.read_from(offsets)
        self._next = offsets

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What was handed to the writer before a failure may still be landed: count it, then end the thread."""
        writing, self._writing = self._writing, None
        if writing is not None and wait([writing], LAST_WRITE_SECONDS).done and writing.exception() is None:
            self._tally.add(writing.result())
        self._thread.shutdown(wait=False, cancel_futures=True)
