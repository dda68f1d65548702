"""An online store under test, and the short words in which the cases of the contract are written."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from feast import Entity, FeatureView, Field, RepoConfig, ValueType
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.infra.online_stores.helpers import get_online_store_from_config
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.online_stores.postgres_online_store.postgres import PostgreSQLOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type
from feast.types import FeastType, Float64, String
from sqlalchemy import make_url

STORES = {"stock": "postgres", "packed": "feature_repo.online_store.PackedPostgresOnlineStore"}
"""`online_store.type` of Feast's own store for PostgreSQL, and of ours."""

NOON = dt.datetime(2021, 3, 5, 12, tzinfo=dt.UTC)
SECOND, HOUR, DAY = dt.timedelta(seconds=1), dt.timedelta(hours=1), dt.timedelta(days=1)
POOL = 4
STOCK_POOL_SECONDS = 1.0
"""How long the stock store may wait for a connection that it has lost itself; by itself it would wait 30 seconds."""

THOSE_OF_THE_VIEW = ("those of the view",)
"""Asked for by name, as Feast's SDK does. None, which stands for all of them, the stock store cannot answer."""

Key = str | Value | EntityKey
Names = Sequence[str] | None
Row = tuple[EntityKey, dict[str, Value], dt.datetime, dt.datetime | None]
Answer = tuple[dt.datetime | None, dict[str, Any] | None]

item = Entity(name="item", join_keys=["item"], value_type=ValueType.STRING)


def stock_fails(
    why: str, *, raises: type[BaseException] | tuple[type[BaseException], ...] = AssertionError
) -> pytest.MarkDecorator:
    """The case runs on both stores and must fail on Feast's: a Feast that was mended is noticed."""
    mark = pytest.mark.xfail(strict=True, raises=raises, reason=f"Feast 0.67: {why}")
    return pytest.mark.parametrize("kind", [pytest.param("stock", marks=mark), "packed"], indirect=True)


ours_alone = pytest.mark.parametrize("kind", ["packed"], indirect=True)
"""The case is about something that the stock store does not have."""


NO_ENTITY = EntityKey(join_keys=[DUMMY_ENTITY_ID], entity_values=[Value(string_val=DUMMY_ENTITY_VAL)])
"""The key that Feast gives to the one row of a view without an entity."""


def source_of(name: str) -> PostgreSQLSource:
    return PostgreSQLSource(name=f"{name}_source", table=f"public.{name}", timestamp_field="event_timestamp")


def view_of(name: str = "items", ttl: dt.timedelta | None = None, **types: FeastType) -> FeatureView:
    """A view of items (string keys) with these features, one Float64 called x unless told otherwise."""
    features = [Field(name=feature, dtype=dtype) for feature, dtype in (types or {"x": Float64}).items()]
    schema = [Field(name="item", dtype=String), *features]
    return FeatureView(name=name, entities=[item], ttl=ttl, schema=schema, source=source_of(name))


def key_of(value: Key) -> EntityKey:
    """The key of an item; a string stands for itself."""
    if isinstance(value, EntityKey):
        return value
    return EntityKey(join_keys=["item"], entity_values=[value_of(value)])


def value_of(value: Any) -> Value:
    """Python's float, int, str, bool, bytes and None as Feast's double, int64, string, bool, bytes and null."""
    if isinstance(value, Value):
        return value
    if value is None:
        return Value()
    fields = {float: "double_val", int: "int64_val", str: "string_val", bool: "bool_val", bytes: "bytes_val"}
    return Value(**{fields[type(value)]: value})


def row(key: Key, event: dt.datetime, created: dt.datetime | None = None, **values: Any) -> Row:
    """A row as Feast hands it to an online store."""
    return key_of(key), {name: value_of(value) for name, value in values.items()}, event, created


