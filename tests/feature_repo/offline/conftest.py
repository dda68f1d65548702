"""Feast's own offline store and ours on one registry and one database, empty before every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from feast import FeatureStore
from invented_offline import OURS, STOCK, TABLES, clear, definitions, open_store

from betting_assets.warehouse.database import connect, with_database


@pytest.fixture(scope="session")
def _shared_url(postgres_url: str) -> Iterator[str]:
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE offline")
        url = with_database(postgres_url, "offline")
        with connect(url) as inside:
            inside.execute(TABLES)
        yield url
        connection.execute("DROP DATABASE offline WITH (FORCE)")


@pytest.fixture(scope="session")
def registry_folder(_shared_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a registry in which everything is applied."""
    folder = tmp_path_factory.mktemp("offline")
    open_store(_shared_url, folder, OURS).apply(definitions())
    return folder


@pytest.fixture
def url(_shared_url: str) -> str:
    """URL of the shared database, its tables empty."""
    clear(_shared_url)
    return _shared_url


@pytest.fixture
def ours(url: str, registry_folder: Path) -> FeatureStore:
    return open_store(url, registry_folder, OURS)


@pytest.fixture
def stock(url: str, registry_folder: Path) -> FeatureStore:
    return open_store(url, registry_folder, STOCK)
