"""Where the database is and how to reach it: URLs, connections, and the databases beside the main one.

A URL is a plain `postgresql://user:password@host:port/database`; the helpers give it the dress that each library wants.
Every connection speaks UTC, because Feast and pandas silently shift times otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.settings import Settings

if TYPE_CHECKING:
    from adbc_driver_postgresql.dbapi import Connection as AdbcConnection

SIDE_DATABASES = ("dagster", "mlflow")
EXPECTED_URL = "give postgresql://user:password@host:port/database, or leave it unset for the embedded server"
UTC_OPTION = "-ctimezone=UTC"  # without the usual space, which not every URL reader decodes alike


class DatabaseError(RuntimeError):
    """The database cannot be used; the message is one line that says how to mend it, without the password."""


def resolve_url(settings: Settings) -> str:
    """The URL of the platform's database: the one from the settings, else the embedded server's, started if needed."""
    if settings.database_url is not None:
        return _given(settings.database_url.get_secret_value())
    return EmbeddedPostgres(settings.home / "postgres").start()


def _given(url: str) -> str:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise DatabaseError(f"BETTING_DATABASE_URL is no URL: {EXPECTED_URL}") from error
    if parsed.get_backend_name() != "postgresql":
        raise DatabaseError(f"BETTING_DATABASE_URL names a {parsed.get_backend_name()} database: {EXPECTED_URL}")
    return plain(url)


def plain(url: str) -> str:
    """`url` without a driver's name: what libpq, ADBC and psycopg understand."""
    return _render(make_url(url).set(drivername="postgresql"))


def with_driver(url: str, driver: str) -> str:
    """`url` for SQLAlchemy with a driver named (dagster-postgres dies on any other than `psycopg2`)."""
    return _render(make_url(url).set(drivername=f"postgresql+{driver}"))


def with_database(url: str, name: str) -> str:
    """`url` for another database of the same server."""
    return _render(make_url(url).set(database=name))


def without_password(url: str) -> str:
    """`url` fit for a log or an error message."""
    return make_url(url).render_as_string(hide_password=True)


def _render(url: URL) -> str:
    """SQLAlchemy leaves spaces in a password and writes + for one in a query; libpq wants %20 for both."""
    address, mark, query = url.render_as_string(hide_password=False).partition("?")
    return address.replace(" ", "%20") + mark + query.replace("+", "%20")


def connect(url: str, *, autocommit: bool = False) -> psycopg.Connection:
    """A psycopg connection in UTC. Raises DatabaseError with one line when the server cannot be reached."""
    try:
        return psycopg.connect(plain(url), autocommit=autocommit, options=UTC_OPTION, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise _unreachable(url, error) from error


def _unreachable(url: str, error: Exception) -> DatabaseError:
    reason = " ".join(str(error).split())
    return DatabaseError(f"cannot reach {without_password(url)}: {reason}; check BETTING_DATABASE_URL")


@contextmanager
def adbc(url: str) -> Iterator[AdbcConnection]:
    """An ADBC connection in UTC for bulk work: one transaction, committed if the block ends well, else rolled back."""
    from adbc_driver_postgresql import dbapi

    address = _render(make_url(plain(url)).update_query_dict({"options": UTC_OPTION}))
    try:
        opened = dbapi.connect(address)
    except dbapi.OperationalError as error:
        raise _unreachable(url, error) from error
    with opened as connection:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL work_mem = '64MB'")  # bulk joins and sorts in memory: twice as fast
            yield connection
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


def engine(url: str) -> Engine:
    """A SQLAlchemy engine over psycopg 3, small: several processes share the server's connections."""
    return create_engine(
        with_driver(plain(url), "psycopg"),
        pool_size=2,
        max_overflow=3,
        pool_pre_ping=True,
        connect_args={"options": UTC_OPTION},
    )


def create_databases(url: str, names: tuple[str, ...] = SIDE_DATABASES) -> None:
    """Make the databases beside the main one that are not there yet. Safe to call from several processes at once."""
    with connect(url, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(hashtext('betting create_databases'))")
        there = {name for (name,) in conn.execute("SELECT datname FROM pg_database")}
        for name in names:
            if name not in there:
                _create_database(conn, name)


def _create_database(conn: psycopg.Connection, name: str) -> None:
    try:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseError(
            f"role {conn.info.user} may not create database {name}: create it, or ALTER ROLE {conn.info.user} CREATEDB"
        ) from error
