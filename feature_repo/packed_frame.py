"""A frame of features as packed rows, a column at a time."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from feast import FeatureView, ValueType
from feast.infra.key_encoding_utils import serialize_entity_key_prefix
from feast.type_map import python_values_to_proto_values
from numpy.typing import NDArray

from feature_repo.online_sql import NEVER, PackedRow
from feature_repo.packing import KINDS, MESSAGE, Schema, pack

LONG = struct.Struct("<q")
HEAD = struct.Struct("<II")


def key_bytes(view: FeatureView, keys: Sequence[str | int]) -> list[bytes]:
    """Entity keys as Feast serializes them (version 3), for a view with one join key, text or int64.

    Raises:
        ValueError: the view has several join keys, or one of another type.
    """
    if len(view.entity_columns) != 1:
        raise ValueError(f"{view.name} has join keys {view.join_keys}: only one is supported here, use online_read")
    field = view.entity_columns[0]
    kind = field.dtype.to_value_type()
    if kind is ValueType.STRING:
        return text_keys(field.name, [str(key) for key in keys])
    if kind is ValueType.INT64:
        head = serialize_entity_key_prefix([field.name]) + HEAD.pack(kind.value, LONG.size)
        return [head + LONG.pack(int(key)) for key in keys]
    raise ValueError(f"{view.name}: join key {field.name} is {kind.name}, only STRING and INT64 are supported here")


def text_keys(join_key: str, keys: Sequence[str]) -> list[bytes]:
    """As Feast's serialize_entity_key, version 3, for one text key."""
    start = _prefix(join_key)
    values = [key.encode() for key in keys]
    return [start + HEAD.pack(ValueType.STRING.value, len(value)) + value for value in values]


_prefix = lru_cache(maxsize=512)(lambda join_key: serialize_entity_key_prefix([join_key]))


def packed_rows(view: FeatureView, frame: pd.DataFrame) -> list[PackedRow]:
    """The rows of a frame with the view's join key, its source's time columns (aware) and all its features.

    Missing values (NaN, NaT, None, NA) become nulls.

    Raises:
        ValueError: a column is missing, a time is missing or has no zone, or values do not fit the declared type.
    """
    source = view.batch_source
    if source is None:
        raise ValueError(f"{view.name} has no batch source, which would say where the times are")
    created = source.created_timestamp_column
    needed = [*view.join_keys, source.timestamp_field, *([created] if created else [])]
    needed += [feature.name for feature in view.features]
    if missing := [name for name in needed if name not in frame.columns]:
        raise ValueError(f"{view.name}: the frame lacks {', '.join(missing)}")
    keys = key_bytes(view, frame[view.join_keys[0]].tolist())
    events = _times(view, frame, source.timestamp_field)
    createds = _times(view, frame, created) if created else [NEVER] * len(frame)
    schema, values = _pack(view, frame)
    return [
        PackedRow(key, event, made, schema, value)
        for key, event, made, value in zip(keys, events, createds, values, strict=True)
    ]


def _pack(view: FeatureView, frame: pd.DataFrame) -> tuple[Schema, list[bytes]]:
    types = {feature.name: feature.dtype.to_value_type() for feature in view.features}
    schema = Schema.of({name: KINDS.get(kind, MESSAGE) for name, kind in types.items()})
    n, split = len(frame), schema.floats
    columns = frame[list(schema.names[: schema.fixed])]
    floats, integers = np.zeros((n, split), np.float64), np.zeros((n, schema.fixed - split), np.int64)
    if (columns.dtypes.iloc[:split] == np.float64).all():
        floats = columns.iloc[:, :split].to_numpy()
        singly = range(split, schema.fixed)
    else:
        singly = range(schema.fixed)
    present = np.empty((n, schema.fixed), np.bool_)
    present[:, :split] = ~np.isnan(floats)
    for place in singly:
        column = columns.iloc[:, place]
        there = column.notna().to_numpy(np.bool_)
        present[:, place] = there
        cells = floats[:, place] if place < split else integers[:, place - split]
        cells[there] = _numbers(view, column[there], types[str(column.name)])
    rest = [python_values_to_proto_values(_plain(frame[name]), types[name]) for name in schema.names[schema.fixed :]]
    return schema, pack(schema, floats, integers, present, list(zip(*rest, strict=True)))


def _numbers(view: FeatureView, column: pd.Series, kind: ValueType) -> NDArray[Any]:
    """Values without nulls as float64 or int64."""
    try:
        if kind in (ValueType.DOUBLE, ValueType.FLOAT):
            return column.to_numpy(np.float64)
        if kind is ValueType.UNIX_TIMESTAMP and not pd.api.types.is_numeric_dtype(column.dtype):
            return pd.DatetimeIndex(pd.to_datetime(column, utc=True)).as_unit("s").asi8
        numbers = column.to_numpy()
        if (numbers.astype(np.int64) != numbers).any():
            raise ValueError("not whole")
        return numbers.astype(np.int64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{view.name}.{column.name}: values do not fit {kind.name} ({error})") from error


def _plain(column: pd.Series) -> list[Any]:
    return [None if value is None or value is pd.NA or value is pd.NaT else value for value in column.tolist()]


def _times(view: FeatureView, frame: pd.DataFrame, name: str) -> list[int]:
    """Microseconds since 1970 UTC."""
    column = frame[name]
    if not isinstance(column.dtype, pd.DatetimeTZDtype):
        raise ValueError(f"{view.name}.{name} has no time zone: give it as UTC times")
    if column.isna().any():
        raise ValueError(f"{view.name}.{name} lacks {int(column.isna().sum())} times")
    return pd.DatetimeIndex(column).as_unit("us").asi8.tolist()
