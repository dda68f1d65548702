"""The landing transaction: positions, rows and dead letters together, and what to do with rows the database refuses."""

from __future__ import annotations

import logging

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from bentos.match_odds.log.copy_format import HEADER, TRAILER
from betting_assets.streaming.landing.batch import Batch, DeadLetter, TopicRows
from betting_assets.streaming.landing.copies import Copies
from betting_assets.streaming.landing.faults import fault
from betting_assets.streaming.landing.rows import MAPPINGS
from betting_assets.streaming.positions import LANDER, advance

log = logging.getLogger(__name__)

REFUSALS = (psycopg.DataError, psycopg.IntegrityError)
"""Errors that are the row's own fault; every other one says something of the database, and no row is blamed."""

PIECE = 1 << 18

INSERT_LETTER = """INSERT INTO stream.dead_letter
    (topic, epoch, partition, "offset", reason, detail, key, payload, headers, produced_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, timestamptz 'epoch' + make_interval(secs => %s))
    ON CONFLICT DO NOTHING"""

NO_TIME_MS, LAST_MS = 0, 253_402_300_799_000
"""What a column takes of a message's timestamp, which may be anything."""


class Writer:
    """Lands batches over one connection (autocommit). `copies` sends dead letters to their topics."""

    def __init__(self, conn: psycopg.Connection, copies: Copies) -> None:
        self._conn = conn
        self._copies = copies

    def write(self, batch: Batch) -> None:
        """Land all of a batch in one transaction.

        Copies of dead letters are with the broker before the commit: they may be there twice, but never lack.

        Raises:
            FencedError: another process has landed it.
            KafkaError: the copies could not be sent; nothing was landed.
            psycopg.Error: the database is away, or refuses everything; nothing was landed.
        """
        self._copies.send(batch.letters)
        try:
            with self._conn.transaction():
                self._move(batch)
                for rows in batch.topics.values():
                    self._copy(rows, 0, len(rows.rows))
                self._insert(batch.letters)
                self._copies.flush()
        except REFUSALS:
            self._write_with_care(batch)

    def _write_with_care(self, batch: Batch) -> None:
        """Again, in halves: the rows that the database refuses become dead letters, the others are landed."""
        with self._conn.transaction():
            self._move(batch)
            refused: list[DeadLetter] = []
            for name, rows in batch.topics.items():
                epoch = next(move.epoch for partition, move in batch.moves.items() if partition.topic == name)
                self._bisect(rows, 0, len(rows.rows), epoch, refused)
            self._copies.send(refused)
            self._insert(batch.letters + refused)
            self._copies.flush()

    def _bisect(self, rows: TopicRows, first: int, last: int, epoch: int, refused: list[DeadLetter]) -> None:
        try:
            with self._conn.transaction():
                self._copy(rows, first, last)
        except REFUSALS as error:
            if last - first > 1:
                middle = (first + last) // 2
                self._bisect(rows, first, middle, epoch, refused)
                self._bisect(rows, middle, last, epoch, refused)
            elif _is_there(error, rows.topic.table):
                log.warning("%s offset %s is there already", rows.topic.table, rows.messages[first].offset)
            else:
                why = fault("refused_by_database", f"{_gist(error)}; mend the message or the table {rows.topic.table}")
                refused.append(DeadLetter(rows.messages[first], epoch, why))

    def _move(self, batch: Batch) -> None:
        for partition, move in sorted(batch.moves.items()):
            advance(self._conn, LANDER, partition.topic, partition.partition, move.epoch, move.old, move.new)

    def _copy(self, rows: TopicRows, first: int, last: int) -> None:
        if first == last:
            return
        columns = MAPPINGS[rows.topic.message].all_columns
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            sql.Identifier(*rows.topic.table.split(".")), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        data = memoryview(HEADER + b"".join(rows.rows[first:last]) + TRAILER)
        with self._conn.cursor() as cursor, cursor.copy(statement) as copy:
            for start in range(0, len(data), PIECE):
                copy.write(data[start : start + PIECE])

    def _insert(self, letters: list[DeadLetter]) -> None:
        if letters:
            with self._conn.cursor() as cursor:
                cursor.executemany(INSERT_LETTER, [_row(letter) for letter in letters])


def _row(letter: DeadLetter) -> tuple[object, ...]:
    message = letter.message  # its headers may hold NUL, the one character that jsonb refuses
    headers = [[name.replace("\0", "\\0"), None if value is None else value.hex()] for name, value in message.headers]
    seconds = min(max(message.timestamp, NO_TIME_MS), LAST_MS) / 1000
    return (
        *(message.topic, letter.epoch, message.partition, message.offset, letter.fault.reason, letter.fault.detail),
        *(message.key, message.value, Jsonb(headers), seconds),
    )


def _is_there(error: psycopg.Error, table: str) -> bool:
    """Whether the row was landed before: somebody has set the position back."""
    primary = f"{table.split('.')[-1]}_pkey"
    return isinstance(error, psycopg.errors.UniqueViolation) and error.diag.constraint_name == primary


def _gist(error: psycopg.Error) -> str:
    """What the database says, without the row, which may be long, and stands beside it."""
    return error.diag.message_primary or " ".join(str(error).split())
