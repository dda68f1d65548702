"""What the lander has landed, summed up by day: for those who report it, and have little time."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from dataclasses import dataclass, field

import psycopg
from psycopg import sql
from sqlalchemy import Table

STEP = 10_000
"""Offsets in one look."""

Marks = dict[tuple[int, int], int]
"""First offset that was not summed up yet, by (epoch, partition)."""


@dataclass(frozen=True)
class LandedTable:
    """A table that the lander fills from a topic: `moment` gives a row its day, `what` is counted beside the source."""

    topic: str
    table: Table
    moment: str
    what: str


@dataclass
class Day:
    """What was landed of one day (UTC) since the last time."""

    rows: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    what: Counter[str] = field(default_factory=Counter)
    newest: dt.datetime | None = None
    offsets: dict[str, list[int]] = field(default_factory=dict)
    """First and last by 'epoch.partition'."""


@dataclass
class Summary:
    """Days that have new rows, dead letters among the same offsets, how far it reached, and whether that is the end."""

    days: dict[dt.date, Day] = field(default_factory=dict)
    dead_letters: int = 0
    marks: Marks = field(default_factory=dict)
    complete: bool = True


def sum_up(conn: psycopg.Connection, landed: LandedTable, marks: Marks, *, seconds: float, most_days: int) -> Summary:
    """Sum up what was landed behind `marks`, until it is all, `seconds` are over, or `most_days` have been met."""
    began = time.monotonic()
    found = Summary(marks=dict(marks))
    ends = _ends(conn, landed)
    for (epoch, partition), end in ends.items():
        if (epoch, partition) not in marks:
            found.marks[epoch, partition] = _first(conn, landed, epoch, partition, end)
    while waiting := sorted(log for log, end in ends.items() if found.marks[log] < end):
        for log in waiting:  # a step of each in turn, so that a busy partition keeps no other waiting
            if time.monotonic() - began > seconds or len(found.days) >= most_days:
                found.complete = False
                return found
            _step(conn, landed, found, log, ends[log], most_days)
    return found


def lag(conn: psycopg.Connection, ends: dict[tuple[str, int], int], topic: str) -> int:
    """Messages of `topic` that wait for the lander, given the broker's end offsets."""
    rows = conn.execute(
        "SELECT partition, next_offset FROM stream.position WHERE reader = 'lander' AND topic = %s", [topic]
    )
    positions: dict[int, int] = dict(rows.fetchall())
    return sum(max(0, end - positions.get(number, 0)) for (name, number), end in ends.items() if name == topic)


def _ends(conn: psycopg.Connection, landed: LandedTable) -> Marks:
    """How far each log of each partition is landed; of a log that was replaced, up to its last row."""
    query = sql.SQL("""
        SELECT epoch, partition, next_offset FROM stream.position WHERE reader = 'lander' AND topic = %(topic)s
        UNION ALL
        SELECT l.epoch, p.partition, coalesce((SELECT r."offset" + 1 FROM {} r
                                                WHERE r.epoch = l.epoch AND r.partition = p.partition
                                                ORDER BY r."offset" DESC LIMIT 1), 0)
          FROM stream.position p JOIN stream.topic_log l ON l.topic = p.topic AND l.epoch < p.epoch
         WHERE p.reader = 'lander' AND p.topic = %(topic)s""")
    rows = conn.execute(query.format(_name(landed.table)), {"topic": landed.topic}).fetchall()
    return {(epoch, partition): end for epoch, partition, end in rows}


def _step(
    conn: psycopg.Connection, landed: LandedTable, found: Summary, log: tuple[int, int], end: int, most_days: int
) -> None:
    """Sum up the next offsets of one log: fewer of them where they bring too many days."""
    epoch, partition = log
    at, step = found.marks[log], STEP
    while True:
        until = min(at + step, end)
        rows = _look(conn, landed, epoch, partition, at, until)
        if step == 1 or len({row[0] for row in rows} | found.days.keys()) <= most_days:
            break
        step //= 2
    _add(found.days, rows, f"{epoch}.{partition}")
    found.dead_letters += _dead_letters(conn, landed.topic, epoch, partition, at, until)
    found.marks[log] = until


def _first(conn: psycopg.Connection, landed: LandedTable, epoch: int, partition: int, end: int) -> int:
    """Where to begin: the log of an old topic may begin far behind offset 0."""
    query = sql.SQL('SELECT min("offset") FROM {} WHERE epoch = %s AND partition = %s').format(_name(landed.table))
    row = conn.execute(query, [epoch, partition]).fetchone()
    return end if row is None or row[0] is None else int(row[0])


def _look(
    conn: psycopg.Connection, landed: LandedTable, epoch: int, partition: int, first: int, end: int
) -> list[tuple[dt.date, str, str, int, int, int, dt.datetime]]:
    query = sql.SQL("""
        SELECT {moment}::date, source, {what}, count(*), min("offset"), max("offset"), max({moment}) FROM {table}
         WHERE epoch = %s AND partition = %s AND "offset" >= %s AND "offset" < %s GROUP BY 1, 2, 3""")
    names = {"moment": sql.Identifier(landed.moment), "what": sql.Identifier(landed.what)}
    return conn.execute(query.format(table=_name(landed.table), **names), [epoch, partition, first, end]).fetchall()


def _add(days: dict[dt.date, Day], rows: list[tuple[dt.date, str, str, int, int, int, dt.datetime]], log: str) -> None:
    for day, source, what, count, first, last, newest in rows:
        one = days.setdefault(day, Day())
        one.rows += count
        one.sources[source] += count
        one.what[what] += count
        one.newest = max(newest, one.newest or newest)
        known = one.offsets.setdefault(log, [first, last])
        known[:] = min(known[0], first), max(known[1], last)


def _dead_letters(conn: psycopg.Connection, topic: str, epoch: int, partition: int, first: int, end: int) -> int:
    row = conn.execute(
        """SELECT count(*) FROM stream.dead_letter
            WHERE topic = %s AND epoch = %s AND partition = %s AND "offset" >= %s AND "offset" < %s""",
        [topic, epoch, partition, first, end],
    ).fetchone()
    assert row is not None
    return int(row[0])


def _name(table: Table) -> sql.Identifier:
    return sql.Identifier(str(table.schema), table.name)
