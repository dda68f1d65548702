"""Many writers of the same keys, and readers between them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import psycopg
import writer
from feast import FeatureStore
from feast.types import Float64
from invented_stores import HOUR, NOON, SECOND, Opened, OpenStore, item, row, stock_fails, view_of
from psycopg import sql
from writer import KEYS, VIEW

from betting_assets.settings import PROJECT_ROOT
from betting_assets.warehouse.database import connect

DEADLOCK = "writers of the same keys in another order deadlock, and the last of them wins, not the newest"


def is_newest_everywhere(store: Opened, writers: int) -> bool:
    left = {tuple(values.values()) for _, values in store.read(VIEW, *KEYS) if values is not None}
    return left == {writer.newest(writers)}


@stock_fails(DEADLOCK, raises=(AssertionError, psycopg.errors.DeadlockDetected))
def test_threads_that_write_the_same_keys_neither_deadlock_nor_lose_the_newest(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(2)]
    stores[0].update(VIEW)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(writer.write_all, stores[number % 2], number) for number in range(4)]:
            done.result()
    assert is_newest_everywhere(stores[0], 4)


@stock_fails(DEADLOCK, raises=(AssertionError, psycopg.errors.DeadlockDetected))
def test_processes_that_write_the_same_keys_neither_deadlock_nor_lose_the_newest(
    store: Opened, contract_url: str, schema: str, tmp_path: Path
) -> None:
    store.update(VIEW)
    other = start_writer(store.kind, contract_url, schema, str(tmp_path), 1)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with ThreadPoolExecutor(1) as pool:
            end = pool.submit(other.communicate, "go\n", 60)
            writer.write_all(store, 0)
            said = end.result()
    finally:
        other.kill()
    assert other.returncode == 0, said
    assert is_newest_everywhere(store, 2)


def start_writer(*question: str | int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", "import feature_repo, writer; writer.main()"],  # this order halves the import of Feast
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{PROJECT_ROOT}"},
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()
    return process


def test_a_reader_never_sees_half_of_a_row_nor_time_go_back(open_store: OpenStore) -> None:
    store, other = open_store(), open_store()
    view = view_of(x=Float64, y=Float64)
    store.update(view)
    store.write(view, row("a", NOON, x=0.0, y=0.0))
    done = threading.Event()

    def write() -> None:
        for i in range(1, 300):
            other.write(view, row("a", NOON + i * SECOND, x=float(i), y=float(i)))
        done.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        last = NOON
        while not done.is_set() and not writing.done():
            [(time, values)] = store.read(view, "a")
            assert time is not None
            assert values is not None
            assert values["x"] == values["y"] == (time - NOON) / SECOND
            assert time >= last
            last = time
        writing.result()
    assert store.read(view, "a") == [(NOON + 299 * SECOND, {"x": 299.0, "y": 299.0})]


def tables(connection: psycopg.Connection, schema: str) -> list[sql.Identifier]:
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
    return [sql.Identifier(schema, name) for (name,) in rows]


def test_reads_go_on_while_another_holds_the_rows(store: Opened, contract_url: str, schema: str) -> None:
    store.update(VIEW)
    store.write(VIEW, row("0", NOON, writer=1.0, turn=1.0))
    with connect(contract_url) as other:
        for table in tables(other, schema):
            other.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))
            other.execute(sql.SQL("SELECT * FROM {} FOR UPDATE").format(table))
            other.execute(sql.SQL("DELETE FROM {}").format(table))
        assert store.read(VIEW, "0", "1") == [(NOON, {"writer": 1.0, "turn": 1.0}), (None, None)]
        other.rollback()


@stock_fails("it asks for its indices again, and waits until nobody writes", raises=psycopg.errors.LockNotAvailable)
def test_applying_does_not_wait_for_a_writer(open_store: OpenStore, own_url: str, schema: str) -> None:
    open_store(own_url).update(VIEW)
    with connect(own_url, autocommit=True) as boss:
        boss.execute(f"ALTER DATABASE {boss.info.dbname} SET lock_timeout = '1s'")
    with connect(own_url) as other:
        for table in tables(other, schema):
            other.execute(sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(table))
        open_store(own_url).update(VIEW, view_of("another"))


MATERIALIZED = """CREATE TABLE public.{} AS
    SELECT i::text AS item, i::float8 AS x, {}::timestamptz AS event_timestamp FROM generate_series(0, 1999) AS i"""


def test_reads_of_the_sdk_go_on_during_a_materialization(
    feature_store: FeatureStore, admin: psycopg.Connection, schema: str
) -> None:
    name = f"of_{schema}"
    admin.execute(sql.SQL(MATERIALIZED).format(sql.Identifier(name), sql.Literal(NOON.isoformat())))
    feature_store.apply([item, view_of(name)])
    before = pd.DataFrame({"item": ["0"], "x": [0.0], "event_timestamp": [pd.Timestamp(NOON - HOUR)]})
    feature_store.write_to_online_store(name, before)

    def ask(*items: str) -> list[float]:
        return list(feature_store.get_online_features([f"{name}:x"], {"item": list(items)}).to_dict()["x"])

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(feature_store.materialize, NOON - HOUR, NOON + HOUR, [name])
        while not writing.done():
            assert ask("0") == [0.0]
        writing.result()
    assert ask(*(f"{i}" for i in range(2_000))) == [float(i) for i in range(2_000)]
