"""Dead letters in PostgreSQL: found, looked at, and sent again."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import psycopg
from kafka.errors import KafkaError
from psycopg import sql
from psycopg.rows import class_row

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import BrokerError, producer, servers
from betting_assets.streaming.positions import LOST

REPLAYED_FROM = "replayed-from"
PATIENCE_SECONDS = 30.0
MOST_AT_ONCE = 500
PLACE = re.compile(r"(?P<topic>[^:]+):(?:(?P<epoch>\d{1,5})\.)?(?P<partition>\d{1,9}):(?P<offset>\d{1,18})")


class DeadLetterError(ValueError):
    """A dead letter that is not there or cannot be sent again; one line."""


@dataclass(frozen=True)
class StoredLetter:
    """A row of stream.dead_letter; `payload` is empty in lists."""

    topic: str
    epoch: int
    partition: int
    offset: int
    reason: str
    detail: str
    key: bytes | None
    payload: bytes | None
    headers: list[Any]
    produced_at: dt.datetime
    landed_at: dt.datetime
    replayed_at: dt.datetime | None

    @property
    def place(self) -> str:
        """Its id for people; the epoch is told where it is not the first."""
        return f"{self.topic}:{f'{self.epoch}.' if self.epoch > 1 else ''}{self.partition}:{self.offset}"


@dataclass(frozen=True)
class Choice:
    """Which dead letters: what is not given does not matter."""

    topic: str = ""
    reason: str = ""
    places: tuple[str, ...] = ()
    waiting_at: dt.datetime | None = None
    """Only those that were landed by then, can be sent again, and never were."""

    def condition(self) -> tuple[sql.Composable, list[Any]]:
        conditions: list[sql.Composable] = [sql.SQL("true")]
        values: list[Any] = []
        for column, value in (("topic", self.topic), ("reason", self.reason)):
            if value:
                conditions.append(sql.SQL("{} = %s").format(sql.Identifier(column)))
                values.append(value)
        if self.waiting_at is not None:
            conditions.append(sql.SQL("replayed_at IS NULL AND reason <> %s AND landed_at <= %s"))
            values += [LOST, self.waiting_at]
        if self.places:
            one = sql.SQL('(topic, epoch, partition, "offset") = (%s, %s, %s, %s)')
            conditions.append(sql.SQL("({})").format(sql.SQL(" OR ").join([one] * len(self.places))))
            values += [part for place in self.places for part in parse(place)]
        return sql.SQL(" AND ").join(conditions), values


def parse(place: str) -> tuple[str, int, int, int]:
    """Topic, epoch, partition and offset of TOPIC:PARTITION:OFFSET or TOPIC:EPOCH.PARTITION:OFFSET."""
    found = PLACE.fullmatch(place)
    if found is None:
        raise DeadLetterError(f"{place!r} names no dead letter: give TOPIC:PARTITION:OFFSET, see `betting dlq list`")
    return found["topic"], int(found["epoch"] or 1), int(found["partition"]), int(found["offset"])


def find(conn: psycopg.Connection, choice: Choice, limit: int, *, whole: bool = False) -> list[StoredLetter]:
    """The newest dead letters of a choice; with their payloads if they are wanted `whole`."""
    condition, values = choice.condition()
    columns = [
        sql.SQL("NULL AS payload") if field.name == "payload" and not whole else sql.Identifier(field.name)
        for field in fields(StoredLetter)
    ]
    statement = sql.SQL("SELECT {} FROM stream.dead_letter WHERE {} ORDER BY landed_at DESC, {} LIMIT %s").format(
        sql.SQL(", ").join(columns), condition, sql.SQL('topic, epoch, partition, "offset"')
    )
    with conn.cursor(row_factory=class_row(StoredLetter)) as cursor:
        return cursor.execute(statement, [*values, limit]).fetchall()


def counts(conn: psycopg.Connection, choice: Choice) -> list[tuple[str, str, int, int]]:
    """Topic, reason, how many, and how many of them were never sent again."""
    condition, values = choice.condition()
    statement = sql.SQL(
        """SELECT topic, reason, count(*), count(*) FILTER (WHERE replayed_at IS NULL)
           FROM stream.dead_letter WHERE {} GROUP BY 1, 2 ORDER BY 1, 3 DESC"""
    ).format(condition)
    return conn.execute(statement, values).fetchall()


def replay(conn: psycopg.Connection, settings: Settings, choice: Choice, *, key_from_message: bool = False) -> int:
    """Send the original bytes of dead letters to their topics again, at least once; returns how many were sent.

    A letter is marked when the broker has it; a crash in between sends it a second time at the next call. Letters that
    are named by place are sent even if they were before.

    Args:
        choice: `conn` must be in autocommit mode: letters are marked in groups.
        key_from_message: send them with the match_id of their JSON as key.

    Raises:
        DeadLetterError: one of the letters named by place is not there, or has nothing to send.
        BrokerError: the broker does not take them.
    """
    _check_places(conn, choice)
    if not choice.places:  # not those that come back while we send
        [now] = conn.execute("SELECT clock_timestamp()").fetchone() or ()
        choice = replace(choice, waiting_at=now)
    client = producer(settings)
    sent = 0
    try:
        while letters := find(conn, choice, len(choice.places) or MOST_AT_ONCE, whole=True):
            futures = [_send(client, letter, key_from_message) for letter in letters]
            for future in futures:
                future.get(timeout=PATIENCE_SECONDS)
            _mark(conn, letters)
            sent += len(letters)
            if choice.places:
                break
    except KafkaError as error:
        raise BrokerError(
            f"Kafka at {servers(settings)}: {error or type(error).__name__}; {sent} were sent, the others wait"
        ) from error
    finally:
        client.close(timeout=PATIENCE_SECONDS)
    return sent


def _check_places(conn: psycopg.Connection, choice: Choice) -> None:
    if not choice.places:
        return
    there = {(one.topic, one.epoch, one.partition, one.offset): one for one in find(conn, choice, len(choice.places))}
    for place in choice.places:
        letter = there.get(parse(place))
        if letter is None:
            raise DeadLetterError(f"there is no dead letter {place}: see `betting dlq list`")
        if letter.reason == LOST:
            raise DeadLetterError(f"{place} stands for messages that were lost: there is nothing to send again")


def _send(client: Any, letter: StoredLetter, key_from_message: bool) -> Any:
    headers = [(name, bytes.fromhex(value)) for name, value in letter.headers if value is not None]
    headers = [one for one in headers if one[0] != REPLAYED_FROM] + [(REPLAYED_FROM, letter.place.encode())]
    key = (_match_id(letter.payload) or letter.key) if key_from_message else letter.key
    if letter.payload is None and key is None:
        raise DeadLetterError(f"{letter.place} has neither key nor value: Kafka's client cannot send it again")
    return client.send(letter.topic, letter.payload, key, headers=headers)


def _match_id(payload: bytes | None) -> bytes | None:
    try:
        found = json.loads(payload or b"null")
    except (ValueError, RecursionError):
        return None
    match_id = found.get("match_id") if isinstance(found, dict) else None
    return match_id.encode("utf-8", "replace") if isinstance(match_id, str) else None


def _mark(conn: psycopg.Connection, letters: Sequence[StoredLetter]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            """UPDATE stream.dead_letter SET replayed_at = clock_timestamp()
               WHERE topic = %s AND epoch = %s AND partition = %s AND "offset" = %s""",
            [(one.topic, one.epoch, one.partition, one.offset) for one in letters],
        )
