"""The one FeatureStore of this process for a database, made from feature_store.yaml."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import logging
import os
import threading
from pathlib import Path
from string import Template
from typing import Any, Literal

import yaml
from feast import FeatureStore, RepoConfig
from feast.infra.registry.sql import SqlRegistry
from sqlalchemy import URL, Engine, make_url

from betting_assets.settings import NO_TELEMETRY, settings
from betting_assets.warehouse.database import connect, without_password
from feature_repo.online_store import PackedPostgresOnlineStore

FOLDER = Path(__file__).parent
REGISTRY_LOCK = "hashtext('feast registry')"
"""Advisory lock: one process at a time creates or changes the registry. Feast itself has no lock."""

Clock = Literal["wall", "data"]
_stores: dict[tuple[str, Clock], FeatureStore] = {}
_opening = threading.Lock()


def feature_store(database_url: str, clock: Clock | None = None) -> FeatureStore:
    """The FeatureStore on a database, postgresql://user:password@host:port/database; made once for a process.

    Args:
        clock: what the age of an online row is told by: "wall", or "data" for a replay; None: as the settings say.

    Raises:
        ValueError: the URL lacks a host, a user or a database.
        DatabaseError: the database cannot be reached.
    """
    chosen = clock or configured_clock()
    with _opening:
        if (database_url, chosen) not in _stores:
            _stores[database_url, chosen] = _open(database_url, chosen)
        return _stores[database_url, chosen]


def configured_clock() -> Clock:
    """Old matches that are served as upcoming would all be expired by the wall clock."""
    return "data" if settings().replays else "wall"


def forget() -> None:
    """Close every FeatureStore of this process, for tests and before a database is dropped."""
    with _opening:
        for store in _stores.values():
            _close(store)
        _stores.clear()


def environment(database_url: str, clock: Clock | None = None) -> dict[str, str]:
    """The variables of feature_store.yaml for a database, escaped as that file says."""
    url = make_url(database_url)
    if not (url.host and url.username and url.database):
        raise ValueError(
            f"{without_password(database_url)}: Feast needs host, user and database; "
            "write postgresql://user:password@host:port/database"
        )
    sslmode = _sslmode(url)
    registry = url.set(drivername="postgresql+psycopg", query={"sslmode": sslmode})
    values = {
        "FEAST_HOST": url.host,
        "FEAST_PORT": str(url.port or 5432),
        "FEAST_DATABASE": url.database,
        "FEAST_USER": url.username,
        "FEAST_PASSWORD": str(url.password or ""),
        "FEAST_SSLMODE": sslmode,
        "FEAST_CLOCK": clock or configured_clock(),
        "FEAST_REGISTRY_URL": registry.render_as_string(hide_password=False),
    }
    return {name: json.dumps(value, ensure_ascii=False)[1:-1] for name, value in values.items()}


def _sslmode(url: URL) -> str:
    """As the URL says; else none on loopback, where the embedded server has no certificate, and libpq's default."""
    if isinstance(mode := url.query.get("sslmode"), str):
        return mode
    return "disable" if _is_loopback(str(url.host)) else "prefer"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _open(database_url: str, clock: Clock) -> FeatureStore:
    for name, value in NO_TELEMETRY.items():
        os.environ.setdefault(name, value)
    text = (FOLDER / "feature_store.yaml").read_text()
    # Feast warns that a thread's cache may show an old state of a view; views are served in any state here.
    logging.getLogger("feast.repo_config").setLevel(logging.ERROR)
    config = RepoConfig(**yaml.safe_load(Template(text).substitute(environment(database_url, clock))))
    config.repo_path = FOLDER
    store = FeatureStore(config=config)
    with connect(database_url, autocommit=True) as connection:
        connection.execute(f"SELECT pg_advisory_lock({REGISTRY_LOCK})")
        connection.execute("CREATE SCHEMA IF NOT EXISTS feast")
        store.registry  # noqa: B018  Feast creates its tables at the first look.
    return store


def registry_engine(store: FeatureStore) -> Engine:
    """SQLAlchemy engine of the registry, which lies in the platform's own database."""
    registry = store.registry
    assert isinstance(registry, SqlRegistry)
    return registry.write_engine


def registry_state(store: FeatureStore) -> dt.datetime:
    """When this process last read the registry: changes with every look at it."""
    registry = store.registry
    assert isinstance(registry, SqlRegistry)
    return registry.cached_registry_proto_created


def online_store(store: FeatureStore) -> PackedPostgresOnlineStore:
    """The online store, with what it can do beyond Feast's interface."""
    online = store.provider.online_store
    assert isinstance(online, PackedPostgresOnlineStore)
    return online


def _close(store: FeatureStore) -> None:
    _stop_refreshing(store)
    registry_engine(store).dispose()
    online_store(store).close_pool()


def _stop_refreshing(store: FeatureStore) -> None:
    """End the registry's timer. One that was just at work has set the next one."""
    registry: Any = store.registry
    while True:
        timer = registry.registry_refresh_thread
        timer.cancel()
        timer.join()
        if registry.registry_refresh_thread is timer:
            return
