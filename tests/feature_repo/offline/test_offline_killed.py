"""A client that dies in the middle of a join."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from feast import FeatureStore
from invented_offline import NOON, OURS, STOCK, insert

from betting_assets.warehouse.database import connect

CLIENT = """
import sys
from pathlib import Path
import pandas as pd
from invented_offline import NOON, open_store
url, folder, kind = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
rows = pd.DataFrame({"match_id": ["a"] * 5_000, "team_id": 1, "event_timestamp": NOON})
open_store(url, folder, kind).get_historical_features(rows, ["price:home", "form:goals"]).to_df()
"""
JOINS = """SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND wait_event_type = 'Lock' AND query LIKE '%feast_entity%'"""
ALIVE = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
LEFT = "SELECT oid::regclass::text FROM pg_class WHERE relname LIKE 'feast%' AND relkind = 'r'"


@pytest.mark.services
@pytest.mark.parametrize(("kind", "tables_left"), [(OURS, 0), (STOCK, 1)])
def test_a_killed_client_leaves_no_table_and_no_query(
    url: str, ours: FeatureStore, registry_folder: Path, kind: str, tables_left: int
) -> None:
    del ours  # its definitions are what the client needs
    insert(url, "price", [{"match_id": "a", "event_timestamp": NOON, "created": NOON, "home": 1.5}])
    with connect(url) as lock, connect(url, autocommit=True) as watch:
        lock.execute("LOCK TABLE features.form IN ACCESS EXCLUSIVE MODE")  # holds the join in its middle
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, url, str(registry_folder), kind],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        )
        try:
            wait_for(lambda: len(watch.execute(JOINS).fetchall()) == 1)
            joins = watch.execute(JOINS).fetchone()
        finally:
            client.send_signal(signal.SIGKILL)
            client.wait()
        if kind == STOCK:
            lock.rollback()  # its query waits on for nobody
        wait_for(lambda: watch.execute(ALIVE, joins).fetchone() == (0,))
        left = [name for (name,) in watch.execute(LEFT)]
        for name in left:
            watch.execute(f"DROP TABLE {name}")
    assert len(left) == tables_left


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
