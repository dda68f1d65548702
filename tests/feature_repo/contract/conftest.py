"""The two stores, each on a schema of the test's own in one database; a case runs on both unless it says otherwise."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from feast import FeatureStore
from invented_stores import STORES, Opened, OpenStore, opened, repo_config

from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.warehouse.database import connect, with_database

_numbers = itertools.count()


@pytest.fixture(params=list(STORES))
def kind(request: pytest.FixtureRequest) -> str:
    """Which store: Feast's (stock) or ours (packed)."""
    return str(request.param)


@pytest.fixture(scope="session")
def contract_url(postgres_url: str) -> Iterator[str]:
    """URL of a database that the cases share; each has a schema in it."""
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE contract")
        yield with_database(postgres_url, "contract")
        connection.execute("DROP DATABASE contract WITH (FORCE)")


@pytest.fixture
def own_url(postgres_url: str) -> Iterator[str]:
    """URL of an empty database of this test's own, for what is set or counted for a whole database."""
    name = f"contract_{next(_numbers)}"
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield with_database(postgres_url, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def schema() -> str:
    """Name of a PostgreSQL schema of this test's own. Nobody has made it yet: that is the store's work."""
    return f"online_{next(_numbers)}"


@pytest.fixture
def open_store(kind: str, contract_url: str, schema: str, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens a further store on the same schema, as another process would; closes all of them at the end."""
    stores: list[Opened] = []

    def open_one(url: str = contract_url, **options: Any) -> Opened:
        stores.append(opened(kind, repo_config(kind, url, schema, tmp_path, **options)))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Opened:
    return open_store()


@pytest.fixture
def feature_store(kind: str, contract_url: str, schema: str, tmp_path: Path) -> Iterator[FeatureStore]:
    """Feast's own front on the store, with a registry in a file."""
    config = repo_config(kind, contract_url, schema, tmp_path)
    front = FeatureStore(config=config)
    behind = opened(kind, config, front.provider.online_store)
    yield front
    behind.close()


@pytest.fixture
def admin(contract_url: str) -> Iterator[psycopg.Connection]:
    """A connection of somebody else to the same database."""
    with connect(contract_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server of this file's own that keeps what it acknowledged, for restarts and kills."""
    with tempfile.TemporaryDirectory(prefix="betting-test-") as folder:
        Path(folder).chmod(0o755)  # for the server's own user, when root runs the tests
        server = EmbeddedPostgres(Path(folder) / "postgres", options={"fsync": "on", "max_wal_size": "128MB"})
        try:
            server.start()
            yield server
        finally:
            server.delete()
