"""A restart or a crash of PostgreSQL costs the calls of that moment: not the store, and no write it acknowledged."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from feast.types import Float64
from invented_stores import NOON, SECOND, Opened, opened, repo_config, row, stock_fails, view_of

from betting_assets.embedded.postgres import EmbeddedPostgres

pytestmark = pytest.mark.services

VIEW = view_of(x=Float64, y=Float64)
DEAD = "a connection that was lost is never replaced"


@pytest.fixture
def store(kind: str, own_server: EmbeddedPostgres, schema: str, tmp_path: Path) -> Iterator[Opened]:
    options = {"pool_timeout": 2.0} if kind == "packed" else {}
    store = opened(kind, repo_config(kind, own_server.url, schema, tmp_path, **options))
    store.update(VIEW)
    store.write(VIEW, row("a", NOON, x=1.0, y=1.0))
    yield store
    store.close()


def restart(server: EmbeddedPostgres) -> None:
    before = server.url
    server.stop()
    assert server.start() == before


@stock_fails(DEAD, raises=psycopg.OperationalError)
def test_the_next_call_after_a_restart_works(store: Opened, own_server: EmbeddedPostgres) -> None:
    restart(own_server)
    assert store.read(VIEW, "a") == [(NOON, {"x": 1.0, "y": 1.0})]
    restart(own_server)
    store.write(VIEW, row("a", NOON + SECOND, x=2.0, y=2.0))
    assert store.read(VIEW, "a") == [(NOON + SECOND, {"x": 2.0, "y": 2.0})]


@stock_fails(DEAD, raises=psycopg.OperationalError)
def test_the_next_asynchronous_call_after_a_restart_works(store: Opened, own_server: EmbeddedPostgres) -> None:
    async def work() -> None:
        await store.read_async(VIEW, "a")
        await asyncio.to_thread(restart, own_server)
        assert await store.read_async(VIEW, "a") == [(NOON, {"x": 1.0, "y": 1.0})]

    asyncio.run(work())


class Caller(threading.Thread):
    """Calls until it is told to end; keeps what it raised."""

    def __init__(self, call: Callable[[int], None]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.done = 0
        self.errors: list[Exception] = []
        self.end = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.end.is_set():
            number += 1
            try:
                self._call(number)
                self.done = number
            except Exception as error:  # noqa: BLE001  each is looked at by the test
                self.errors.append(error)


def wait_until(reached: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def kill(server: EmbeddedPostgres) -> None:
    """SIGKILL to the postmaster, as the kernel does when memory ends; its children leave when they notice."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: server.pid is None)


@stock_fails("an error keeps its connection for ever, and what was lost is never replaced", raises=AssertionError)
def test_a_crash_amid_reads_and_writes_loses_nothing_acknowledged_and_the_store_works_again(
    store: Opened, own_server: EmbeddedPostgres
) -> None:
    def write(key: str) -> Callable[[int], None]:
        return lambda i: store.write(VIEW, row(key, NOON + i * SECOND, x=float(i), y=float(i)))

    def read(number: int) -> None:
        for _, values in store.read(VIEW, "one", "two", "a"):
            assert values is None or values["x"] == values["y"]

    writers = {key: Caller(write(key)) for key in ("one", "two")}
    again = 6.0 if store.kind == "stock" else 30.0  # Feast's never comes to that
    callers = [*writers.values(), Caller(read), Caller(read)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(2):
            wait_until(lambda: all(caller.done > len(caller.errors) + 5 for caller in callers))
            acknowledged = {key: caller.done for key, caller in writers.items()}
            kill(own_server)
            wait_until(lambda: all(caller.errors for caller in callers))
            own_server.start()
            since = {caller: caller.done for caller in callers}
            for key, number in acknowledged.items():
                assert number <= stored(own_server, store, key)
            wait_until(lambda since=since: all(caller.done > since[caller] for caller in callers), again)
    finally:
        for caller in callers:
            caller.end.set()
        for caller in callers:
            caller.join(30)
    errors = [error for caller in callers for error in caller.errors]
    assert [error for error in errors if not isinstance(error, psycopg.Error)] == []
    for key, caller in writers.items():
        assert stored(own_server, store, key) >= caller.done


def stored(server: EmbeddedPostgres, store: Opened, key: str) -> float:
    """What a new store reads: the number of the newest write."""
    fresh = opened(store.kind, store.config)
    [(_, values)] = fresh.read(VIEW, key)
    fresh.close()
    assert values is not None
    return float(values["x"])
