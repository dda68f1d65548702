"""Connections of the offline store: ADBC in UTC, as Feast's configuration says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from feast.infra.utils.postgres.postgres_config import PostgreSQLConfig
from sqlalchemy import URL

from betting_assets.warehouse.database import adbc

if TYPE_CHECKING:
    from adbc_driver_postgresql.dbapi import Connection as AdbcConnection


class OfflineStoreError(RuntimeError):
    """PostgreSQL refused a statement of the offline store; the message is its reason in one line."""


@contextmanager
def offline_connection(store: PostgreSQLConfig, timeout: int | None = None) -> Iterator[AdbcConnection]:
    """One transaction in the store's schema, committed if the block ends well.

    Args:
        timeout: Seconds that one statement may take; without it there is no limit.

    Raises:
        OfflineStoreError: PostgreSQL refused a statement.
        DatabaseError: the server cannot be reached.
    """
    from adbc_driver_postgresql.dbapi import Error

    try:
        with adbc(_url(store)) as connection:
            with connection.cursor() as cursor:
                for setting in _settings(store, timeout):
                    cursor.execute(f"SET LOCAL {setting}")
            yield connection
    except Error as error:
        raise OfflineStoreError(_reason(error)) from error


def _settings(store: PostgreSQLConfig, timeout: int | None) -> list[str]:
    return [
        f"search_path = {store.db_schema or store.user}, public",
        "jit = off",  # compiling hundreds of columns takes longer than reading them
        "temp_buffers = '64MB'",
        "client_connection_check_interval = '2s'",  # a killed client must not leave a query running
        f"statement_timeout = '{timeout or 0}s'",
    ]


def _reason(error: Exception) -> str:
    """`ERROR:  relation "x" does not exist` of libpq's several lines, without the statement."""
    text = str(error)
    first = text[text.index("ERROR:") :] if "ERROR:" in text else text
    return "offline store: " + " ".join(first.partition("\n")[0].removeprefix("ERROR:").split())


def _url(store: PostgreSQLConfig) -> str:
    options = {
        "sslmode": store.sslmode,
        "sslkey": store.sslkey_path,
        "sslcert": store.sslcert_path,
        "sslrootcert": store.sslrootcert_path,
        "keepalives_idle": str(store.keepalives_idle or ""),
    }
    url = URL.create(
        "postgresql",
        store.user,
        store.password or None,
        store.host,
        int(store.port),
        store.database,
        {name: value for name, value in options.items() if value},
    )
    return url.render_as_string(hide_password=False)