@dataclass(frozen=True)
class Opened:
    """An online store and its configuration: what Feast's provider would hold."""

    kind: str
    config: RepoConfig
    online: OnlineStore

    def update(self, *keep: Any, delete: Sequence[Any] = ()) -> None:
        self.online.update(self.config, list(delete), list(keep), [], [], partial=False)

    def teardown(self, *views: Any) -> None:
        self.online.teardown(self.config, list(views), [item])

    def write(self, view: Any, *rows: Row) -> None:
        self.online.online_write_batch(self.config, view, list(rows), None)

    async def write_async(self, view: Any, *rows: Row) -> None:
        await self.online.online_write_batch_async(self.config, view, list(rows), None)

    def read_protos(
        self, view: Any, *keys: Key, features: Names = THOSE_OF_THE_VIEW
    ) -> list[tuple[dt.datetime | None, dict[str, Value] | None]]:
        return self.online.online_read(self.config, view, [key_of(key) for key in keys], asked(view, features))

    def read(self, view: Any, *keys: Key, features: Names = THOSE_OF_THE_VIEW) -> list[Answer]:
        return [in_python(answer) for answer in self.read_protos(view, *keys, features=features)]

    async def read_async(self, view: Any, *keys: Key, features: Names = THOSE_OF_THE_VIEW) -> list[Answer]:
        entity_keys = [key_of(key) for key in keys]
        answers = await self.online.online_read_async(self.config, view, entity_keys, asked(view, features))
        return [in_python(answer) for answer in answers]

    def close(self) -> None:
        """Give every connection back; what is left of an event loop that has ended goes with its database."""
        if isinstance(self.online, PostgreSQLOnlineStore):
            if self.online._conn_pool is not None:
                self.online._conn_pool.close()
        else:
            asyncio.run(self.online.close())

    async def close_async(self) -> None:
        """The same from within the event loop whose connections they are."""
        if isinstance(self.online, PostgreSQLOnlineStore) and self.online._conn_pool_async is not None:
            await self.online._conn_pool_async.close()
            self.online._conn_pool_async = None
        await self.online.close()


def asked(view: Any, features: Names) -> list[str] | None:
    if features is THOSE_OF_THE_VIEW:
        return [feature.name for feature in view.features]
    return None if features is None else list(features)


OpenStore = Callable[..., Opened]


def in_python(answer: tuple[dt.datetime | None, dict[str, Value] | None]) -> Answer:
    """Time as aware UTC (Feast takes a naive one for UTC), values as Feast's SDK would give them."""
    time, values = answer
    if time is not None:
        time = time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
    if values is None:
        return time, None
    return time, {name: feast_value_type_to_python_type(value) for name, value in values.items()}


def repo_config(
    kind: str, url: str, schema: str, folder: Path, *, project: str = "contract", **options: Any
) -> RepoConfig:
    """Feast's configuration of one of the two stores; both are given a pool."""
    address = make_url(url)
    server = {
        "host": address.host,
        "port": address.port,
        "database": address.database,
        "user": address.username,
        "password": str(address.password),
        "sslmode": "disable",
    }
    pool = {"conn_type": "pool", "min_conn": 1, "max_conn": POOL}
    registry = {"registry_type": "file", "path": str(folder / f"{project}.db"), "cache_ttl_seconds": 0}
    return RepoConfig(
        project=project,
        provider="local",
        entity_key_serialization_version=3,
        registry=registry,
        online_store={"type": STORES[kind], "db_schema": schema} | server | pool | options,
        offline_store={"type": "postgres", "db_schema": "public"} | server,
    )


def opened(kind: str, config: RepoConfig, online: OnlineStore | None = None) -> Opened:
    online = online or get_online_store_from_config(config.online_store)
    if isinstance(online, PostgreSQLOnlineStore):
        with online._get_conn(config):  # opens the pool
            pass
        if online._conn_pool is not None:
            online._conn_pool.timeout = STOCK_POOL_SECONDS
    return Opened(kind, config, online)
