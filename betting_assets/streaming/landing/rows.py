"""Valid messages as rows of PostgreSQL's binary COPY: the columns of each table, and how a record fills them."""

from __future__ import annotations

import datetime as dt
import json
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bentos.match_odds.log import copy_format
from betting_assets.streaming.landing.records import Message
from betting_assets.streaming.messages import MatchResult, OddsTick, Prediction

KEY = ("epoch", "partition", "offset")
TEXT = 25
"""Oid of the type text."""

EPOCH_MS = 946_684_800_000
"""2000, where PostgreSQL counts from."""

NULL = copy_format.NULL
TRUE, FALSE = struct.pack("!i?", 1, True), struct.pack("!i?", 1, False)

_start = struct.Struct("!hihiiiq").pack
_double = struct.Struct("!id").pack
_int8 = struct.Struct("!iq").pack
_two_int8 = struct.Struct("!iqiq").pack
_int4 = struct.Struct("!ii").pack
_int2 = struct.Struct("!ih").pack
_three_doubles = struct.Struct("!iiiIii" + "id" * 3).pack
_array = struct.Struct("!iiiIii").pack

text = lru_cache(maxsize=65_536)(copy_format.text)  # matches and bookmakers repeat


@dataclass(frozen=True)
class RowMapping:
    """How messages of one type become rows of their table.

    Attributes:
        columns: in order, behind those of KEY.
        cells: those columns, as bytes, of a record and its time in microseconds since 2000.
    """

    columns: tuple[str, ...]
    cells: Callable[[Any, int], bytes]

    @property
    def all_columns(self) -> tuple[str, ...]:
        return (*KEY, *self.columns, "produced_at")

    def row(self, record: Any, since: dt.timedelta, message: Message, epoch: int) -> bytes:
        """The row of a valid message, which happened `since` 2000; the table itself says when it was landed."""
        start = _start(len(self.columns) + 4, 2, epoch, 4, message.partition, 8, message.offset)
        happened = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        return start + self.cells(record, happened) + _int8(8, (message.timestamp - EPOCH_MS) * 1000)


def _tick(tick: OddsTick, taken: int) -> bytes:
    return b"".join(
        (
            text(tick.match_id),
            text(tick.bookmaker),
            text(tick.market),
            _double(8, tick.line),
            prices(tick.prices),
            NULL if tick.lay is None else prices(tick.lay),
            text(tick.trading),
            TRUE if tick.in_play else FALSE,
            _two_int8(8, taken, 8, tick.sequence),
            text(tick.source),
            NULL if tick.fixture is None else copy_format.jsonb(tick.fixture.model_dump_json()),
        )
    )


def _result(result: MatchResult, finished: int) -> bytes:
    return b"".join(
        (
            text(result.match_id),
            text(result.status),
            NULL if result.home_score is None else _int2(2, result.home_score),
            NULL if result.away_score is None else _int2(2, result.away_score),
            copy_format.jsonb(json.dumps(result.statistics)),
            _int8(8, finished),
            _int8(8, result.sequence),
            text(result.source),
            NULL if result.fixture is None else copy_format.jsonb(result.fixture.model_dump_json()),
        )
    )


def _prediction(said: Prediction, scored: int) -> bytes:
    excluded = "[" + ",".join(one.model_dump_json() for one in said.excluded) + "]"
    return b"".join(
        (
            copy_format.text(said.prediction_id),
            text(said.match_id),
            text(said.market),
            _double(8, said.line),
            copy_format.floats(said.probabilities),
            copy_format.floats(said.market_probabilities),
            copy_format.floats(said.best_prices),
            texts(said.best_bookmakers),
            copy_format.floats(said.edges),
            optional(said.withheld),
            optional(said.withheld_detail),
            copy_format.jsonb(excluded),
            optional(said.variant),
            optional(said.model_version),
            optional(said.bento),
            _int2(2, said.tick_epoch),
            _int4(4, said.tick_partition),
            _int8(8, said.tick_offset),
            _int8(8, microseconds(said.taken_at)),
            _int8(8, scored),
        )
    )


def prices(values: Sequence[float | None]) -> bytes:
    """A double precision[] with NaN where there is no price."""
    if None in values:
        values = [math.nan if value is None else value for value in values]
    if len(values) == 3:
        first, second, third = values
        return _three_doubles(56, 1, 0, copy_format.FLOAT8, 3, 1, 8, first, 8, second, 8, third)
    return copy_format.floats(values)  # type: ignore[arg-type]


def texts(values: Sequence[str]) -> bytes:
    """A text[]."""
    body = _array(0, 1, 0, TEXT, len(values), 1)[4:] + b"".join(map(copy_format.text, values))
    return struct.pack("!i", len(body)) + body


def optional(value: str | None) -> bytes:
    return NULL if value is None else copy_format.text(value)


def microseconds(moment: dt.datetime) -> int:
    """A timestamptz: microseconds since 2000. A float of seconds tells them apart until the year 2242."""
    return round(moment.timestamp() * 1_000_000) - EPOCH_MS * 1000


MAPPINGS: dict[type, RowMapping] = {
    OddsTick: RowMapping(
        (
            *("match_id", "bookmaker", "market", "line", "prices", "lay", "trading", "in_play"),
            *("taken_at", "sequence", "source", "fixture"),
        ),
        _tick,
    ),
    MatchResult: RowMapping(
        (
            *("match_id", "status", "home_score", "away_score", "statistics", "finished_at", "sequence"),
            *("source", "fixture"),
        ),
        _result,
    ),
    Prediction: RowMapping(
        (
            *("prediction_id", "match_id", "market", "line", "probabilities", "market_probabilities", "best_prices"),
            *("best_bookmakers", "edges", "withheld", "withheld_detail", "excluded", "variant", "model_version"),
            *("bento", "tick_epoch", "tick_partition", "tick_offset", "taken_at", "scored_at"),
        ),
        _prediction,
    ),
}
