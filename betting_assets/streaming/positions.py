"""How far each reader of a topic is: rows of stream.position, moved in the transaction that holds what was read.

That one transaction is what makes reading exactly once; Kafka's own commits have no part in it.
"""

from __future__ import annotations

import psycopg

from betting_assets.streaming.topic_logs import BrokerLog, LogGapError, LogTruncatedError

LANDER = "lander"
SCORER = "scorer"
LOST = "lost_by_retention"


class FencedError(RuntimeError):
    """Another process has moved this position: the transaction must be given up, and reading start over."""


def load(conn: psycopg.Connection, reader: str, log: BrokerLog, epoch: int, partitions: list[int]) -> dict[int, int]:
    """The next offset of each of these partitions; only their owner may ask (see `ownership`).

    A partition that was never read, or only in an earlier epoch, starts at the beginning of the log.

    Raises:
        LogTruncatedError: the log ends before a position.
        LogGapError: it begins behind one.
    """
    start(conn, reader, log, epoch, partitions)
    rows = conn.execute(
        """SELECT partition, next_offset FROM stream.position
           WHERE reader = %s AND topic = %s AND epoch = %s AND partition = ANY(%s)""",
        [reader, log.topic, epoch, partitions],
    ).fetchall()
    found = {int(partition): int(offset) for partition, offset in rows}
    check(log, found)
    return found


def start(conn: psycopg.Connection, reader: str, log: BrokerLog, epoch: int, partitions: list[int]) -> None:
    """Give partitions that were never read in this epoch a position at the beginning of the log."""
    for partition in partitions:  # in two statements: neither waits for a transaction that holds the row
        begin = log.begin[partition]
        conn.execute(
            """INSERT INTO stream.position (reader, topic, partition, epoch, next_offset)
               VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
            [reader, log.topic, partition, epoch, begin],
        )
        conn.execute(
            """UPDATE stream.position SET epoch = %s, next_offset = %s, updated_at = clock_timestamp()
               WHERE reader = %s AND topic = %s AND partition = %s AND epoch < %s""",
            [epoch, begin, reader, log.topic, partition, epoch],
        )


def check(log: BrokerLog, offsets: dict[int, int]) -> None:
    """Raises LogTruncatedError or LogGapError if the log lacks what is to be read next."""
    for partition, offset in sorted(offsets.items()):
        if offset > log.end[partition]:
            raise LogTruncatedError(
                f"topic {log.topic}, partition {partition}: the log ends at offset {log.end[partition]}, but it was "
                f"read up to {offset}: the broker has lost messages. To read what it has from its beginning, as a new "
                f"log: betting stream land --accept-new-log {log.topic}"
            )
        if offset < log.begin[partition]:
            raise LogGapError(
                f"topic {log.topic}, partition {partition}: offsets {offset} to {log.begin[partition] - 1} were "
                f"removed by the broker's retention before they were read (see BETTING_TOPIC_RETENTION_HOURS). To "
                f"record them as lost and go on: betting stream land --accept-gap {log.topic}"
            )


def advance(conn: psycopg.Connection, reader: str, topic: str, partition: int, epoch: int, old: int, new: int) -> None:
    """Move a position from `old` to `new`, in the open transaction that writes what was read in between.

    Raises:
        FencedError: it does not stand at `old` in this epoch.
    """
    moved = conn.execute(
        """UPDATE stream.position SET next_offset = %s, updated_at = clock_timestamp()
           WHERE reader = %s AND topic = %s AND partition = %s AND epoch = %s AND next_offset = %s""",
        [new, reader, topic, partition, epoch, old],
    ).rowcount
    if moved != 1:
        raise FencedError(f"{topic} partition {partition}: another {reader} has read on from offset {old}")


def accept_gap(conn: psycopg.Connection, reader: str, log: BrokerLog, epoch: int, *, record: bool) -> int:
    """Move positions that the log's beginning has overtaken up to it; returns how many messages are given up.

    `record`: leave a dead letter for each gap. Readers of what another one has landed have nothing to record.
    """
    lost = 0
    with conn.transaction():
        rows = conn.execute(
            """SELECT partition, next_offset FROM stream.position
               WHERE reader = %s AND topic = %s AND epoch = %s ORDER BY partition FOR UPDATE""",
            [reader, log.topic, epoch],
        ).fetchall()
        for partition, offset in rows:
            begin = log.begin.get(partition, 0)
            if offset < begin:
                advance(conn, reader, log.topic, partition, epoch, offset, begin)
                lost += begin - offset
                if record:
                    _record_gap(conn, log.topic, epoch, partition, offset, begin)
    return lost


def _record_gap(conn: psycopg.Connection, topic: str, epoch: int, partition: int, first: int, begin: int) -> None:
    detail = f"offsets {first} to {begin - 1}: removed by the broker's retention before they were landed"
    conn.execute(
        """INSERT INTO stream.dead_letter (topic, epoch, partition, "offset", reason, detail, headers, produced_at)
           VALUES (%s, %s, %s, %s, %s, %s, '[]', now())""",
        [topic, epoch, partition, first, LOST, detail],
    )
