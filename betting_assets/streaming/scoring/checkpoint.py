"""The scorer's state in PostgreSQL: stream.current_book, and with it the scorer's rows of stream.position."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psycopg
from kafka import TopicPartition

from betting_assets.modelling.markets import MARKETS
from betting_assets.streaming.positions import SCORER, advance
from betting_assets.streaming.scoring.books import LINES, At, Book, microseconds

UPSERT = """
    INSERT INTO stream.current_book AS known (match_id, market, line, bookmaker, prices, lay, trading, in_play,
        taken_at, sequence, tick_epoch, tick_partition, tick_offset)
    SELECT match_id, market, line, bookmaker, prices, lay, trading, in_play,
           timestamptz 'epoch' + taken_at * interval '1 microsecond', sequence, epoch, partition, "offset"
      FROM json_to_recordset(%s::json)
        AS r(match_id text, market text, line float8, bookmaker text, prices float8[], lay float8[], trading text,
             in_play bool, taken_at bigint, sequence bigint, epoch int, partition int, "offset" bigint)
     ORDER BY match_id, market, line, bookmaker
    ON CONFLICT (match_id, market, line, bookmaker) DO UPDATE
       SET prices = excluded.prices, lay = excluded.lay, trading = excluded.trading, in_play = excluded.in_play,
           taken_at = excluded.taken_at, sequence = excluded.sequence, tick_epoch = excluded.tick_epoch,
           tick_partition = excluded.tick_partition, tick_offset = excluded.tick_offset, updated_at = now()
     WHERE (known.taken_at, known.sequence) < (excluded.taken_at, excluded.sequence)"""

SELECT = """SELECT match_id, market, bookmaker, prices, lay, trading, in_play, taken_at, sequence, tick_epoch,
                   tick_partition, tick_offset
              FROM stream.current_book
             WHERE match_id = ANY(%s) AND (market, line) IN (SELECT * FROM unnest(%s::text[], %s::float8[]))"""

Changed = Mapping[tuple[str, str, str], Book]
"""Books by match, market and bookmaker."""


class Move(NamedTuple):
    """How far a partition was dealt with: from the position in PostgreSQL to the offset behind the last message."""

    epoch: int
    old: int
    new: int


def save(conn: psycopg.Connection, changed: Changed, moves: Mapping[TopicPartition, Move]) -> None:
    """Books and positions in one transaction. Of two books the newer one stays, whoever writes last.

    Raises:
        FencedError: another process has read on: what is in memory may be old, start over.
    """
    with conn.transaction():
        for partition, move in sorted(moves.items()):
            advance(conn, SCORER, partition.topic, partition.partition, move.epoch, move.old, move.new)
        if changed:
            conn.execute(UPSERT, [_records(changed)])


def load(conn: psycopg.Connection, match_ids: Sequence[str]) -> dict[str, dict[str, list[Book]]]:
    """Match → market → the books of its modelled line; every match that is asked for is there."""
    found: dict[str, dict[str, list[Book]]] = {match_id: {market: [] for market in MARKETS} for match_id in match_ids}
    rows = conn.execute(SELECT, [list(match_ids), list(LINES), list(LINES.values())]).fetchall()
    for match_id, market, bookmaker, prices, lay, trading, in_play, taken_at, sequence, *at in rows:
        book = Book(
            bookmaker,
            tuple(prices),
            tuple(lay or ()),
            trading,
            in_play,
            microseconds(taken_at),
            sequence,
            At(*at),
        )
        found[match_id][market].append(book)
    return found


def newest_time(conn: psycopg.Connection) -> int:
    """Of all books, microseconds since 1970; 0 where there are none."""
    row = conn.execute("SELECT max(taken_at) FROM stream.current_book").fetchone()
    newest: dt.datetime | None = row[0] if row else None
    return 0 if newest is None else microseconds(newest)


def _records(changed: Changed) -> str:
    """As JSON: lists of thousands of parameters would take longer to send than to write."""
    records = [
        {
            "match_id": match_id,
            "market": market,
            "line": LINES[market],
            "bookmaker": bookmaker,
            "prices": _numbers(book.prices),
            "lay": _numbers(book.lay) or None,
            "trading": book.trading,
            "in_play": book.in_play,
            "taken_at": book.taken_at,
            "sequence": book.sequence,
            **book.at._asdict(),
        }
        for (match_id, market, bookmaker), book in changed.items()
    ]
    return json.dumps(records, allow_nan=False)


def _numbers(prices: Sequence[float]) -> list[float | str]:
    """JSON has no NaN, but PostgreSQL reads the word."""
    return ["NaN" if math.isnan(price) else price for price in prices]
