"""Rows of serving.prediction_log in PostgreSQL's binary COPY format.

Binary, because there is nothing to escape and no number is turned to text and back: half the work of the text format.
See https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Sequence
from functools import lru_cache

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
TRAILER = struct.pack("!h", -1)
NULL = struct.pack("!i", -1)

FLOAT8 = 701
"""Oid of the type double precision."""

_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_length = struct.Struct("!i").pack
_moment = struct.Struct("!iq").pack
_jsonb = struct.Struct("!iB").pack


def columns(number: int) -> bytes:
    """What a row of so many columns begins with."""
    return struct.pack("!h", number)


def text(value: str) -> bytes:
    data = value.encode()
    return _length(len(data)) + data


def jsonb(value: str) -> bytes:
    data = value.encode()
    return _jsonb(len(data) + 1, 1) + data


@lru_cache(maxsize=4096)  # a batch repeats few times, those of its requests and of the rows in the cache
def moment(value: dt.datetime | None) -> bytes:
    """A timestamptz: microseconds since 2000."""
    if value is None:
        return NULL
    since = value - _EPOCH
    return _moment(8, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def floats(values: Sequence[float]) -> bytes:
    """A double precision[]."""
    cells: list[float] = [8] * (2 * len(values))
    cells[1::2] = values
    return _array(len(values)).pack(20 + 12 * len(values), 1, 0, FLOAT8, len(values), 1, *cells)


@lru_cache
def _array(size: int) -> struct.Struct:
    return struct.Struct("!iiiIii" + "id" * size)
