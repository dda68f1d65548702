"""Tables and statements of the online store."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import psycopg
from feast import FeatureView, RepoConfig
from numpy.typing import NDArray
from psycopg import sql

from feature_repo.packing import Schema

SCHEMAS = "packed_schema"
LONGEST = 63
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NEVER = -(2**63)
"""The earliest time: created time of a row whose source has none, event time of a row that is not there."""


class PackedRow(NamedTuple):
    """A row as it is written. Times are microseconds since 1970 UTC: numbers, which no zone can shift."""

    key: bytes
    event: int
    created: int
    schema: Schema
    value: bytes


def microseconds(time: dt.datetime) -> int:
    """Since 1970 UTC; a naive time is UTC."""
    aware = time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time
    return (aware - EPOCH) // dt.timedelta(microseconds=1)


def moment(micros: int) -> dt.datetime:
    """The inverse of `microseconds`, aware."""
    return EPOCH + dt.timedelta(microseconds=micros)


def table_name(config: RepoConfig, view: FeatureView) -> str:
    """The view's table: {project}:{view}, shortened to what PostgreSQL keeps of a name.

    Feast allows no colon in the name of a project, so that no two views share a table.
    """
    version = None
    if config.registry.enable_online_feature_view_versioning:
        version = getattr(view.projection, "version_tag", None) or getattr(view, "current_version_number", None)
    return _fit(f"{config.project}:{view.name}" + (f"@v{version}" if version else ""))


def _fit(name: str) -> str:
    """A name of at most as many bytes as PostgreSQL keeps, different for different names."""
    if len(name.encode()) <= LONGEST:
        return name
    digest = ":" + hashlib.sha256(name.encode()).hexdigest()[:12]
    return name.encode()[: LONGEST - len(digest)].decode(errors="ignore") + digest


def create(connection: psycopg.Connection, db_schema: str, tables: Sequence[str], clock: str) -> None:
    """Make the tables that are not there yet. Safe to run at the same time as itself.

    The index on times finds the newest one for the clock of a replay; otherwise it would only slow writes down.
    """
    with connection.transaction():
        _lock(connection, db_schema)
        if connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [db_schema]).fetchone() is None:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(db_schema)))
        connection.execute(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (id bigint PRIMARY KEY, names text[] NOT NULL, kinds text[] NOT NULL)"
            ).format(sql.Identifier(db_schema, SCHEMAS))
        )
        for table in tables:
            connection.execute(
                sql.SQL(
                    "CREATE TABLE IF NOT EXISTS {} (entity_key bytea PRIMARY KEY, event_us bigint NOT NULL,"
                    " created_us bigint NOT NULL, schema_id bigint NOT NULL, value bytea NOT NULL)"
                    " WITH (fillfactor = 80)"
                ).format(sql.Identifier(db_schema, table))
            )
            if clock == "data":
                connection.execute(
                    sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} (event_us)").format(
                        sql.Identifier(_fit(f"{table}:time")), sql.Identifier(db_schema, table)
                    )
                )


def drop(connection: psycopg.Connection, db_schema: str, tables: Sequence[str]) -> None:
    """Drop tables, and the list of schemas when no packed table is left."""
    with connection.transaction():
        _lock(connection, db_schema)
        for table in tables:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(db_schema, table)))
        if not connection.execute(
            "SELECT 1 FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = %s AND relkind = 'r' AND attname = 'schema_id' AND NOT attisdropped",
            [db_schema],
        ).fetchone():
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(db_schema, SCHEMAS)))


def tables_of(config: RepoConfig, views: Sequence[FeatureView]) -> list[str]:
    """Every table of these views: one for each version where views are versioned."""
    names = [_fit(f"{config.project}:{view.name}") for view in views]
    if config.registry.enable_online_feature_view_versioning:
        for view in views:
            newest = getattr(view, "current_version_number", None) or 0
            names += [_fit(f"{config.project}:{view.name}@v{number}") for number in range(1, newest + 1)]
    return names


def _lock(connection: psycopg.Connection, db_schema: str) -> None:
    """Two processes that create one table at the same moment fail, IF NOT EXISTS or not."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"packed online store {db_schema}"])


