"""The rows that features are asked for: brought to PostgreSQL as a temporary table, given back as they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast.errors import FeastEntityDFMissingColumnsError
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.utils.postgres.postgres_config import PostgreSQLConfig

from feature_repo.arrow_types import as_feast_types
from feature_repo.offline_connection import offline_connection

if TYPE_CHECKING:
    from adbc_driver_postgresql.dbapi import Connection as AdbcConnection

TABLE = "pg_temp.feast_entity"
ROW, TIME = "feast_row", "feast_time"
"""Columns of TABLE beside the join keys: the number of the row, and its time as timestamptz."""
MICROSECONDS = pa.timestamp("us", "UTC")


Span = tuple[datetime | None, datetime | None]
"""The earliest and the latest time; None without rows."""


class EntityRows(Protocol):
    """What Feast calls an entity data frame, in either of its forms."""

    @property
    def columns(self) -> list[str]: ...

    @property
    def time(self) -> str:
        """Name of the column with the times."""

    def span(self) -> Span:
        """Of the times of the rows."""

    def stage(self, connection: AdbcConnection, keys: Sequence[str]) -> pa.Table:
        """Fill TABLE with ROW, TIME and `keys`; returns all columns of the rows in the order of ROW."""


def entity_rows(source: pd.DataFrame | str, store: PostgreSQLConfig) -> EntityRows:
    """A frame, or an SQL query that is run in `store`. Times without a zone are UTC.

    Raises:
        EntityTimestampInferenceException: no column `event_timestamp`, and not exactly one other with times.
    """
    return QueriedRows.of(source, store) if isinstance(source, str) else FrameRows.of(source)


def require(rows: EntityRows, keys: Sequence[str]) -> None:
    """Raises FeastEntityDFMissingColumnsError when a join key is not among the columns."""
    if missing := set(keys) - set(rows.columns):
        raise FeastEntityDFMissingColumnsError({*keys, rows.time}, missing)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class FrameRows:
    """Rows of a frame. Only keys and times travel; the other columns, of whatever type, stay here."""

    frame: pd.DataFrame
    columns: list[str]
    time: str

    @classmethod
    def of(cls, frame: pd.DataFrame) -> FrameRows:
        time = infer_event_timestamp_from_entity_df(dict(zip(frame.columns, frame.dtypes, strict=True)))
        return cls(frame, list(frame.columns), time)

    def span(self) -> Span:
        times = _times(self.frame[self.time])
        return pc.min(times).as_py(), pc.max(times).as_py()

    def stage(self, connection: AdbcConnection, keys: Sequence[str]) -> pa.Table:
        columns = {ROW: pa.array(np.arange(len(self.frame))), TIME: _times(self.frame[self.time])}
        sent = pa.table(columns | {key: _keys(self.frame[key]) for key in keys})
        with connection.cursor() as cursor:
            cursor.adbc_ingest(TABLE.partition(".")[2], sent, mode="create", temporary=True)
        return pa.Table.from_pandas(self.frame, preserve_index=False)


@dataclass(frozen=True)
class QueriedRows:
    """Rows of an SQL query, numbered in the order in which it gives them."""

    query: str
    store: PostgreSQLConfig
    columns: list[str]
    time: str

    @classmethod
    def of(cls, query: str, store: PostgreSQLConfig) -> QueriedRows:
        with offline_connection(store) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM ({query}) AS entity LIMIT 0")  # noqa: S608
            frame = cursor.fetch_arrow_table().to_pandas()
        time = infer_event_timestamp_from_entity_df(dict(zip(frame.columns, frame.dtypes, strict=True)))
        return cls(query, store, list(frame.columns), time)

    def span(self) -> Span:
        time = f"{quoted(self.time)}::timestamptz"
        with offline_connection(self.store) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT min({time}) AS first, max({time}) AS last FROM ({self.query}) AS entity")  # noqa: S608
            earliest, latest = cursor.fetchone() or (None, None)
        return earliest, latest

    def stage(self, connection: AdbcConnection, keys: Sequence[str]) -> pa.Table:
        columns = ", ".join(map(quoted, self.columns))
        with connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TEMP TABLE {TABLE.partition('.')[2]} AS SELECT row_number() OVER () - 1 AS {ROW},"  # noqa: S608
                f" {quoted(self.time)}::timestamptz AS {TIME}, entity.* FROM ({self.query}) AS entity"
            )
            cursor.execute(f"SELECT {columns} FROM {TABLE} ORDER BY {ROW}")  # noqa: S608
            return as_feast_types(cursor.fetch_arrow_table())


def quoted(name: str) -> str:
    """`name` as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _times(values: pd.Series) -> pa.Array:
    """Microseconds, as PostgreSQL keeps them, rounded down: never later than what was asked."""
    return pa.array(pd.to_datetime(values, utc=True).dt.floor("us")).cast(MICROSECONDS)


def _keys(values: pd.Series) -> pa.Array:
    """Join keys as Arrow. Whole numbers that missing ones turned into floats become integers again: an index of
    integers is of no use to floats."""
    plain = values.astype(values.cat.categories.dtype) if values.dtype == "category" else values
    try:
        array = pa.array(plain, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"entity rows: join key {values.name} holds values of several types: {error}") from error
    if pa.types.is_null(array.type):
        return array.cast(pa.string())
    if pa.types.is_unsigned_integer(array.type):
        return array.cast(pa.int64())
    if pa.types.is_floating(array.type) and pc.all(pc.equal(array, pc.trunc(array))).as_py():
        return array.cast(pa.int64())
    return array
