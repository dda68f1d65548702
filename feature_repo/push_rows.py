"""`push` for whoever pushes many times a second: the same rows in both stores, without frames, worked out once.

A frame of one row costs pandas as much as one of a thousand, some twenty milliseconds in all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import psycopg
from feast import FeatureStore, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from psycopg import sql

from feature_repo.online_query import execute, text
from feature_repo.online_sql import NEVER, PackedRow, moment
from feature_repo.operations import feature_view
from feature_repo.packed_frame import key_bytes
from feature_repo.packing import KINDS, MESSAGE, Schema, pack
from feature_repo.push import MARKS, WHOLE
from feature_repo.store import online_store

Row = tuple[Any, ...]
"""The time in microseconds since 1970, then the features in the order of `names`; missing ones are None or NaN."""

SUPPORTED = (ValueType.DOUBLE, ValueType.BOOL, ValueType.STRING)


class RowPusher:
    """Pushes rows of one view.

    Args:
        names: every feature of the view, in the order of the rows.

    Raises:
        NotAppliedError: the registry does not know the view.
        ValueError: one line about what does not fit.
    """

    def __init__(self, store: FeatureStore, view_name: str, names: Sequence[str]) -> None:
        view = feature_view(store, view_name)
        types = {feature.name: feature.dtype.to_value_type() for feature in view.features}
        source = view.batch_source
        if not isinstance(source, PostgreSQLSource) or not source._postgres_options._table:
            raise ValueError(f"{view_name}: its source is no plain table, rows cannot be pushed to it")
        if set(names) != set(types) or len(view.join_keys) != 1 or source.created_timestamp_column:
            raise ValueError(f"{view_name}: give every feature once; it has one join key and no time of creation")
        if other := [name for name, kind in types.items() if kind not in SUPPORTED]:
            raise ValueError(f"{view_name}: only numbers, booleans and texts can be pushed as rows, not {other[0]}")
        self._config, self._view, self._online = store.config, view, online_store(store)
        self._schema = Schema.of({name: KINDS.get(kind, MESSAGE) for name, kind in types.items()})
        self._names = (view.join_keys[0], source.timestamp_field, *names)
        self._places = [names.index(name) + 1 for name in self._schema.names]
        self._booleans = [names.index(name) + 1 for name, kind in types.items() if kind is ValueType.BOOL]
        self._table = tuple(source._postgres_options._table.split("."))
        self._statement: bytes | None = None

    def push(self, rows: Mapping[str, Row]) -> None:
        """Write rows by key to both stores in one transaction; online the newest row of a key wins.

        Raises:
            psycopg.Error: the database refused or is away; nothing is written.
        """
        if not rows:
            return
        packed, offline = self._packed(rows), text(json.dumps(self._records(rows), allow_nan=False))

        def work(connection: psycopg.Connection) -> None:
            if self._statement is None:
                self._statement = _upsert(connection, self._table, self._names)
            with connection.transaction():
                execute(connection, self._statement, [offline])
                self._online.write_rows(connection, self._config, self._view, packed)

        self._online.run(self._config, work)

    def _packed(self, rows: Mapping[str, Row]) -> list[PackedRow]:
        schema, split = self._schema, self._schema.floats
        columns = list(zip(*rows.values(), strict=True))
        fixed = np.array([columns[place] for place in self._places[: schema.fixed]], np.float64).T
        present = ~np.isnan(fixed)
        integers = np.where(present, fixed, 0.0)[:, split:].astype(np.int64)
        messages = list(
            zip(*([_text(v) for v in columns[place]] for place in self._places[schema.fixed :]), strict=True)
        )
        values = pack(schema, fixed[:, :split], integers, present, messages)
        keys = key_bytes(self._view, list(rows))
        return [
            PackedRow(key, time, NEVER, schema, value)
            for key, time, value in zip(keys, columns[0], values, strict=True)
        ]

    def _records(self, rows: Mapping[str, Row]) -> list[dict[str, Any]]:
        """As JSON has them: no NaN, times as text."""
        records = []
        for key, (time, *values) in rows.items():
            plain = [None if value is None or value != value else value for value in values]
            for place in self._booleans:
                if plain[place - 1] is not None:
                    plain[place - 1] = bool(plain[place - 1])
            records.append(dict(zip(self._names, (key, moment(time).isoformat(), *plain), strict=True)))
        return records


def _text(value: str | None) -> ValueProto:
    return ValueProto() if value is None else ValueProto(string_val=value)


def _read_as(kind: str) -> str:
    """Features are floats, also counts, which the batch may have stored as whole numbers: "5.0" is no bigint."""
    return "double precision" if kind in WHOLE else kind


def _upsert(connection: psycopg.Connection, table: tuple[str, ...], names: Sequence[str]) -> bytes:
    """As `push` does it: a row replaces one of the same key and time."""
    name = sql.Identifier(*table)
    types: dict[str, str] = dict(
        connection.execute(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            [name.as_string()],
        ).fetchall()
    )
    if missing := [name for name in names if name not in types]:
        raise ValueError(f"{'.'.join(table)} has no column {', '.join(missing)}: materialize match_features first")
    marks = [sql.Identifier(mark) for mark in MARKS if mark in types]
    columns = [sql.Identifier(name) for name in names]
    fields = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(_read_as(types[name]))) for name in names]
    values = [sql.SQL("r.{}::{}").format(sql.Identifier(name), sql.SQL(types[name])) for name in names]
    changes = [sql.SQL("{0} = excluded.{0}").format(column) for column in columns[2:]]
    changes += [sql.SQL("{} = now()").format(mark) for mark in marks]
    statement = sql.SQL(
        "INSERT INTO {table} ({columns}) SELECT {rows} FROM json_to_recordset($1::json) AS r({fields}) ORDER BY {keys}"
        " ON CONFLICT ({keys}) DO UPDATE SET {changes}"
    ).format(
        table=name,
        columns=sql.SQL(", ").join([*columns, *marks]),
        rows=sql.SQL(", ").join([*values, *(sql.SQL("now()") for _ in marks)]),
        fields=sql.SQL(", ").join(fields),
        keys=sql.SQL(", ").join(columns[:2]),
        changes=sql.SQL(", ").join(changes),
    )
    return statement.as_bytes(connection)
