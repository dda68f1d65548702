"""Connections of the online store: pooled, in UTC, checked before use, given back on every error."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from feast.infra.utils.postgres.connection_utils import _get_conn_kwargs, _get_conninfo
from feast.infra.utils.postgres.postgres_config import PostgreSQLConfig
from psycopg_pool import ConnectionPool
from pydantic import PositiveFloat

Result = TypeVar("Result")

BY_KEY = (
    "plan_cache_mode=force_generic_plan",
    "enable_seqscan=off",
    "enable_bitmapscan=off",
    "enable_hashjoin=off",
    "enable_mergejoin=off",
    "max_parallel_workers_per_gather=0",
    "jit=off",
)
"""Every read is by key, through the index. Planned once: planning anew takes longer than reading; and not as it would
look best while a table is still empty."""


class PoolConfig(PostgreSQLConfig):
    """As Feast's PostgreSQL store is configured, and how long to wait. `conn_type` is ignored: always pooled."""

    pool_timeout: PositiveFloat = 5.0
    """Seconds to wait for a connection."""
    statement_timeout: PositiveFloat = 30.0
    """Seconds after which the server ends a statement."""


class OnlinePool:
    """A pool that opens at its first use, and again after `close`."""

    def __init__(self) -> None:
        self._pool: ConnectionPool | None = None
        self._opening = threading.Lock()

    def run(self, config: PoolConfig, work: Callable[[psycopg.Connection], Result]) -> Result:
        """`work` with a connection in autocommit; once more if the connection was lost on the way.

        `work` must be such that doing it twice is doing it once.

        Raises:
            psycopg.OperationalError: no connection within `pool_timeout`, or it was lost twice.
        """
        try:
            return self._once(config, work)
        except _Lost:
            pass
        try:
            return self._once(config, work)
        except _Lost as lost:
            raise lost.error from None

    def _once(self, config: PoolConfig, work: Callable[[psycopg.Connection], Result]) -> Result:
        pool = self._open(config)
        connection = pool.getconn()
        try:
            return work(connection)
        except psycopg.OperationalError as error:
            if connection.broken:
                raise _Lost(error) from error
            raise
        finally:
            pool.putconn(connection)

    def _open(self, config: PoolConfig) -> ConnectionPool:
        if self._pool is not None:
            return self._pool
        with self._opening:
            if self._pool is None:
                self._pool = ConnectionPool(
                    _get_conninfo(config),
                    min_size=config.min_conn,
                    max_size=config.max_conn,
                    kwargs=_connection_options(config),
                    check=_check,
                    timeout=config.pool_timeout,
                    open=True,
                )
            return self._pool

    def close(self) -> None:
        """Close the pool; it opens again at the next use."""
        with self._opening:
            if self._pool is not None:
                self._pool.close()
            self._pool = None


class _Lost(Exception):
    """The connection was lost during the work."""

    def __init__(self, error: psycopg.OperationalError) -> None:
        super().__init__(str(error))
        self.error = error


def _connection_options(config: PoolConfig) -> dict[str, Any]:
    """A dead peer is noticed by TCP."""
    options = _get_conn_kwargs(config)
    milliseconds = int(1000 * config.statement_timeout)
    settings = (*BY_KEY, "timezone=UTC", f"statement_timeout={milliseconds}")
    options["options"] += "".join(f" -c {setting}" for setting in settings)
    return options | {
        "autocommit": True,
        "prepare_threshold": 1,
        "keepalives_idle": config.keepalives_idle,
        "connect_timeout": max(2, int(config.pool_timeout)),
        "tcp_user_timeout": milliseconds,
    }


def _check(connection: psycopg.Connection) -> None:
    """Ask the server only if it said something while nobody asked, e.g. goodbye: a round trip for each use is saved."""
    waiting = select.poll()
    waiting.register(connection.pgconn.socket, select.POLLIN)
    if waiting.poll(0):
        ConnectionPool.check_connection(connection)
