"""Pushes to the offline store."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore
from feast.data_source import PushMode
from invented_features import FRIDAY
from invented_features import rows as feature_rows
from invented_features import write as write_features
from invented_offline import HOUR, NOON, OURS, open_store

from betting_assets.warehouse.arrow import FrameError
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.features import write_feature_table
from feature_repo.offline_connection import OfflineStoreError
from feature_repo.offline_write import write_rows
from feature_repo.operations import point_in_time

BIG = 2**60 + 1


def rows(*homes: float | None, match: str = "a", created: pd.Timestamp = NOON) -> pd.DataFrame:
    """A row of view `price` an hour."""
    n = len(homes)
    times = pd.DatetimeIndex([NOON + HOUR * h for h in range(n)]).as_unit("us")
    fixed = {"book": ["x"] * n, "open": pd.array([True, None, *[False] * n][:n], dtype="boolean")}
    bets = pd.array([BIG, None, *range(n)][:n], dtype="Int64")
    frame = {"match_id": [match] * n, "event_timestamp": times, "created": created, "home": homes, "bets": bets}
    return pd.DataFrame(frame | fixed)


def stored(url: str, columns: str = "match_id, event_timestamp, home") -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        return connection.execute(f"SELECT {columns} FROM features.price ORDER BY 1, 2, 3").fetchall()  # noqa: S608


def write(store: FeatureStore, frame: pd.DataFrame, view: str = "price") -> Any:
    feature_view = store.get_feature_view(view)
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)  # as a compute engine's
    return write_rows(store.config.offline_store, feature_view, table)


def test_a_push_lands_online_and_offline(url: str, ours: FeatureStore) -> None:
    ours.push("price_push", rows(1.5, None, 2.5), to=PushMode.ONLINE_AND_OFFLINE)
    assert [home for *_, home in stored(url)] == [1.5, None, 2.5]
    online = ours.get_online_features(["price:home"], [{"match_id": "a"}]).to_dict()
    assert online["home"] == [2.5]
    asked = pd.DataFrame({"match_id": ["a"], "event_timestamp": [NOON]})
    assert list(ours.get_historical_features(asked, ["price:home"]).to_df()["home"]) == [1.5]


def test_the_index_of_a_pushed_frame_does_not_matter(url: str, ours: FeatureStore) -> None:
    ours.push("price_push", rows(1.5, 2.5, 3.5).iloc[[2, 0]], to=PushMode.OFFLINE)
    assert [home for *_, home in stored(url)] == [1.5, 3.5]


def test_a_table_of_the_platform_takes_a_write_without_its_own_columns(store: FeatureStore, database: str) -> None:
    write_features(database, ["a"], [FRIDAY])
    frame = feature_rows("match_strength", ["a", "b"], [FRIDAY, FRIDAY], seed=9)
    store.write_to_offline_store("match_strength", frame, allow_registry_cache=False)
    joined = point_in_time(store, "1x2", frame[["match_id", "event_timestamp"]])
    shared = [name for name in frame.columns if name in joined.columns]
    assert len(shared) > 10
    pd.testing.assert_frame_equal(joined[shared], frame[shared], check_dtype=False)


def test_writing_the_same_rows_again_changes_nothing(url: str, ours: FeatureStore) -> None:
    assert write(ours, rows(1.5, 2.5)).inserted == 2
    before = stored(url, "match_id, event_timestamp, updated_at, ctid::text")
    assert write(ours, rows(1.5, 2.5)).unchanged == 2
    assert stored(url, "match_id, event_timestamp, updated_at, ctid::text") == before


def test_the_next_batch_leaves_written_rows_alone(store: FeatureStore, database: str) -> None:
    write_features(database, ["a", "b"], [FRIDAY, FRIDAY])
    pushed = feature_rows("match_strength", ["a"], [FRIDAY + HOUR], seed=9)
    store.write_to_offline_store("match_strength", pushed, allow_registry_cache=False)
    batch = feature_rows("match_strength", ["b"], [FRIDAY])
    assert write_feature_table(database, "match_strength", batch, replace=True).deleted == 1
    joined = point_in_time(store, "1x2", pushed[["match_id", "event_timestamp"]])
    assert joined["league"].notna().all()


def test_a_row_of_the_batch_is_marked_when_a_write_says_the_same(store: FeatureStore, database: str) -> None:
    batch = write_features(database, ["a"], [FRIDAY])["match_strength"]
    store.write_to_offline_store("match_strength", batch, allow_registry_cache=False)
    with connect(database) as connection:
        assert connection.execute("SELECT count(pushed_at) FROM features.match_strength").fetchone() == (1,)


def test_integers_and_missing_values_are_kept_exactly(url: str, ours: FeatureStore) -> None:
    write(ours, rows(1.5, None))
    assert stored(url, "bets, home, open") == [(BIG, 1.5, True), (None, None, None)]


def test_times_without_a_zone_are_utc(url: str, ours: FeatureStore) -> None:
    frame = rows(1.5)
    write(ours, frame.assign(event_timestamp=frame["event_timestamp"].dt.tz_localize(None)))
    assert stored(url)[0][1] == NOON


def test_of_equal_keys_in_one_write_the_last_counts(url: str, ours: FeatureStore) -> None:
    assert write(ours, pd.concat([rows(1.5), rows(2.5)])).inserted == 1
    assert stored(url)[0][2] == 2.5


def test_rows_of_another_created_time_are_rows_of_their_own(url: str, ours: FeatureStore) -> None:
    write(ours, rows(1.5))
    write(ours, rows(2.5, created=NOON + HOUR))
    assert [home for *_, home in stored(url)] == [1.5, 2.5]


@pytest.fixture
def one_row_a_time(url: str) -> Any:
    """The table as the platform's are: one row for a key and a time, whenever it was created."""
    with connect(url, autocommit=True) as connection:
        connection.execute("DROP INDEX features.price_match_id_event_timestamp_created_idx")
        connection.execute("CREATE UNIQUE INDEX one_row ON features.price (match_id, event_timestamp)")
        yield
        connection.execute("TRUNCATE features.price")
        connection.execute("DROP INDEX features.one_row")
        connection.execute("CREATE UNIQUE INDEX ON features.price (match_id, event_timestamp, created)")


