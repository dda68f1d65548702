"""Feast's online store on PostgreSQL: one packed row for each entity key and feature view.

It differs from Feast 0.67's own PostgreSQL store in what it promises:

- a stale write never overwrites a newer one: event time decides, then created time, and on a full tie the later write;
  so any order of the same writes ends in the same rows;
- a write replaces the whole row, so that the features of a row were always known together;
- TTL is honoured at read: an expired row answers OUTSIDE_MAX_AGE, its time, and nulls;
- times are UTC whatever the zone of session, server or process;
- a connection is checked before use and given back on every error; after a restart of the database the next call works;
- writers of the same keys cannot deadlock, and a batch is one statement;
- rows remember the schema that they were packed with: a feature that is new or gone breaks none.

Vector search is not supported.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import psycopg
from feast import Entity, FeatureView, RepoConfig
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
from feast.protos.feast.types.Value_pb2 import Value as ValueProto

from feature_repo import online_sql
from feature_repo.online_entities import AskedEntities, serialized
from feature_repo.online_pool import OnlinePool, PoolConfig, Result
from feature_repo.online_query import bigints, byteas, execute, text
from feature_repo.online_read import Read
from feature_repo.online_response import FeatureTypes, PackedResponse, fill_response
from feature_repo.online_rows import Columns, OnlineRows, Wanted
from feature_repo.online_sql import NEVER, Answer, PackedRow, microseconds, moment
from feature_repo.packed_frame import key_bytes, packed_rows
from feature_repo.packing import KINDS, Schema, pack_messages

Row = tuple[EntityKeyProto, dict[str, ValueProto], dt.datetime, dt.datetime | None]
Progress = Callable[[int], Any] | None


@dataclass(frozen=True)
class _Query:
    statement: bytes
    ttls: tuple[dt.timedelta | None, ...]


class PackedPostgresOnlineStoreConfig(PoolConfig):
    """Options of the store in feature_store.yaml. Feast finds this class by the name of the store."""

    type: Literal["feature_repo.online_store.PackedPostgresOnlineStore"] = (
        "feature_repo.online_store.PackedPostgresOnlineStore"
    )
    clock: Literal["wall", "data"] = "wall"
    """What a row's age is told by: PostgreSQL's clock; or, for a replay of history, the newest event time of the views
    that are read, so that old data do not all count as expired."""


class PackedPostgresOnlineStore(OnlineStore):
    """See the module. Thread-safe; one instance a process is enough."""

    _versioned_read_supported = True

    def __init__(self) -> None:
        self._connections = OnlinePool()
        self._schemas: dict[int, Schema] = {}

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        return SupportedAsyncMethods(read=True, write=True)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Make the tables of the views that are kept and drop those of the others."""
        keep = [online_sql.table_name(config, view) for view in tables_to_keep]
        schema = config.online_store.db_schema

        def work(connection: psycopg.Connection) -> None:
            online_sql.drop(connection, schema, online_sql.tables_of(config, tables_to_delete))
            online_sql.create(connection, schema, keep, config.online_store.clock)

        self.run(config, work)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Drop the tables of these views."""
        gone = online_sql.tables_of(config, tables)
        self.run(config, lambda connection: online_sql.drop(connection, config.online_store.db_schema, gone))

    def online_write_batch(self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Progress) -> None:
        """Write rows in one statement; of several rows of a key the newest. Naive times are UTC."""
        rows = _packed(config, table, data)
        self.run(config, lambda connection: self.write_rows(connection, config, table, rows))
        if progress:
            progress(len(data))

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Progress
    ) -> None:
        """As `online_write_batch`, in a thread."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKeyProto],
        requested_features: list[str] | None = None,
    ) -> list[tuple[dt.datetime | None, dict[str, ValueProto] | None]]:
        """For each key, in order, the row's event time (UTC) and values.

        (None, None): there is no row. (time, None): it has expired. A feature that the row lacks is absent.
        """
        keys = [serialized(config, key) for key in entity_keys]
        distinct = list(dict.fromkeys(keys))
        rows = self._ask(config, self._query(config, [table]), distinct).view(0)
        times = [None if time == NEVER else moment(time) for time in rows.times.tolist()]
        found = dict(zip(distinct, zip(times, rows.messages(requested_features or None), strict=True), strict=True))
        return [found[key] for key in keys]

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKeyProto],
        requested_features: list[str] | None = None,
    ) -> list[tuple[dt.datetime | None, dict[str, ValueProto] | None]]:
        """As `online_read`, in a thread."""
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    def read_rows(
        self, config: RepoConfig, wanted: Sequence[tuple[FeatureView, Sequence[str]]], keys: Sequence[str | int]
    ) -> OnlineRows:
        """Features of several views as numpy columns, by one query and without Feast's messages.

        Args:
            wanted: views with the features wanted of each; all with the same single join key.
            keys: values of the join key, in the order of the answer's rows.
        """
        return self.reader(config, wanted)(keys)

    def reader(
        self, config: RepoConfig, wanted: Sequence[tuple[FeatureView, Sequence[str]]]
    ) -> Callable[[Sequence[str | int]], OnlineRows]:
        """`read_rows` for one and the same set of features, worked out once: for services.

        Raises:
            ValueError: a feature that its view does not have, or views with several or different join keys.
        """
        views, columns = [view for view, _ in wanted], Columns([Wanted.of(view, names) for view, names in wanted])
        if len({tuple(view.join_keys) for view in views}) != 1:
            raise ValueError(f"{', '.join(view.name for view in views)} have different join keys: read them apart")
        query = self._query(config, views)

        def read(keys: Sequence[str | int]) -> OnlineRows:
            distinct = list(dict.fromkeys(keys))
            answer = columns.of(distinct, self._ask(config, query, key_bytes(views[0], distinct)))
            if len(distinct) == len(keys):
                return answer
            place = {key: i for i, key in enumerate(distinct)}
            return answer.take([place[key] for key in keys])

        return read

    def write_frame(self, config: RepoConfig, view: FeatureView, frame: pd.DataFrame) -> int:
        """Write a frame with the join key, the source's times (aware) and every feature of the view, by columns.

        Returns:
            Rows of the frame.
        """
        rows = packed_rows(view, frame)
        self.run(config, lambda connection: self.write_rows(connection, config, view, rows))
        return len(frame)

    async def initialize(self, config: RepoConfig) -> None:
        """Connect, so that the first read need not."""
        await asyncio.to_thread(self.run, config, lambda connection: None)

    async def close(self) -> None:
        """Give all connections back to PostgreSQL; the next call connects anew."""
        await asyncio.to_thread(self.close_pool)

    def close_pool(self) -> None:
        self._connections.close()

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """Feast's hook for stores that read all views at once."""
        asked = AskedEntities(config, join_key_values, entity_name_to_join_key_map)
        for together in asked.alike(grouped_refs):
            entities = asked.of(together[0][0])
            fill_response(
                online_features_response,
                together,
                self._ask(config, self._query(config, [view for view, _ in together]), entities.keys),
                entities.places,
                entities.length,
                full_feature_names,
                include_feature_view_version_metadata,
            )

    def _build_feature_types(self, grouped_refs: list[tuple[FeatureView, list[str]]]) -> Any:  # type: ignore[override]
        return FeatureTypes(grouped_refs)

    def get_online_features(self, *args: Any, **kwargs: Any) -> OnlineResponse:
        return PackedResponse.like(super().get_online_features(*args, **kwargs))

    async def get_online_features_async(self, *args: Any, **kwargs: Any) -> OnlineResponse:
        return PackedResponse.like(await super().get_online_features_async(*args, **kwargs))

    async def _read_features_per_fv_async(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.to_thread(self._read_features_per_fv, *args, **kwargs)

    def _query(self, config: RepoConfig, views: Sequence[FeatureView]) -> _Query:
        options = config.online_store
        tables = tuple(online_sql.table_name(config, view) for view in views)
        statement = online_sql.read_statement(options.db_schema, tables, options.clock)
        return _Query(statement, tuple(getattr(view, "ttl", None) for view in views))

    def _ask(self, config: RepoConfig, query: _Query, keys: list[bytes]) -> Read:
        """What the views hold of these keys, each given once."""

        def work(connection: psycopg.Connection) -> tuple[Answer, Mapping[int, Schema]]:
            data = execute(connection, query.statement, [byteas(keys)])
            assert data is not None, "an aggregate has one row"
            answer = Answer.of(data, len(query.ttls), len(keys))
            return answer, self._known(connection, config.online_store.db_schema, answer.ids())

        answer, schemas = self.run(config, work)
        return Read(answer, query.ttls, schemas)

    def _known(self, connection: psycopg.Connection, db_schema: str, ids: set[int]) -> Mapping[int, Schema]:
        """The schemas of rows. An id is a hash of its schema's content, so what is known stays true."""
        if new := ids - self._schemas.keys():
            self._schemas.update(online_sql.read_schemas(connection, db_schema, sorted(new)))
            if lost := new - self._schemas.keys():
                raise LookupError(f"{db_schema}.{online_sql.SCHEMAS} lacks {sorted(lost)}: materialize the views again")
        return self._schemas

    def write_rows(
        self, connection: psycopg.Connection, config: RepoConfig, view: FeatureView, rows: Sequence[PackedRow]
    ) -> None:
        """Write packed rows by one statement, in the transaction of `connection`."""
        newest = list(_newest(rows).values())
        if not newest:
            return
        statement = online_sql.upsert_statement(config.online_store.db_schema, online_sql.table_name(config, view))
        schemas = {row.schema.id: row.schema for row in newest}
        described = [{"id": i, "names": s.names, "kinds": s.kinds} for i, s in schemas.items()]
        parameters = [
            text(json.dumps(described)),
            byteas([row.key for row in newest]),
            bigints([row.event for row in newest]),
            bigints([row.created for row in newest]),
            bigints([row.schema.id for row in newest]),
            byteas([row.value for row in newest]),
        ]
        execute(connection, statement, parameters)

    def run(self, config: RepoConfig, work: Callable[[psycopg.Connection], Result]) -> Result:
        """`work` with a connection of the pool; twice if the connection is lost, so it must bear that."""
        return self._connections.run(config.online_store, work)


def _newest(rows: Sequence[PackedRow]) -> dict[bytes, PackedRow]:
    """The row of each key that would be left if they were written one after the other."""
    newest: dict[bytes, PackedRow] = {}
    for row in rows:
        other = newest.get(row.key)
        if other is None or (row.event, row.created) >= (other.event, other.created):
            newest[row.key] = row
    return newest


def _packed(config: RepoConfig, view: FeatureView, data: Sequence[Row]) -> list[PackedRow]:
    """Feast's rows, packed; those that bring the same features together."""
    declared = {
        feature.name: kind
        for feature in view.features
        if (kind := KINDS.get(feature.dtype.to_value_type())) is not None
    }
    alike: dict[tuple[str, ...], list[int]] = {}
    for number, (_, values, _, _) in enumerate(data):
        alike.setdefault(tuple(values), []).append(number)
    packed: list[PackedRow | None] = [None] * len(data)
    for numbers in alike.values():
        schema, blobs = pack_messages([data[number][1] for number in numbers], declared)
        for number, value in zip(numbers, blobs, strict=True):
            key, _, event, created = data[number]
            made = NEVER if created is None else microseconds(created)
            packed[number] = PackedRow(serialized(config, key), microseconds(event), made, schema, value)
    return [row for row in packed if row is not None]
