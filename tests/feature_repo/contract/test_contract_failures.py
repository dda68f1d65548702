"""Errors give every connection back, and are told as what they are."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import psycopg
import pytest
from feast.protos.feast.types.Value_pb2 import Value
from invented_stores import NOON, STOCK_POOL_SECONDS, Opened, OpenStore, ours_alone, row, stock_fails, view_of
from psycopg_pool import PoolTimeout

from betting_assets.warehouse.database import connect

FAILURES = 1_000
LEAKS = "an error keeps its connection for ever, until the pool is empty"
VIEW = view_of()
KNOWN = [(NOON, {"x": 1.0})]


@pytest.fixture
def small(open_store: OpenStore, own_url: str) -> Opened:
    """A store with two connections, and one row, in a database of its own."""
    store = open_store(own_url, max_conn=2)
    store.update(VIEW)
    store.write(VIEW, row("a", NOON, x=1.0))
    return store


@pytest.fixture
def boss(own_url: str) -> Iterator[psycopg.Connection]:
    with connect(own_url, autocommit=True) as connection:
        yield connection


def tables(boss: psycopg.Connection, schema: str) -> list[str]:
    return [
        name
        for (name,) in boss.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
        if VIEW.name in name
    ]


@contextlib.contextmanager
def hidden(boss: psycopg.Connection, schema: str) -> Iterator[None]:
    """The view's table is renamed away."""
    [table] = tables(boss, schema)
    boss.execute(f'ALTER TABLE {schema}."{table}" RENAME TO hidden')
    yield
    boss.execute(f'ALTER TABLE {schema}.hidden RENAME TO "{table}"')


@contextlib.contextmanager
def locked(boss: psycopg.Connection, own_url: str, schema: str) -> Iterator[None]:
    """Somebody keeps the view's table for himself, and nobody may wait for it."""
    [table] = tables(boss, schema)
    boss.execute(f"ALTER DATABASE {boss.info.dbname} SET lock_timeout = '2ms'")
    with connect(own_url) as other:
        other.execute(f'LOCK TABLE {schema}."{table}" IN ACCESS EXCLUSIVE MODE')
        yield
    boss.execute(f"ALTER DATABASE {boss.info.dbname} RESET lock_timeout")


def connections(boss: psycopg.Connection) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    [(count,)] = boss.execute(query).fetchall()
    return int(count)


@stock_fails(LEAKS, raises=PoolTimeout)
def test_a_thousand_failing_reads_leak_no_connection(small: Opened, boss: psycopg.Connection, schema: str) -> None:
    with hidden(boss, schema):
        for _ in range(FAILURES):
            with pytest.raises(psycopg.errors.UndefinedTable):
                small.read(VIEW, "a")
    assert small.read(VIEW, "a") == KNOWN
    assert connections(boss) <= 2


@stock_fails(LEAKS, raises=PoolTimeout)
def test_a_thousand_failing_writes_leak_no_connection(small: Opened, boss: psycopg.Connection, schema: str) -> None:
    with hidden(boss, schema):
        for _ in range(FAILURES):
            with pytest.raises(psycopg.errors.UndefinedTable):
                small.write(VIEW, row("a", NOON, x=2.0))
    assert small.read(VIEW, "a") == KNOWN
    assert connections(boss) <= 2


@stock_fails(LEAKS, raises=PoolTimeout)
def test_a_thousand_failing_asynchronous_reads_leak_no_connection(
    small: Opened, boss: psycopg.Connection, schema: str
) -> None:
    async def fail() -> None:
        hasten(small)
        for _ in range(FAILURES):
            with pytest.raises(psycopg.errors.UndefinedTable):
                await small.read_async(VIEW, "a")

    async def work() -> None:
        await small.read_async(VIEW, "a")
        with hidden(boss, schema):
            await fail()
        assert await small.read_async(VIEW, "a") == KNOWN
        assert connections(boss) <= 4  # two of either kind, should the two have pools of their own

    asyncio.run(work())