@pytest.mark.usefixtures("one_row_a_time")
def test_a_stale_row_never_replaces_one_that_was_created_later(url: str, ours: FeatureStore) -> None:
    early, late = rows(1.5, created=NOON), rows(2.5, created=NOON + HOUR)
    write(ours, late)
    write(ours, early)
    assert stored(url)[0][2] == 2.5
    write(ours, pd.concat([rows(3.5, created=NOON + 2 * HOUR), early]))
    assert stored(url)[0][2] == 3.5
    write(ours, rows(4.5, created=NOON + 2 * HOUR))
    assert stored(url)[0][2] == 4.5


@pytest.mark.usefixtures("one_row_a_time")
def test_writers_of_the_same_rows_neither_deadlock_nor_lose_the_newest(
    url: str, ours: FeatureStore, registry_folder: Any
) -> None:
    del ours
    failed: list[Exception] = []

    def writer(number: int) -> None:
        store = open_store(url, registry_folder, OURS)
        for turn in range(10):
            made = NOON + pd.Timedelta(minutes=turn * 4 + number)
            frame = rows(*[float(turn * 4 + number)] * 20, created=made).sample(frac=1, random_state=turn)
            try:
                write(store, frame)
            except (FrameError, OfflineStoreError) as error:
                failed.append(error)

    writers = [threading.Thread(target=writer, args=[number]) for number in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert failed == []
    assert {home for *_, home in stored(url)} == {39.0}


@pytest.mark.usefixtures("one_row_a_time")
def test_a_write_waits_for_another_that_has_not_ended(url: str, ours: FeatureStore) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with connect(url) as other, connect(url, autocommit=True) as watch, ThreadPoolExecutor(1) as thread:
        other.execute("SELECT pg_advisory_xact_lock(hashtext('features.price'))")
        values = ("a", NOON, NOON + HOUR, 2.5)
        other.execute(
            "INSERT INTO features.price (match_id, event_timestamp, created, home) VALUES (%s,%s,%s,%s)", values
        )
        stale = thread.submit(write, ours, rows(1.5))
        while watch.execute(waiting).fetchone() == (0,):
            assert not stale.done()
            time.sleep(0.05)
        other.commit()
        stale.result()
    assert stored(url)[0][2] == 2.5


def test_one_bad_cell_keeps_the_whole_write_out(url: str, ours: FeatureStore) -> None:
    bad = rows(1.5, 2.5).assign(bets=[1.0, 2.5])
    with pytest.raises(FrameError, match=r"features\.price\.bets: a cell does not fit int64"):
        write(ours, bad)
    assert stored(url) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="home"), r"^price: the rows lack home: bring every feature, null where unknown$"),
        (lambda f: f.drop(columns=["match_id", "created"]), "the rows lack match_id, created"),
        (lambda f: f.assign(corners=1), r"^features\.price: it has no column corners: add it, or leave it out"),
        (lambda f: f.assign(match_id=[None, "a"]), r"features\.price\.match_id: 1 rows without a value"),
        (lambda f: f.assign(home=["x", "y"]), r"features\.price\.home: a cell does not fit double"),
    ],
)
def test_rows_that_do_not_fit_the_table_are_refused_in_one_line(ours: FeatureStore, change: Any, message: str) -> None:
    with pytest.raises(FrameError, match=message) as refused:
        write(ours, change(rows(1.5, 2.5)))
    assert "\n" not in str(refused.value)


def test_a_table_that_does_not_tell_rows_apart_is_refused_with_the_way_to_mend_it(ours: FeatureStore) -> None:
    frame = pd.DataFrame({"team": [1], "At": [NOON], "Goals": [1.0]})
    with pytest.raises(FrameError, match=r'CREATE UNIQUE INDEX ON features\.form \("team", "At"\)'):
        write(ours, frame, "form")


def test_a_query_cannot_be_written_to(ours: FeatureStore) -> None:
    with pytest.raises(FrameError, match="weather: its source is no table"):
        write(ours, pd.DataFrame({"event_timestamp": [NOON], "rain": [1.0]}), "weather")


def test_a_source_whose_table_is_gone_is_named(url: str, ours: FeatureStore) -> None:
    with connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE features.standing RENAME TO hidden")
        try:
            with pytest.raises(FrameError, match=r"standing: its source table features\.standing does not exist"):
                write(ours, pd.DataFrame({"event_timestamp": [NOON]}), "standing")
        finally:
            connection.execute("ALTER TABLE features.hidden RENAME TO standing")
