"""Bulk transfer between frames and PostgreSQL: COPY over ADBC into a stage, then one set-based upsert.

A row that says what is already there is not touched at all, so reading the same files again writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Table

from betting_assets.warehouse.arrow import FrameError, arrow_column, arrow_type, matrix, to_pandas
from betting_assets.warehouse.database import adbc

if TYPE_CHECKING:
    from adbc_driver_postgresql.dbapi import Connection as AdbcConnection

TOUCHED = "updated_at"


@dataclass(frozen=True)
class UpsertCounts:
    """What an upsert did to the rows that it was given."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0

    @property
    def changed(self) -> int:
        """Rows of the table that are not as they were before."""
        return self.inserted + self.updated + self.deleted


def upsert(
    url: str, table: Table, frame: pd.DataFrame, keys: Sequence[str] | None = None, *, touch: bool = True
) -> UpsertCounts:
    """Make the rows of `table` say what `frame` says, in one transaction.

    Columns of the table that the frame lacks keep their value. `keys` (default: the primary key) tell rows apart and
    must be unique in the frame. `touch` sets `updated_at` on rows that changed. Raises FrameError on a bad frame.
    """
    with adbc(url) as connection:
        stage(connection, table, frame, keys)
        return merge(connection, table, list(frame.columns), keys, touch=touch)


def stage(connection: AdbcConnection, table: Table, frame: pd.DataFrame, keys: Sequence[str] | None = None) -> str:
    """Copy a checked `frame` into a temporary table that goes with the transaction; returns its name."""
    rows = _checked(table, frame, keys or _primary_key(table))
    name = stage_name(table)
    columns = ", ".join(map(_quoted, rows.column_names))
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS pg_temp.{_quoted(name)}")
        cursor.execute(
            f"CREATE TEMP TABLE {_quoted(name)} ON COMMIT DROP AS SELECT {columns} FROM {_name(table)} WITH NO DATA"  # noqa: S608
        )
        if rows.num_rows:
            cursor.adbc_ingest(name, rows, mode="append", temporary=True)
    return name


def merge(
    connection: AdbcConnection,
    table: Table,
    columns: Sequence[str],
    keys: Sequence[str] | None = None,
    *,
    touch: bool = True,
) -> UpsertCounts:
    """Upsert what `stage` copied for `table`."""
    keys = list(keys or _primary_key(table))
    values = [column for column in columns if column not in keys]
    mark = touch and TOUCHED in table.columns and TOUCHED not in columns
    target, source = _name(table), _quoted(stage_name(table))
    listed = ", ".join(map(_quoted, columns))
    same_key = " AND ".join(f"t.{_quoted(key)} = s.{_quoted(key)}" for key in keys)
    # Rows that say the same are left out by a join first: ON CONFLICT alone would lock, and so write, every one.
    # In the order of the key the index grows at its end (three times as fast), and writers at once cannot deadlock.
    distinct = f"({_of('s', values)}) IS DISTINCT FROM ({_of('t', values)})" if values else "false"
    assignments = [f"{_quoted(column)} = excluded.{_quoted(column)}" for column in values]
    assignments += [f"{TOUCHED} = now()"] if mark else []
    action = f"UPDATE SET {', '.join(assignments)}" if values else "NOTHING"
    statement = f"""
        WITH written AS (
            INSERT INTO {target} AS t ({listed})
            SELECT {_of("s", columns)} FROM {source} s LEFT JOIN {target} t ON {same_key}
            WHERE t.{_quoted(keys[0])} IS NULL OR {distinct}
            ORDER BY {_of("s", keys)}
            ON CONFLICT ({", ".join(map(_quoted, keys))}) DO {action}
            RETURNING xmax = 0 AS inserted)
        SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted),
               (SELECT count(*) FROM {source}) - count(*) FROM written"""  # noqa: S608
    return UpsertCounts(*_row(connection, statement))


def delete_where(connection: AdbcConnection, table: Table, condition: str) -> int:
    """Delete the rows (alias t) for which `condition` holds, an SQL text that may name the stage; returns how many."""
    statement = f"WITH gone AS (DELETE FROM {_name(table)} t WHERE {condition} RETURNING 1) SELECT count(*) FROM gone"  # noqa: S608
    return int(_row(connection, statement)[0])


def stage_name(table: Table) -> str:
    """The temporary table that `stage` fills for `table`."""
    return f"stage_{table.name}"


def read_frame(url: str, query: str, parameters: Sequence[Any] | None = None) -> pd.DataFrame:
    """The rows of `query` as a frame; `parameters` stand for $1, $2, … Types as in `arrow.to_pandas`."""
    with adbc(url) as connection, connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return to_pandas(cursor.fetch_arrow_table())


def prices_matrix(frame: pd.DataFrame, selections: int) -> NDArray[np.float64]:
    """The column `prices` of a frame of books as (rows, selections) decimal odds, NaN where there is none."""
    return matrix(frame["prices"], selections)


def _row(connection: AdbcConnection, query: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
    assert row is not None
    return tuple(row)


def _checked(table: Table, frame: pd.DataFrame, keys: Sequence[str]) -> pa.Table:
    if unknown := [column for column in frame.columns if column not in table.columns]:
        raise FrameError(f"{table}: it has no column {', '.join(map(str, unknown))}")
    if missing := [key for key in keys if key not in frame.columns]:
        raise FrameError(f"{table}: the frame lacks the key {', '.join(missing)}")
    for name in frame.columns:
        if not table.columns[name].nullable and (empty := frame[name].isna()).any():
            first = _first(frame, empty, keys)
            raise FrameError(f"{table}.{name}: {int(empty.sum())} rows without a value, the first at {first}")
    if (again := frame.duplicated(list(keys))).any():
        first = _first(frame, again, keys)
        raise FrameError(f"{table}: {int(again.sum())} rows repeat a key, the first is {first}: keep one of each")
    arrays = {}
    for name in frame.columns:
        try:
            arrays[name] = arrow_column(frame[name], arrow_type(table.columns[name].type))
        except FrameError as error:
            raise FrameError(f"{table}.{name}: {error}") from error
    return pa.table(arrays)


def _first(frame: pd.DataFrame, bad: pd.Series[bool], keys: Sequence[str]) -> dict[str, Any]:
    return {key: frame.loc[bad, key].iloc[:1].tolist()[0] for key in keys}


def _primary_key(table: Table) -> list[str]:
    return [column.name for column in table.primary_key.columns]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _name(table: Table) -> str:
    return f"{_quoted(table.schema or 'public')}.{_quoted(table.name)}"


def _of(alias: str, columns: Sequence[str]) -> str:
    return ", ".join(f"{alias}.{_quoted(column)}" for column in columns)
