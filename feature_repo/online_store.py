"""Feast's PostgreSQL online store with the connection handling mended."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
from feast import RepoConfig
from feast.infra.online_stores.postgres_online_store.postgres import (
    PostgreSQLOnlineStore,
    PostgreSQLOnlineStoreConfig,
)
from feast.infra.utils.postgres.connection_utils import _get_conn_kwargs, _get_conninfo
from psycopg_pool import ConnectionPool


class ReconnectingPostgresOnlineStoreConfig(PostgreSQLOnlineStoreConfig):
    """Feast finds it by the name of the store; its base allows no other `type` than its own."""

    type: Any = "feature_repo.online_store.ReconnectingPostgresOnlineStore"


class ReconnectingPostgresOnlineStore(PostgreSQLOnlineStore):
    """Differs from Feast 0.67 in how it takes a connection:

    - the session speaks UTC: Feast writes naive UTC times, which a server in another zone would shift;
    - a connection is checked before use: after a restart of the database the next call works again;
    - a connection goes back to the pool when its user raises: Feast's pool loses one each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._opening = threading.Lock()

    @contextlib.contextmanager
    def _get_conn(self, config: RepoConfig, autocommit: bool = False) -> Iterator[psycopg.Connection]:
        with self._pool(config).connection() as connection:
            connection.set_autocommit(autocommit)
            yield connection

    def _pool(self, config: RepoConfig) -> ConnectionPool:
        with self._opening:
            if self._conn_pool is None:
                options = _get_conn_kwargs(config.online_store)
                options["options"] += " -c timezone=UTC"
                self._conn_pool = ConnectionPool(
                    _get_conninfo(config.online_store),
                    min_size=config.online_store.min_conn,
                    max_size=config.online_store.max_conn,
                    kwargs=options,
                    check=ConnectionPool.check_connection,
                    timeout=10,
                    open=True,
                )
            return self._conn_pool

    def close_pool(self) -> None:
        """Close the pool; it opens again at the next use."""
        with self._opening:
            if self._conn_pool is not None:
                self._conn_pool.close()
            self._conn_pool = None
