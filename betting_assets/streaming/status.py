"""The state of the streams for people: topics, who reads them, what could not be used, and how fresh all is."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from betting_assets.settings import Settings
from betting_assets.streaming.lag import Answer, EndOffsets
from betting_assets.streaming.ownership import LIVE_SECONDS
from betting_assets.streaming.positions import LANDER, SCORER
from betting_assets.streaming.topics import ODDS_TICKS, PREDICTIONS, TOPICS, Topic
from betting_assets.warehouse.database import connect

BROKER_SECONDS = 3.0
"""How long the broker is waited for: the state is told without it, too."""

Positions = dict[str, dict[int, int]]
"""By reader: the next offset of each partition of one topic."""


def stream_state(url: str, settings: Settings) -> dict[str, str]:
    """What there is to say of the streams, one line a thing; one line in all where no stream was ever read.

    Raises:
        DatabaseError: the database cannot be reached.
    """
    names = [topic.name(settings) for topic in TOPICS]
    with connect(url, autocommit=True) as connection:
        if not _ever_read(connection, names):
            return {"streams": "none was ever read; `betting stream land` starts to"}
        broker = _end_offsets(settings, names)
        told = {"broker": broker.error} if broker.error else {}
        for topic, name in zip(TOPICS, names, strict=True):
            told[f"topic {name}"] = _topic(_positions(connection, name), _ends(broker, name))
            if topic is ODDS_TICKS or topic is PREDICTIONS:
                told[f"newest in {name}"] = _newest(connection, topic, name)
        told |= {reader: _readers(connection, reader, names) for reader in (LANDER, SCORER)}
        told["dead letters, last day"] = _dead_letters(connection, names)
    return told


def _end_offsets(settings: Settings, names: list[str]) -> Answer:
    asked = EndOffsets(settings, names)
    asked.ask()
    return asked.answer(BROKER_SECONDS)


def _ends(broker: Answer, name: str) -> dict[int, int] | None:
    """Where the partitions of a topic end; None if the broker did not tell."""
    if broker.error:
        return None
    return {partition: end for (topic, partition), end in broker.ends.items() if topic == name}


def _ever_read(connection: psycopg.Connection, names: list[str]) -> bool:
    row = connection.execute(
        """SELECT EXISTS (SELECT FROM stream.topic_log WHERE topic = ANY(%(names)s))
               OR EXISTS (SELECT FROM stream.reader WHERE topics && %(names)s::text[] OR topics = '{}')""",
        {"names": names},
    ).fetchone()
    return row is not None and bool(row[0])


def _positions(connection: psycopg.Connection, name: str) -> Positions:
    found: Positions = defaultdict(dict)
    rows = connection.execute("SELECT reader, partition, next_offset FROM stream.position WHERE topic = %s", [name])
    for reader, partition, offset in rows:
        found[reader][partition] = offset
    return found


def _topic(positions: Positions, ends: dict[int, int] | None) -> str:
    """How far each reader is, and what waits for it."""
    if ends is not None and not ends:
        return "does not exist on the broker"
    parts = [] if ends is None else [f"ends at {sum(ends.values()):,} in {len(ends)} partitions"]
    for reader, offsets in sorted(positions.items()):
        behind = "" if ends is None else f", {_behind(offsets, ends):,} behind"
        parts.append(f"{reader} at {sum(offsets.values()):,}{behind}")
    return "; ".join(parts) or "not read yet"


def _behind(offsets: dict[int, int], ends: dict[int, int]) -> int:
    return sum(max(0, end - offsets.get(partition, 0)) for partition, end in ends.items())


def _newest(connection: psycopg.Connection, topic: Topic, name: str) -> str:
    """By the last row of each partition, which the primary key finds however long the table is."""
    query = sql.SQL(
        """SELECT taken_at, landed_at, extract(epoch FROM now() - landed_at)::float8
             FROM stream.position p CROSS JOIN LATERAL (
                 SELECT taken_at, landed_at FROM {} WHERE epoch = p.epoch AND partition = p.partition
                  ORDER BY "offset" DESC LIMIT 1) newest
            WHERE reader = %s AND topic = %s ORDER BY landed_at DESC LIMIT 1"""
    ).format(sql.Identifier(*topic.table.split(".")))
    row = connection.execute(query, [LANDER, name]).fetchone()
    if row is None:
        return "none"
    taken_at, _, age = row
    return f"taken {_moment(taken_at)}, landed {_age(age)} ago"


def _readers(connection: psycopg.Connection, reader: str, names: list[str]) -> str:
    """A reader that waits for the broker, or for features, reads no topic yet."""
    rows = connection.execute(
        """SELECT worker, partitions, done, lag, message, seen_at, seen_at > now() - make_interval(secs => %s) AS live
             FROM stream.reader WHERE reader = %s AND (topics && %s::text[] OR topics = '{}')
            ORDER BY seen_at DESC, worker""",
        [LIVE_SECONDS, reader, names],
    ).fetchall()
    live = [row for row in rows if row[-1]]
    if not live:
        return f"none is live; the last spoke at {_moment(rows[0][5])}" if rows else "none is live"
    return f"{len(live)} live: " + "; ".join(_reader(*row[:5]) for row in sorted(live))


def _reader(worker: str, partitions: dict[str, list[int]], done: int, lag: int, message: str | None) -> str:
    owned = sum(map(len, partitions.values()))
    line = f"{worker} has {owned} partitions, {done:,} done, {lag:,} behind"
    return f"{line} ({message})" if message else line


def _dead_letters(connection: psycopg.Connection, names: list[str]) -> str:
    rows: Iterable[tuple[Any, ...]] = connection.execute(
        """SELECT reason, count(*) FROM stream.dead_letter
            WHERE topic = ANY(%s) AND landed_at > now() - interval '1 day' GROUP BY reason ORDER BY 2 DESC, 1""",
        [names],
    ).fetchall()
    return ", ".join(f"{count:,} {reason}" for reason, count in rows) or "none"


def _moment(when: dt.datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
