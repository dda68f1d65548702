"""Rows of a feature view into its source table: one bulk copy and one upsert, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.infra.utils.postgres.postgres_config import PostgreSQLConfig
from sqlalchemy import Column, Date, Integer, MetaData, SmallInteger, Table, Text

from betting_assets.warehouse.arrow import FrameError
from betting_assets.warehouse.bulk import TOUCHED, UpsertCounts, delete_where, merge, stage, stage_name
from betting_assets.warehouse.features import PUSHED, TYPES
from feature_repo.entity_rows import quoted
from feature_repo.offline_connection import offline_connection

if TYPE_CHECKING:
    from adbc_driver_postgresql.dbapi import Connection as AdbcConnection

MARKS = {TOUCHED, PUSHED}
"""Columns that no writer brings: they are set to the time of the write."""

_TYPES = TYPES | {"smallint": SmallInteger(), "integer": Integer(), "date": Date(), "character varying": Text()}
_NULLABLE = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
}
"""Else an integer column with a missing value would pass through floats."""
_UNIQUE_INDEXES = """
    SELECT array_to_string(ARRAY(SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
        WHERE k.place <= i.indnkeyatts), chr(1)) AS columns
    FROM pg_index i
    WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indimmediate AND i.indisvalid
      AND i.indpred IS NULL AND i.indexprs IS NULL"""


@dataclass(frozen=True)
class Target:
    """The source table of a feature view, in the names of the table."""

    view: str
    table: Table
    keys: list[str]
    """Join keys and event time."""
    created: str | None
    features: list[str]
    foreign: dict[str, str]
    """Column → type, of the columns to which nothing can be copied."""

    @property
    def name(self) -> str:
        return f"{self.table.schema}.{self.table.name}"


def write_rows(store: PostgreSQLConfig, feature_view: FeatureView, rows: pa.Table) -> UpsertCounts:
    """Make the source table of `feature_view` say what `rows` say: an upsert by join keys, event time and, where the
    table's unique index has it too, created time. Writing the same rows again changes nothing.

    A row replaces one of the same keys and event time unless its created time is older; in `rows` the same holds,
    and of equals the last counts. Times without a zone are UTC. Rows that changed get a new `updated_at` and, where the
    table has it, `pushed_at`, so that the next batch leaves them alone.

    Args:
        rows: Join keys, event time, created time if the source has one, and every feature of the view, in the names
            of the table.

    Raises:
        FrameError: the source is a query, its table is absent or has no such unique index; a column is missing, too
            many or of another type. One line that says how to mend it.
    """
    frame = _frame(rows)
    with offline_connection(store) as connection:
        target = _target(connection, feature_view)
        _check_columns(target, frame)
        keys = _conflict_keys(connection, target)
        staged = _newest(frame, keys, target.created)
        if PUSHED in target.table.columns:
            staged = staged.assign(**{PUSHED: None})
        stage(connection, target.table, staged, keys)
        unchanged = _drop_known(connection, target, keys, list(frame.columns))
        _mark(connection, target)
        counts = merge(connection, target.table, list(staged.columns), keys)
    return UpsertCounts(counts.inserted, counts.updated, unchanged)


def _newest(frame: pd.DataFrame, keys: list[str], created: str | None) -> pd.DataFrame:
    """One row of each key: by created time, then the last."""
    ordered = frame.sort_values(created, kind="stable", na_position="first") if created else frame
    return ordered.drop_duplicates(keys, keep="last")


def _frame(rows: pa.Table) -> pd.DataFrame:
    """Feast sends the index of the pushed frame along, under a name of its own."""
    rows = rows.select([name for name in rows.column_names if not name.startswith("__index_level_")])
    for number, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is None:
            times = rows.column(number).cast(pa.timestamp(field.type.unit, "UTC"))
            rows = rows.set_column(number, field.name, times)
    frame: pd.DataFrame = rows.to_pandas(types_mapper=_NULLABLE.get)
    return frame


def _target(connection: AdbcConnection, view: FeatureView) -> Target:
    source = view.batch_source
    if not isinstance(source, PostgreSQLSource) or source.get_table_query_string().startswith("("):
        raise FrameError(f"{view.name}: its source is no table of PostgreSQL, so rows cannot be written to it")
    source_name = {feature: column for column, feature in source.field_mapping.items()}
    keys = [source_name.get(key.name, key.name) for key in view.entity_columns if key.name != DUMMY_ENTITY_ID]
    time = str(source.timestamp_field)
    table, foreign = _table(connection, view.name, source.get_table_query_string(), [*keys, time])
    return Target(
        view=view.name,
        table=table,
        keys=[*keys, time],
        created=source.created_timestamp_column or None,
        features=[source_name.get(feature.name, feature.name) for feature in view.features],
        foreign=foreign,
    )


def _table(connection: AdbcConnection, view: str, name: str, keys: list[str]) -> tuple[Table, dict[str, str]]:
    """The table as it is now, locked against other writers of features, and its columns that cannot be copied to."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nspname::text, relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE c.oid = to_regclass($1)",
            [name],
        )
        if (found := cursor.fetchone()) is None:
            raise FrameError(f"{view}: its source table {name} does not exist: write it once, or mend the source")
        schema, table = found
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext($1))::text", [f"{schema}.{table}"])
        cursor.execute(
            "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute"
            " WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
            [name],
        )
        kinds = dict(cursor.fetchall())
    columns = [
        Column(column, _TYPES[kind], primary_key=column in keys) for column, kind in kinds.items() if kind in _TYPES
    ]
    foreign = {column: kind for column, kind in kinds.items() if kind not in _TYPES}
    return Table(table, MetaData(), *columns, schema=schema), foreign


