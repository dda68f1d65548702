"""Which landed offsets were given to which run: no range is lost, none is given twice.

A range is planned once, under one lock, and stays until a run has dealt with it. The run that was asked for may fail,
be killed, or never have begun; `hand_out_again` then gives what is left of its ranges to another run, under a new key.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Table


@dataclass(frozen=True, order=True)
class OffsetRange:
    """Offsets of one partition of one log of a topic, `to_offset` not among them."""

    topic: str
    epoch: int
    partition: int
    from_offset: int
    to_offset: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.partition}[{self.from_offset},{self.to_offset})"


@dataclass(frozen=True)
class Plan:
    """Ranges that one run is to deal with.

    Attributes:
        run_key: names the run: topic, first and last number of its ranges, and which attempt at them it is.
        planned_at: when they were given to it, by the database's clock.
    """

    run_key: str
    ranges: tuple[OffsetRange, ...]
    planned_at: dt.datetime

    @property
    def attempt(self) -> int:
        return int(self.run_key.rpartition("/")[2])


def plan(conn: psycopg.Connection, topic: str, table: Table) -> Plan | None:
    """Plan what was landed of `topic` since the last time, as one run; None when that is nothing.

    Landed is what the lander's positions say, and what lies in `table` of logs that were replaced before all of them
    was planned. It counts once the caller's transaction, if there is one, is committed; planners wait for one another.
    """
    with conn.transaction():
        _lock(conn, topic)
        ids = [number for (number,) in conn.execute(_INSERT.format(sql.Identifier(*_name(table))), {"topic": topic})]
        return _give(conn, topic, ids, attempt=1) if ids else None


def unfinished(conn: psycopg.Connection, topic: str) -> list[Plan]:
    """Plans that are not done with, the oldest first."""
    rows = conn.execute(
        """SELECT run_key, topic, epoch, partition, from_offset, to_offset, planned_at
             FROM stream.planned_range WHERE topic = %s AND done_at IS NULL ORDER BY id""",
        [topic],
    ).fetchall()
    keys = dict.fromkeys(row[0] for row in rows)
    return [
        Plan(key, tuple(OffsetRange(*row[1:6]) for row in rows if row[0] == key), _planned_at(rows, key))
        for key in keys
    ]


def hand_out_again(conn: psycopg.Connection, failed: Plan) -> Plan | None:
    """Give what `failed` left undone to another run; None when nothing is left, or somebody else was faster."""
    topic = failed.ranges[0].topic
    with conn.transaction():
        _lock(conn, topic)
        left = conn.execute(
            "SELECT id FROM stream.planned_range WHERE run_key = %s AND topic = %s AND done_at IS NULL ORDER BY id",
            [failed.run_key, topic],
        ).fetchall()
        return _give(conn, topic, [number for (number,) in left], failed.attempt + 1) if left else None


def mark_done(conn: psycopg.Connection, ranges: Iterable[OffsetRange]) -> int:
    """Mark the planned ranges that lie within `ranges` as done, whoever they were given to; returns how many were not.

    Belongs into the transaction that deals with the messages.
    """
    marked = 0
    for one in ranges:
        marked += conn.execute(
            """UPDATE stream.planned_range SET done_at = now()
                WHERE done_at IS NULL AND topic = %s AND epoch = %s AND partition = %s
                  AND from_offset >= %s AND to_offset <= %s""",
            [one.topic, one.epoch, one.partition, one.from_offset, one.to_offset],
        ).rowcount
    return marked


_INSERT = sql.SQL("""
    WITH landed AS (
        SELECT epoch, partition, next_offset FROM stream.position
         WHERE reader = 'lander' AND topic = %(topic)s
        UNION ALL
        SELECT r.epoch, r.partition, max(r."offset") + 1
          FROM {} r LEFT JOIN stream.position p
            ON p.reader = 'lander' AND p.topic = %(topic)s AND p.partition = r.partition
         WHERE r.epoch < (SELECT max(epoch) FROM stream.position WHERE reader = 'lander' AND topic = %(topic)s)
           AND r.epoch IS DISTINCT FROM p.epoch
         GROUP BY r.epoch, r.partition),
    planned AS (
        SELECT epoch, partition, max(to_offset) AS next_offset FROM stream.planned_range
         WHERE topic = %(topic)s GROUP BY epoch, partition)
    INSERT INTO stream.planned_range (topic, epoch, partition, from_offset, to_offset, run_key)
    SELECT %(topic)s, l.epoch, l.partition, coalesce(p.next_offset, 0), l.next_offset, ''
      FROM landed l LEFT JOIN planned p USING (epoch, partition)
     WHERE l.next_offset > coalesce(p.next_offset, 0)
     ORDER BY l.epoch, l.partition
    RETURNING id""")


def _give(conn: psycopg.Connection, topic: str, ids: list[int], attempt: int) -> Plan:
    key = f"{topic}/{min(ids)}-{max(ids)}/{attempt}"
    rows = conn.execute(
        """UPDATE stream.planned_range SET run_key = %s, planned_at = now() WHERE id = ANY(%s)
           RETURNING topic, epoch, partition, from_offset, to_offset, planned_at""",
        [key, ids],
    ).fetchall()
    return Plan(key, tuple(sorted(OffsetRange(*row[:5]) for row in rows)), rows[0][5])


def _lock(conn: psycopg.Connection, topic: str) -> None:
    """Until the end of the transaction; what others committed before is seen by the next statement."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtext('betting plan ranges'), hashtext(%s))", [topic])


def _planned_at(rows: list[tuple[Any, ...]], key: str) -> dt.datetime:
    moment: dt.datetime = next(row[6] for row in rows if row[0] == key)
    return moment


def _name(table: Table) -> tuple[str, str]:
    return str(table.schema), table.name
