"""A time is UTC, to the microsecond, whatever the zone of session, server or process."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from feast import FeatureStore
from invented_stores import HOUR, NOON, SECOND, Opened, OpenStore, item, row, stock_fails, view_of

from betting_assets.settings import PROJECT_ROOT
from betting_assets.warehouse.database import connect

TIMES = [
    NOON + dt.timedelta(microseconds=123_457),
    dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
    dt.datetime(1903, 6, 1, 3, 4, 5, 6, tzinfo=dt.UTC),
    dt.datetime(2400, 2, 29, tzinfo=dt.UTC),
    dt.datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=dt.UTC),
    dt.datetime(2021, 3, 5, 21, tzinfo=ZoneInfo("Asia/Tokyo")),
    dt.datetime(2021, 10, 31, 2, 30, tzinfo=ZoneInfo("Europe/Oslo"), fold=0),
    dt.datetime(2021, 10, 31, 2, 30, tzinfo=ZoneInfo("Europe/Oslo"), fold=1),
]
"""To the microsecond; far from now; of other zones; twice on the clock of one night."""


@pytest.mark.parametrize("time", TIMES, ids=str)
def test_an_aware_time_is_read_as_the_same_instant(store: Opened, time: dt.datetime) -> None:
    view = view_of()
    store.update(view)
    store.write(view, row("a", time, x=1.0))
    assert store.read(view, "a") == [(time.astimezone(dt.UTC), {"x": 1.0})]


def test_a_naive_time_is_utc(store: Opened) -> None:
    view = view_of()
    store.update(view)
    store.write(view, row("a", NOON.replace(tzinfo=None), x=1.0))
    assert store.read(view, "a") == [(NOON, {"x": 1.0})]


@stock_fails("a stale write overwrites a newer one")
def test_naive_and_aware_times_are_compared_as_instants(store: Opened) -> None:
    view = view_of()
    store.update(view)
    tokyo = ZoneInfo("Asia/Tokyo")
    store.write(view, row("a", NOON, x=1.0))
    store.write(view, row("a", NOON.astimezone(tokyo) - SECOND, x=2.0))  # later on the wall, earlier in time
    store.write(view, row("b", NOON.replace(tzinfo=None), x=1.0), row("b", NOON.astimezone(tokyo) - SECOND, x=2.0))
    assert store.read(view, "a", "b") == [(NOON, {"x": 1.0})] * 2
    store.write(view, row("a", NOON, NOON.replace(tzinfo=None), x=3.0))
    store.write(view, row("a", NOON, NOON.astimezone(tokyo) - HOUR, x=4.0))
    assert store.read(view, "a") == [(NOON, {"x": 3.0})]


def set_zone(url: str, zone: str) -> None:
    with connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET timezone TO '{zone}'")


@stock_fails("it writes times without a zone, which the session takes for its own")
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_a_database_in_another_zone_shifts_no_time(open_store: OpenStore, own_url: str, zone: str) -> None:
    set_zone(own_url, zone)
    store = open_store(own_url)
    view = view_of()
    store.update(view)
    store.write(view, row("aware", NOON, x=1.0), row("naive", NOON.replace(tzinfo=None), x=2.0))
    assert store.read(view, "aware", "naive") == [(NOON, {"x": 1.0}), (NOON, {"x": 2.0})]


@stock_fails("the zone of whoever connects is the session's")
def test_the_zone_in_pgtz_shifts_no_time(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    store = open_store()
    view = view_of()
    store.update(view)
    store.write(view, row("a", NOON, x=1.0))
    assert store.read(view, "a") == [(NOON, {"x": 1.0})]


def test_a_database_in_another_zone_shifts_no_time_that_was_written_before(open_store: OpenStore, own_url: str) -> None:
    before = open_store(own_url)
    view = view_of()
    before.update(view)
    before.write(view, row("a", NOON, x=1.0))
    set_zone(own_url, "Asia/Tokyo")
    after = open_store(own_url)
    assert after.read(view, "a") == [(NOON, {"x": 1.0})]


IN_TOKYO = """
import json, sys, time
from pathlib import Path
import feature_repo  # first: it halves the import of Feast
from invented_stores import *
assert time.localtime(0).tm_hour == 9, time.tzname
kind, url, schema, folder = json.load(sys.stdin)
store = opened(kind, repo_config(kind, url, schema, Path(folder)))
view = view_of()
store.write(view, row("there", NOON, x=1.0), row("naive", NOON.replace(tzinfo=None), x=2.0))
print(json.dumps([time.isoformat() for time, _ in store.read(view, "here", "there", "naive")]))
store.close()
"""


def test_a_process_in_another_zone_shifts_no_time(
    store: Opened, contract_url: str, schema: str, tmp_path: Path
) -> None:
    view = view_of()
    store.update(view)
    store.write(view, row("here", NOON, x=0.0))
    done = subprocess.run(
        [sys.executable, "-c", IN_TOKYO],
        input=json.dumps([store.kind, contract_url, schema, str(tmp_path)]),
        env=os.environ | {"TZ": "Asia/Tokyo", "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{PROJECT_ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [NOON.isoformat()] * 3
    assert [time for time, _ in store.read(view, "here", "there", "naive")] == [NOON] * 3


def test_the_sdk_gives_the_time_in_utc_to_the_microsecond(feature_store: FeatureStore, store: Opened) -> None:
    feature_store.apply([item, view_of()])
    store.write(view_of(), row("a", TIMES[0], x=1.0))
    answer = feature_store.get_online_features(["items:x"], {"item": ["a"]}).proto
    names = list(answer.metadata.feature_names.val)
    assert answer.results[names.index("x")].event_timestamps[0].ToDatetime(dt.UTC) == TIMES[0]