def _check_columns(target: Target, frame: pd.DataFrame) -> None:
    wanted = [*target.keys, *([target.created] if target.created else []), *target.features]
    if missing := [column for column in wanted if column not in frame.columns]:
        raise FrameError(f"{target.view}: the rows lack {', '.join(missing)}: bring every feature, null where unknown")
    if foreign := [f"{column} ({target.foreign[column]})" for column in frame.columns if column in target.foreign]:
        raise FrameError(f"{target.name}: no bulk transfer for {', '.join(foreign)}: use {', '.join(sorted(_TYPES))}")
    if unknown := [column for column in frame.columns if column not in target.table.columns]:
        raise FrameError(f"{target.name}: it has no column {', '.join(unknown)}: add it, or leave it out of the rows")


def _conflict_keys(connection: AdbcConnection, target: Target) -> list[str]:
    """Columns of the unique index that tells rows apart: join keys and event time, with the created time if it can."""
    candidates = [[*target.keys, target.created]] if target.created else []
    candidates.append(target.keys)
    with connection.cursor() as cursor:
        cursor.execute(_UNIQUE_INDEXES, [f"{quoted(str(target.table.schema))}.{quoted(target.table.name)}"])
        indexes = [set(columns.split("\1")) for (columns,) in cursor.fetchall()]
    for candidate in candidates:
        if set(candidate) in indexes:
            return candidate
    raise FrameError(
        f"{target.name}: rows can only be written to a table that tells them apart: "
        f"CREATE UNIQUE INDEX ON {target.name} ({', '.join(map(quoted, candidates[0]))})"
    )


def _drop_known(connection: AdbcConnection, target: Target, keys: list[str], columns: list[str]) -> int:
    """Take out of the stage what the table says already, and what it has with a later created time (a missing one is
    the earliest); returns how many rows."""
    table = f"{quoted(str(target.table.schema))}.{quoted(target.table.name)}"
    staged = Table(stage_name(target.table), MetaData(), schema="pg_temp")
    same_key = " AND ".join(f"old.{quoted(key)} = t.{quoted(key)}" for key in keys)
    new, old = (", ".join(f"{alias}.{quoted(column)}" for column in columns) for alias in ("t", "old"))
    known = f"({new}) IS NOT DISTINCT FROM ({old})"
    if PUSHED in target.table.columns:
        known += f" AND old.{PUSHED} IS NOT NULL"
    if target.created and target.created not in keys:
        made = quoted(target.created)
        known += f" OR coalesce(t.{made}, '-infinity') < coalesce(old.{made}, '-infinity')"
    return delete_where(connection, staged, f"EXISTS (SELECT FROM {table} AS old WHERE {same_key} AND ({known}))")


def _mark(connection: AdbcConnection, target: Target) -> None:
    """What is still staged is a change: give it the time of the write."""
    if PUSHED in target.table.columns:
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE pg_temp.{quoted(stage_name(target.table))} SET {PUSHED} = now()")  # noqa: S608
