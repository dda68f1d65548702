"""Feature tables: their columns come from the frame, because features come and go more often than migrations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import ARRAY, BigInteger, Boolean, Column, DateTime, Double, MetaData, Table, Text
from sqlalchemy.types import TypeEngine

from betting_assets.warehouse.arrow import FrameError
from betting_assets.warehouse.bulk import UpsertCounts, delete_where, merge, stage
from betting_assets.warehouse.database import adbc

if TYPE_CHECKING:
    from adbc_driver_postgresql.dbapi import Connection as AdbcConnection

TIME = "event_timestamp"
PUSHED = "pushed_at"
"""When a stream wrote the row; null where the batch did. The batch leaves rows of the stream alone."""
TYPES: dict[str, TypeEngine[Any]] = {
    "bigint": BigInteger(),
    "double precision": Double(),
    "boolean": Boolean(),
    "timestamp with time zone": DateTime(timezone=True),
    "text": Text(),
    "double precision[]": ARRAY(Double()),
}


def write_feature_table(
    url: str, name: str, frame: pd.DataFrame, key: str = "match_id", *, replace: bool = False
) -> UpsertCounts:
    """Make features.<name> say what `frame` says, in one transaction; the table is made, or widened, as needed.

    `frame` has `key`, `event_timestamp` (UTC: when the row could first be known) and one column for each feature.
    Only rows that differ are written, and get a new `updated_at`. With `replace`, rows that the frame lacks are
    deleted, but for those that a stream has pushed: the table is the frame and what came since. Raises FrameError on
    a bad name, a type that is not for tables, or a frame that contradicts the table.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,50}", name):
        raise FrameError(f"{name!r} is no name for a feature table: lower-case letters, digits and _, at most 51")
    if missing := {key, TIME} - set(frame.columns):
        raise FrameError(f"features.{name}: the frame lacks {', '.join(sorted(missing))}")
    with adbc(url) as connection:
        table = _prepare(connection, name, frame, key)
        staged = stage(connection, table, frame)
        deleted = 0
        if replace:
            same = " AND ".join(f's."{column}" = t."{column}"' for column in (key, TIME))
            deleted = delete_where(
                connection, table, f"{PUSHED} IS NULL AND NOT EXISTS (SELECT FROM {staged} s WHERE {same})"
            )
        counts = merge(connection, table, list(frame.columns))
    return UpsertCounts(counts.inserted, counts.updated, counts.unchanged, deleted)


def _prepare(connection: AdbcConnection, name: str, frame: pd.DataFrame, key: str) -> Table:
    """The table as it must be to take `frame`: made, or given new or wider columns."""
    wanted = {str(column): _type_of(name, frame[column]) for column in frame.columns}
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_xact_lock(hashtext('features.{name}'))::text")
        cursor.execute(
            f'CREATE TABLE IF NOT EXISTS features."{name}" ("{key}" {wanted[key]}, "{TIME}" {wanted[TIME]},'
            f' updated_at timestamptz NOT NULL DEFAULT now(), {PUSHED} timestamptz, PRIMARY KEY ("{key}", "{TIME}"))'
        )
        there = _columns(cursor, name)
        if PUSHED not in there:
            cursor.execute(f'ALTER TABLE features."{name}" ADD COLUMN {PUSHED} timestamptz')
        for column, kind in wanted.items():
            if column not in there:
                cursor.execute(f'ALTER TABLE features."{name}" ADD COLUMN "{column}" {kind}')
            elif (there[column], kind) == ("bigint", "double precision"):
                cursor.execute(f'ALTER TABLE features."{name}" ALTER COLUMN "{column}" TYPE double precision')
            elif (there[column], kind) == ("double precision", "bigint"):
                wanted[column] = "double precision"
            elif there[column] != kind:
                raise FrameError(
                    f"features.{name}.{column} holds {there[column]}, the frame brings {kind}: "
                    f"mend the frame, or DROP TABLE features.{name} and write it anew"
                )
    columns = [Column(c, TYPES[kind], primary_key=c in (key, TIME)) for c, kind in wanted.items()]
    return Table(name, MetaData(), *columns, Column("updated_at", DateTime(timezone=True)), schema="features")


def _columns(cursor: Any, name: str) -> dict[str, str]:
    cursor.execute(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"  # noqa: S608
        f" WHERE attrelid = 'features.{name}'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    return dict(cursor.fetchall())


def _type_of(name: str, values: pd.Series[Any]) -> str:
    dtype = values.dtype
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", str(values.name)):
        raise FrameError(f"features.{name}: {values.name!r} is no name for a column")
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    if pd.api.types.is_integer_dtype(dtype):
        return "bigint"
    if pd.api.types.is_float_dtype(dtype):
        return "double precision"
    if isinstance(dtype, pd.DatetimeTZDtype):
        return "timestamp with time zone"
    if pd.api.types.is_object_dtype(dtype) or isinstance(dtype, pd.StringDtype | pd.CategoricalDtype):
        first = values.dropna().head(1)
        return "text" if first.empty or isinstance(first.iloc[0], str) else "double precision[]"
    raise FrameError(f"features.{name}.{values.name}: no column type for {dtype}; times must be UTC")