@lru_cache(maxsize=512)
def upsert_statement(db_schema: str, table: str) -> bytes:
    """One statement for any number of rows: they are locked in order of their keys, so that writers cannot deadlock.

    Parameters: the schemas as JSON; keys, event times, created times, schemas and values of the rows.
    """
    return (
        sql.SQL(
            """WITH known AS (
                   INSERT INTO {schemas} SELECT * FROM json_to_recordset($1::json)
                   AS s(id bigint, names text[], kinds text[]) ORDER BY id ON CONFLICT DO NOTHING)
               INSERT INTO {table} AS t (entity_key, event_us, created_us, schema_id, value)
               SELECT * FROM unnest($2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[]) AS r(key)
                ORDER BY key
               ON CONFLICT (entity_key) DO UPDATE
                  SET event_us = excluded.event_us, created_us = excluded.created_us,
                      schema_id = excluded.schema_id, value = excluded.value
                WHERE (t.event_us, t.created_us) <= (excluded.event_us, excluded.created_us)"""
        )
        .format(schemas=sql.Identifier(db_schema, SCHEMAS), table=sql.Identifier(db_schema, table))
        .as_bytes()
    )


@lru_cache(maxsize=512)
def read_statement(db_schema: str, tables: tuple[str, ...], clock: str) -> bytes:
    """One statement for all views, and one value as its answer: the bytes that `Answer.of` reads.

    Its parameter $1 is the keys, each once. One value instead of a row for each key and view, because PostgreSQL and
    the client would else spend most of the time on the cells of the answer.
    """
    named = [sql.Identifier(db_schema, table) for table in tables]
    now: sql.Composable = sql.SQL("(extract(epoch FROM now()) * 1000000)::bigint")
    if clock == "data":
        newest = [sql.SQL("(SELECT max(event_us) FROM {})").format(name) for name in named]
        now = sql.SQL("least({}, {})").format(now, sql.SQL("greatest({})").format(sql.SQL(", ").join(newest)))
    views = [sql.Identifier(f"v{number}") for number in range(len(named))]
    strings = [
        sql.SQL("coalesce(string_agg({}, '' ORDER BY place), '')").format(sql.SQL(part).format(v=v))
        for part in (
            f"int8send(coalesce({{v}}.event_us, {NEVER}))",
            "int8send(coalesce({v}.schema_id, 0))",
            "int4send(coalesce(length({v}.value), 0))",
            "{v}.value",
        )
        for v in views
    ]
    joins = [
        sql.SQL("LEFT JOIN {} {v} ON {v}.entity_key = k.key").format(name, v=v)
        for name, v in zip(named, views, strict=True)
    ]
    return (
        sql.SQL("SELECT int8send({}) || {} FROM unnest($1::bytea[]) WITH ORDINALITY AS k(key, place) {}")
        .format(now, sql.SQL(" || ").join(strings), sql.SQL(" ").join(joins))
        .as_bytes()
    )


@dataclass(frozen=True)
class Answer:
    """What PostgreSQL says of n keys in v views: the clock, then for all views in turn times, schemas, lengths, values.

    Numbers are big-endian. Where a key has no row, its time is NEVER, its schema 0, and its value empty.
    """

    now: int
    """The store's time, microseconds since 1970 UTC."""
    times: NDArray[np.int64]
    """v × n, event times."""
    schemas: NDArray[np.int64]
    """v × n."""
    starts: NDArray[np.int64]
    """v × n, where each value starts in `data`."""
    ends: NDArray[np.int64]
    """v × n, where it ends."""
    data: bytes

    @classmethod
    def of(cls, data: bytes, views: int, keys: int) -> Answer:
        cells = views * keys
        times, schemas = np.frombuffer(data, ">i8", 2 * cells, 8).astype(np.int64).reshape(2, views, keys)
        lengths = np.frombuffer(data, ">i4", cells, 8 + 16 * cells).astype(np.int64)
        ends = lengths.cumsum() + (8 + 20 * cells)
        starts, ends = (ends - lengths).reshape(views, keys), ends.reshape(views, keys)
        return cls(int.from_bytes(data[:8], "big", signed=True), times, schemas, starts, ends, data)

    def ids(self) -> set[int]:
        """The schemas of the rows that there are."""
        return set(self.schemas.ravel().tolist()) - {0}


def read_schemas(connection: psycopg.Connection, db_schema: str, ids: Sequence[int]) -> Mapping[int, Schema]:
    """Schemas by id, those that the table knows."""
    query = sql.SQL("SELECT id, names, kinds FROM {} WHERE id = ANY(%s)").format(sql.Identifier(db_schema, SCHEMAS))
    rows = connection.execute(query, [list(ids)]).fetchall()
    return {identity: Schema(tuple(names), tuple(kinds)) for identity, names, kinds in rows}
