"""The stores that the feature store benchmark compares, each opened on the same PostgreSQL or on a Redis of its own."""

from __future__ import annotations

import datetime as dt
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import yaml
from feast import FeatureStore, FeatureView, RepoConfig, ValueType
from feast.infra.online_stores.online_store import OnlineStore
from feast.repo_config import FeastConfigBaseModel
from feast.utils import _convert_arrow_to_proto
from feature_store_data import COLUMNS, FEATURES, OFFLINE_SCHEMA, definitions, match
from sqlalchemy import make_url

from betting_assets.warehouse.database import adbc, connect
from feature_repo.store import FOLDER

PLATFORM: dict[str, Any] = yaml.safe_load((FOLDER / "feature_store.yaml").read_text())
"""The platform's own configuration: offline store and materialization are its own for every peer."""

TEXTS = ["market_14"]
NUMBERS = [name for name in FEATURES if name not in TEXTS]


class NothingOnlineStoreConfig(FeastConfigBaseModel):
    type: Literal["feature_store_peers.NothingOnlineStore"] = "feature_store_peers.NothingOnlineStore"


class NothingOnlineStore(OnlineStore):
    """Keeps and answers nothing: what is left of the time is Feast's own, and no store can do better."""

    def update(self, *args: Any, **kwargs: Any) -> None: ...
    def teardown(self, *args: Any, **kwargs: Any) -> None: ...
    def online_write_batch(self, *args: Any, **kwargs: Any) -> None: ...
    def online_read(self, *args: Any, **kwargs: Any) -> Any: ...
    def _read_features_per_fv(self, *args: Any, **kwargs: Any) -> None: ...


def login(url: str) -> dict[str, Any]:
    """Feast's options for a database."""
    at = make_url(url)
    return {
        "host": at.host,
        "port": at.port,
        "database": at.database,
        "user": at.username,
        "password": at.password,
        "sslmode": "disable",
    }


def online_stores(url: str, redis_port: int | None) -> dict[str, dict[str, Any]]:
    """`online_store` of each peer's feature_store.yaml, by its name here."""
    pool = {"min_conn": 1, "max_conn": 4, **login(url)}
    stores: dict[str, dict[str, Any]] = {
        "stock": {"type": "postgres", "conn_type": "pool", "db_schema": "stock", **pool},
        "ours": {"type": "feature_repo.online_store.PackedPostgresOnlineStore", "db_schema": "ours", **pool},
    }
    if redis_port is not None:
        stores["redis"] = {"type": "redis", "connection_string": f"127.0.0.1:{redis_port}"}
    return stores


def open_store(name: str, online: dict[str, Any], url: str, folder: Path) -> FeatureStore:
    """A FeatureStore whose definitions are applied; its registry is a file that is never read anew."""
    config = RepoConfig(
        project=f"bench_{name}",
        provider="local",
        registry={"path": str(folder / f"{name}.registry"), "cache_ttl_seconds": 0},
        online_store=online,
        offline_store={
            "type": PLATFORM["offline_store"]["type"],
            "db_schema": OFFLINE_SCHEMA,
            **login(url),
        },
        materialization=PLATFORM["materialization"],
        entity_key_serialization_version=3,
    )
    config.repo_path = folder
    store = FeatureStore(config=config)
    views, service = definitions()
    store.apply([match, *views, service])
    return store


def protos(store: FeatureStore, view: FeatureView, frame: pd.DataFrame) -> list[Any]:
    """What Feast makes of a frame before it calls `online_write_batch`."""
    return _convert_arrow_to_proto(pa.Table.from_pandas(frame), view, {"match_id": ValueType.STRING})


def load(store: FeatureStore, frames: dict[str, pd.DataFrame], rows: int = 1000) -> None:
    """Write the first rows of every view, through Feast's interface."""
    online = store.provider.online_store
    for name, frame in frames.items():
        view = store.get_feature_view(name)
        for start in range(0, len(frame), rows):
            online.online_write_batch(store.config, view, protos(store, view, frame[start : start + rows]), None)


def write_table(url: str, table: str, frame: pd.DataFrame) -> None:
    """A new table in the offline schema."""
    with adbc(url) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(table, pa.Table.from_pandas(frame), mode="create", db_schema_name=OFFLINE_SCHEMA)
        connection.commit()


class WideTable:
    """Plain SQL: all features of a match in one row of one table, read by one prepared statement in binary."""

    def __init__(self, url: str, frames: dict[str, pd.DataFrame]) -> None:
        whole = frames[next(iter(COLUMNS))][["match_id", "event_timestamp"]]
        whole = pd.concat([whole, *(frame[list(COLUMNS[view])] for view, frame in frames.items())], axis=1)
        write_table(url, "wide", whole)
        self._connection = connect(url, autocommit=True)
        self._connection.execute(f"ALTER TABLE {OFFLINE_SCHEMA}.wide ADD PRIMARY KEY (match_id)")
        self._cursor: psycopg.Cursor[Any] = self._connection.cursor(binary=True)
        columns = ", ".join(["match_id", "event_timestamp", *TEXTS, *NUMBERS])
        self._query = f"SELECT {columns} FROM {OFFLINE_SCHEMA}.wide WHERE match_id = ANY(%b)"  # noqa: S608

    def tuples(self, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """match_id, event_timestamp, the texts, the numbers; in the order of the table."""
        return self._cursor.execute(self._query, [keys], prepare=True).fetchall()

    def numpy(self, keys: Sequence[str]) -> tuple[np.ndarray, list[Any], list[dt.datetime]]:
        """In the order of `keys`: numbers, float64 (n × 59) with NaN for null; texts; event times."""
        rows = {row[0]: row for row in self.tuples(keys)}
        found = [rows[key] for key in keys]
        numbers = np.array([row[3:] for row in found], np.float64)
        return numbers, [row[2] for row in found], [row[1] for row in found]

    def close(self) -> None:
        self._connection.close()


@contextmanager
def redis_server(folder: Path) -> Iterator[int | None]:
    """The port of a Redis in memory only, on loopback; None when there is no redis-server on the PATH."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        _wait(server, port)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise RuntimeError(f"redis-server did not come up on port {port}: start it by hand to see why")
