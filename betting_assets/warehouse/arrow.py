"""Frames of pandas to Arrow tables of exactly the types that a table in PostgreSQL has, and back.

ADBC copies Arrow columns in binary, so a type that is off by a bit is an error there. Here a wrong cell becomes one
line that names the column.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import ARRAY, BigInteger, Boolean, Date, DateTime, Double, Integer, SmallInteger, Text
from sqlalchemy.types import TypeEngine

_ARROW: list[tuple[type[TypeEngine[Any]], pa.DataType]] = [
    (SmallInteger, pa.int16()),  # before Integer, which is its base
    (BigInteger, pa.int64()),
    (Integer, pa.int32()),
    (Double, pa.float64()),
    (Boolean, pa.bool_()),
    (DateTime, pa.timestamp("us", "UTC")),
    (Date, pa.date32()),
    (Text, pa.string()),
    (ARRAY, pa.list_(pa.float64())),
]


class FrameError(ValueError):
    """A frame that cannot be written; the message is one line: table, column, what is wrong."""


def arrow_type(kind: TypeEngine[Any]) -> pa.DataType:
    """The Arrow type that ADBC copies into a column of this SQL type. Raises FrameError when there is none."""
    for sql_type, arrow in _ARROW:
        if isinstance(kind, sql_type):
            return arrow
    raise FrameError(f"no bulk transfer for columns of type {kind!r}")


def arrow_column(values: pd.Series[Any], kind: pa.DataType) -> pa.Array:
    """`values` as Arrow: NaN, NaT, None → null. Raises FrameError on cells that do not fit, or times without a zone."""
    try:
        if pa.types.is_list(kind):
            return _number_lists(values)
        if pa.types.is_timestamp(kind) and getattr(values.dtype, "tz", None) is None and values.notna().any():
            raise FrameError("times without a zone: make them UTC (tz_localize('UTC'))")
        if pa.types.is_string(kind):  # numbers are not silently spelled out
            return pa.array(values.astype(object), type=kind, from_pandas=True)
        return pa.array(values, from_pandas=True).cast(kind, safe=not pa.types.is_temporal(kind))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise FrameError(f"a cell does not fit {kind}: {error}") from error


def _number_lists(values: pd.Series[Any]) -> pa.Array:
    """Lists of floats; a missing number inside a list is NaN (never null), a missing list is refused."""
    rows = values.to_list()
    try:
        lengths = np.fromiter(map(len, rows), dtype=np.int32, count=len(rows))
    except TypeError as error:
        raise FrameError("every cell must be a list of numbers, one is not") from error
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    flat = np.fromiter(
        (np.nan if number is None else number for row in rows for number in row), dtype=np.float64, count=offsets[-1]
    )
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, from_pandas=False))


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Times become datetime64[ns, UTC], dates datetime64[ns] at midnight, lists arrays, integers with nulls float64,
    booleans pandas' own, which know null."""
    booleans = {pa.bool_(): pd.BooleanDtype()}.get
    frame = table.to_pandas(date_as_object=False, coerce_temporal_nanoseconds=True, types_mapper=booleans)
    assert isinstance(frame, pd.DataFrame)
    return frame


def matrix(lists: Iterable[Any], width: int) -> NDArray[np.float64]:
    """Lists of `width` numbers each → (rows, width) float64. Raises FrameError when one has another length."""
    rows = list(lists)
    if any(len(row) != width for row in rows):
        raise FrameError(f"expected {width} numbers in every row, some have more or fewer")
    return np.concatenate([np.empty(0), *rows]).astype(np.float64).reshape(len(rows), width)
