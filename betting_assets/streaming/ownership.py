"""Which process reads which partitions: fair shares, held by locks in PostgreSQL.

Each live reader of a name (`lander`, `scorer`) takes its share of every topic's partitions. An advisory lock marks an
owned partition; it belongs to the session of one connection, so PostgreSQL frees it when the process dies. A process
that hangs loses its session after IDLE_SECONDS. Locks only keep readers apart: what makes two that both believe they
own a partition harmless is the fence in `positions.advance`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType

import psycopg
from kafka import TopicPartition
from psycopg.types.json import Jsonb

from betting_assets.warehouse.database import connect

LIVE_SECONDS = 6.0
"""Whoever said nothing for so long is dead; readers speak every RENEW_SECONDS."""

RENEW_SECONDS = 2.0
IDLE_SECONDS = 20
KEPT = "1 day"

SESSION = f"""SET idle_session_timeout = '{IDLE_SECONDS}s'; SET tcp_keepalives_idle = 5;
    SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; SET statement_timeout = '10s';
    SET application_name = 'betting ownership'"""


class OwnershipLostError(RuntimeError):
    """The connection that holds the locks is gone, and with it every partition: stop, and start over with a new one."""


@dataclass(frozen=True)
class Heartbeat:
    """What a reader says of itself: messages dealt with since its start, messages that wait, and what is wrong."""

    done: int = 0
    lag: int = 0
    message: str | None = None


class Ownership:
    """The partitions that this process owns as a reader.

    Call `renew` every RENEW_SECONDS or sooner, with no transaction on a partition under way: it may take partitions
    away. Read a partition's position only after it was gained. Any failure of the connection raises
    OwnershipLostError; then drop what was read and make a new object. Use as a context manager: at the end everything
    is given up at once.

    Args:
        url: the database.
        reader: `lander` or `scorer`.
        worker: tells processes apart; default host:pid:random, for containers may share a host's name and their pids.

    Raises:
        DatabaseError: the database cannot be reached.
    """

    def __init__(self, url: str, reader: str, worker: str | None = None) -> None:
        self.reader = reader
        self.worker = worker or f"{platform.node()}:{os.getpid()}:{secrets.token_hex(3)}"
        self.owned: frozenset[TopicPartition] = frozenset()
        self._conn = connect(url, autocommit=True)
        try:
            for line in SESSION.split(";"):
                self._conn.execute(line)
        except psycopg.Error as error:
            self._conn.close()
            raise OwnershipLostError(
                f"the database ended the session at once: {' '.join(str(error).split())}"
            ) from error

    def renew(
        self, partitions: Mapping[str, Iterable[int]], heartbeat: Heartbeat | None = None
    ) -> frozenset[TopicPartition]:
        """Say that this reader lives, give up what is above its share, take what is free below it; returns the owned.

        Args:
            partitions: of every topic that it reads: all partitions that the topic has.
            heartbeat: what others may see of it in stream.reader.

        Raises:
            OwnershipLostError: nothing is owned any more.
        """
        wanted = {topic: sorted(numbers) for topic, numbers in partitions.items()}
        try:
            self._speak(sorted(wanted), heartbeat or Heartbeat())
            kept: set[TopicPartition] = set()
            for topic, numbers in wanted.items():
                kept |= self._share_of(topic, numbers)
            for gone in self.owned - kept:  # of topics, or partitions, that are no longer wanted
                self._unlock(gone)
            if kept != self.owned:
                self.owned = frozenset(kept)
                self._speak(sorted(wanted), heartbeat or Heartbeat())
        except psycopg.Error as error:
            self._drop()
            raise OwnershipLostError(f"lost the database: {' '.join(str(error).split())}") from error
        return self.owned

    def stay(self, topics: Iterable[str], heartbeat: Heartbeat, writing: psycopg.Connection) -> None:
        """Say that this reader lives while a long transaction is under way, on a connection made by `connect_writing`.

        Sessions of other readers of the name that hold it up are ended: what they began is ours by now, so they hang.

        Args:
            topics: names of those that it reads.
            heartbeat: see `renew`.

        Raises:
            OwnershipLostError: nothing is owned any more.
        """
        try:
            self._speak(sorted(topics), heartbeat)
            self._conn.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE pid = ANY(pg_blocking_pids(%s)) AND application_name = %s""",
                [writing.info.backend_pid, _writing_name(self.reader)],
            )
        except psycopg.Error as error:
            self._drop()
            raise OwnershipLostError(f"lost the database: {' '.join(str(error).split())}") from error

    def close(self) -> None:
        """Give everything up; what the reader said of itself goes too."""
        try:
            self._conn.execute(
                "DELETE FROM stream.reader WHERE worker = %s AND reader = %s", [self.worker, self.reader]
            )
        except psycopg.Error:
            pass  # the session is gone, and the locks with it; the row grows old
        finally:
            self._drop()

    def __enter__(self) -> Ownership:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drop(self) -> None:
        self.owned = frozenset()
        self._conn.close()

    def _share_of(self, topic: str, numbers: list[int]) -> set[TopicPartition]:
        live, place = self._readers_of(topic)
        share = -(-len(numbers) // live)
        mine = sorted(p for p in self.owned if p.topic == topic and p.partition in numbers)
        for surplus in mine[share:]:
            self._unlock(surplus)
        kept = set(mine[:share])
        turn = place * share % max(len(numbers), 1)  # readers that start at once do not all ask for the same ones
        for number in numbers[turn:] + numbers[:turn]:
            partition = TopicPartition(topic, number)
            if len(kept) < share and partition not in kept and partition not in mine and self._lock(partition):
                kept.add(partition)
        return kept

    def _readers_of(self, topic: str) -> tuple[int, int]:
        """How many live readers the topic has, and the place of this one among them."""
        names = self._conn.execute(
            """SELECT worker FROM stream.reader WHERE reader = %s AND %s = ANY(topics)
               AND seen_at > clock_timestamp() - make_interval(secs => %s) ORDER BY worker""",
            [self.reader, topic, LIVE_SECONDS],
        ).fetchall()
        return max(len(names), 1), next((n for n, (name,) in enumerate(names) if name == self.worker), 0)

    def _speak(self, topics: list[str], heartbeat: Heartbeat) -> None:
        owned: dict[str, list[int]] = {}
        for partition in sorted(self.owned):
            owned.setdefault(partition.topic, []).append(partition.partition)
        self._conn.execute(
            """INSERT INTO stream.reader (worker, reader, topics, partitions, done, lag, message)
               VALUES (%s, %s, %s, %s, %s, %s, %s)
               ON CONFLICT (worker, reader) DO UPDATE SET
                   topics = excluded.topics, partitions = excluded.partitions, done = excluded.done,
                   lag = excluded.lag, message = excluded.message, seen_at = clock_timestamp()""",
            [self.worker, self.reader, topics, Jsonb(owned), heartbeat.done, heartbeat.lag, heartbeat.message],
        )
        self._conn.execute(
            f"DELETE FROM stream.reader WHERE reader = %s AND seen_at < clock_timestamp() - interval '{KEPT}'",  # noqa: S608
            [self.reader],
        )

    def _lock(self, partition: TopicPartition) -> bool:
        row = self._conn.execute("SELECT pg_try_advisory_lock(%s)", [lock_key(self.reader, partition)]).fetchone()
        return row is not None and bool(row[0])

    def _unlock(self, partition: TopicPartition) -> None:
        self._conn.execute("SELECT pg_advisory_unlock(%s)", [lock_key(self.reader, partition)])


def connect_writing(url: str, reader: str) -> psycopg.Connection:
    """A connection (autocommit) for the transactions of a reader, see `Ownership.stay`. Raises DatabaseError."""
    conn = connect(url, autocommit=True)
    conn.execute("SELECT set_config('application_name', %s, false)", [_writing_name(reader)])
    return conn


def _writing_name(reader: str) -> str:
    return f"betting {reader}"


def lock_key(reader: str, partition: TopicPartition) -> int:
    """The number of the advisory lock; locks of other databases of the server are others."""
    name = f"betting/{reader}/{partition.topic}/{partition.partition}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
