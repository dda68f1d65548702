"""What every test may use: a real PostgreSQL for the session, and a fresh, migrated database for one test."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from betting_assets.embedded.kafka import EmbeddedKafka
from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.settings import Settings
from betting_assets.warehouse.database import connect, with_database
from betting_assets.warehouse.migrate import migrate

_numbers = itertools.count()


class FolderAtATime(LoadScopeScheduling):
    """With several workers a folder's tests stay together: they share expensive things, such as a trained graph.

    xdist's own groups do nothing with pytest 9, which keeps node ids elsewhere.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("/")[1]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FolderAtATime:
    return FolderAtATime(config, log)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of the main database (empty) of a server that lives for this session. fsync is off: nothing here is kept."""
    folder = Path(tempfile.mkdtemp(prefix="betting-test-"))
    folder.chmod(0o755)  # for the server's own user, when root runs the tests
    server = EmbeddedPostgres(folder / "postgres", options={"fsync": "off", "max_wal_size": "512MB"})
    try:
        yield server.start()
    finally:
        server.delete()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _migrated_template(postgres_url: str) -> str:
    with connect(postgres_url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE migrated")
    migrate(with_database(postgres_url, "migrated"))
    return "migrated"


@pytest.fixture
def database(postgres_url: str, _migrated_template: str) -> Iterator[str]:
    """URL of a database of this test's own, with the newest schema and no rows."""
    name = f"test_{next(_numbers)}"
    with connect(postgres_url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {_migrated_template}")
        yield with_database(postgres_url, name)
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def kafka_servers() -> Iterator[str]:
    """host:port of a broker that lives for this session: $BETTING_TEST_KAFKA, else the embedded development broker."""
    if given := os.environ.get("BETTING_TEST_KAFKA"):
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="betting-test-kafka-"))
    broker = EmbeddedKafka(folder, port=0)
    try:
        yield broker.start()
    finally:
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stream_settings(kafka_servers: str, database: str, tmp_path: Path) -> Settings:
    """Settings with a fresh, migrated database and topics of this test's own (not yet created)."""
    return Settings(
        home=tmp_path / "home",
        database_url=database,
        kafka_servers=kafka_servers,
        topic_prefix=f"t{os.getpid()}-{next(_numbers)}-{time.time_ns() % 10**9}.",
        topic_partitions=2,
    )