def hasten(store: Opened) -> None:
    """The stock store waits 30 seconds for what it has lost: see STOCK_POOL_SECONDS."""
    if store.kind == "stock":
        store.online._conn_pool_async.timeout = STOCK_POOL_SECONDS  # type: ignore[attr-defined]


@stock_fails(LEAKS, raises=PoolTimeout)
def test_statements_that_the_server_ends_leak_no_connection(
    open_store: OpenStore, own_url: str, boss: psycopg.Connection, schema: str, small: Opened
) -> None:
    with locked(boss, own_url, schema):
        store = open_store(own_url, max_conn=2)
        for _ in range(30):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                store.read(VIEW, "a")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                store.write(VIEW, row("a", NOON, x=2.0))
    assert store.read(VIEW, "a") == KNOWN


@stock_fails(LEAKS, raises=PoolTimeout)
def test_asynchronous_reads_that_are_given_up_leak_no_connection(
    small: Opened, boss: psycopg.Connection, own_url: str, schema: str
) -> None:
    [table] = tables(boss, schema)

    async def work() -> None:
        await small.read_async(VIEW, "a")
        hasten(small)
        with connect(own_url) as other:
            other.execute(f'LOCK TABLE {schema}."{table}" IN ACCESS EXCLUSIVE MODE')
            for _ in range(4):
                with contextlib.suppress(TimeoutError, PoolTimeout):
                    await asyncio.wait_for(small.read_async(VIEW, "a"), 0.05)
        assert await asyncio.gather(*(small.read_async(VIEW, "a") for _ in range(4))) == [KNOWN] * 4

    asyncio.run(work())


@stock_fails(LEAKS, raises=PoolTimeout)
def test_a_key_that_feast_cannot_serialize_is_refused_and_leaks_nothing(small: Opened) -> None:
    for _ in range(5):
        with pytest.raises(ValueError, match="not supported"):
            small.read(VIEW, Value(double_val=1.0))
        with pytest.raises(ValueError, match="not supported"):
            small.write(VIEW, row("a", NOON, x=2.0), row(Value(double_val=1.0), NOON, x=2.0))
    assert small.read(VIEW, "a") == KNOWN


def test_a_batch_that_fails_writes_no_row(small: Opened, boss: psycopg.Connection, schema: str) -> None:
    """A constraint on the table stands for whatever ends a batch in its middle."""
    small.write(VIEW, row("b", NOON, x=1.0))
    [table] = tables(boss, schema)
    boss.execute(
        f'ALTER TABLE {schema}."{table}" ADD CONSTRAINT refused CHECK (octet_length(entity_key) < 30) NOT VALID'
    )
    rows = [row(key, NOON, x=2.0) for key in ("a", "b", "k" * 30, "c")]
    with pytest.raises(psycopg.errors.CheckViolation):
        small.write(VIEW, *rows)
    assert small.read(VIEW, "a", "b", "c") == [*KNOWN, *KNOWN, (None, None)]


def test_a_read_before_apply_says_which_table_is_missing(store: Opened) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable, match=VIEW.name):
        store.read(VIEW, "a")


def test_a_reader_needs_no_right_to_write(
    open_store: OpenStore, own_url: str, boss: psycopg.Connection, small: Opened
) -> None:
    boss.execute(f"ALTER DATABASE {boss.info.dbname} SET default_transaction_read_only = on")
    reader = open_store(own_url)
    assert reader.read(VIEW, "a", "b") == [*KNOWN, (None, None)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reader.write(VIEW, row("a", NOON, x=2.0))


@ours_alone
def test_a_server_that_is_not_there_is_an_error_of_psycopg(open_store: OpenStore) -> None:
    """Feast's store waits half a minute for it; port 1 is nobody's."""
    store = open_store("postgresql://nobody:nothing@127.0.0.1:1/nowhere", pool_timeout=0.3)
    with pytest.raises(psycopg.OperationalError):
        store.read(VIEW, "a")
    with pytest.raises(psycopg.OperationalError):
        store.write(VIEW, row("a", NOON, x=1.0))
