"""Rows from a stream to the online and the offline store at once: both or neither.

Feast's own push writes to one store after the other; what it has written when the second refuses stays there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import psycopg
from feast import FeatureStore, FeatureView
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from psycopg import sql

from feature_repo.operations import feature_view
from feature_repo.packed_frame import packed_rows
from feature_repo.store import online_store

MARKS = ("updated_at", "pushed_at")
"""Columns that are set to the time of the push, where the source table has them."""
WHOLE = ("smallint", "integer", "bigint")


def push(store: FeatureStore, view_name: str, frame: pd.DataFrame) -> int:
    """Write rows to the online store and to the view's source table, one statement each in one transaction.

    Online the newest row of a match wins; offline a row replaces one of the same match and time, so that pushing the
    same rows again changes nothing.

    Args:
        frame: the join key, the source's times (aware) and every feature of the view.

    Returns:
        Rows of the frame.

    Raises:
        NotAppliedError: the registry does not know the view.
        ValueError: one line about what does not fit; nothing is written.
        psycopg.Error: the database refused or is away; nothing is written.
    """
    view = feature_view(store, view_name)
    source = view.batch_source
    if not isinstance(source, PostgreSQLSource) or not source._postgres_options._table or source.field_mapping:
        raise ValueError(f"{view_name}: its source is no plain table, rows cannot be pushed to it")
    if frame.empty:
        return 0
    online, table = online_store(store), sql.Identifier(*source._postgres_options._table.split("."))
    rows = packed_rows(view, frame)
    newest = _each_once(view, frame)

    def work(connection: psycopg.Connection) -> None:
        with connection.transaction():
            types = _types(connection, table.as_string())
            _upsert(connection, table, view, newest, types)
            online.write_rows(connection, store.config, view, rows)

    online.run(store.config, work)
    return len(frame)


def _keys(view: FeatureView) -> list[str]:
    assert view.batch_source is not None
    return [*view.join_keys, view.batch_source.timestamp_field]


def _each_once(view: FeatureView, frame: pd.DataFrame) -> pd.DataFrame:
    """One row a key and time, the last made."""
    assert view.batch_source is not None
    created = view.batch_source.created_timestamp_column
    columns = [*_keys(view), *([created] if created else []), *(feature.name for feature in view.features)]
    ordered = frame[columns].sort_values(created, kind="stable") if created else frame[columns]
    return ordered.drop_duplicates(_keys(view), keep="last")


def _types(connection: psycopg.Connection, table: str) -> dict[str, str]:
    """Type of each column of the table."""
    return dict(
        connection.execute(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            [table],
        ).fetchall()
    )


def _upsert(
    connection: psycopg.Connection,
    table: sql.Identifier,
    view: FeatureView,
    frame: pd.DataFrame,
    types: Mapping[str, str],
) -> None:
    names = [str(name) for name in frame.columns]
    if missing := [name for name in names if name not in types]:
        raise ValueError(f"{table.as_string()} has no column {', '.join(missing)}: materialize match_features first")
    if lists := [name for name in names if types[name].endswith("[]")]:
        raise ValueError(f"{view.name}: lists cannot be pushed ({', '.join(lists)})")
    keys = _keys(view)
    arrays = [sql.SQL("%b::{}[]").format(sql.SQL(types[name])) for name in names]  # a name from PostgreSQL's catalogue
    changes = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names if name not in keys]
    marks = [sql.Identifier(name) for name in MARKS if name in types]
    statement = sql.SQL(
        "INSERT INTO {table} ({columns}) SELECT {rows} FROM unnest({arrays}) AS r({names}) ORDER BY {order}"
        " ON CONFLICT ({keys}) DO UPDATE SET {set}"
    ).format(
        table=table,
        columns=sql.SQL(", ").join([*map(sql.Identifier, names), *marks]),
        rows=sql.SQL(", ").join([sql.SQL("r.*"), *(sql.SQL("now()") for _ in marks)]),
        arrays=sql.SQL(", ").join(arrays),
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
        # In the order in which every writer of features locks rows, so that writers at once cannot deadlock.
        order=sql.SQL(", ").join(map(sql.Identifier, keys)),
        keys=sql.SQL(", ").join(map(sql.Identifier, keys)),
        set=sql.SQL(", ").join([*changes, *(sql.SQL("{} = now()").format(mark) for mark in marks)]),
    )
    connection.execute(statement, [_values(view, frame[name], types[name]) for name in names])


def _values(view: FeatureView, column: pd.Series, kind: str) -> list[Any]:
    """As Python values, None where missing; whole numbers as such where the table wants them."""
    if kind in WHOLE and pd.api.types.is_float_dtype(column.dtype):
        whole = column.dropna()
        if (whole % 1 != 0).any():
            raise ValueError(f"{view.name}.{column.name} holds {kind}: {whole[whole % 1 != 0].iloc[0]} is not whole")
        column = column.astype("Int64")
    return column.astype(object).where(column.notna(), None).tolist()
