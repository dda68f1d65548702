"""What serving reads, against a real PostgreSQL."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psycopg
import pytest
from feast import FeatureStore
from invented_features import FRIDAY, TABLES, rows, side_by_side, write

from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.features import write_feature_table
from betting_assets.warehouse.migrate import migrate
from feature_repo.operations import apply_definitions, materialize_upcoming, online_features
from feature_repo.services import feature_names, feature_service
from feature_repo.store import feature_store, forget

DAY = pd.Timedelta(days=1)


def test_online_features_equal_what_was_materialized(store: FeatureStore, database: str) -> None:
    ids = [f"m{i}" for i in range(25)]
    table = side_by_side(write(database, ids, [FRIDAY + DAY * (i % 3) for i in range(25)]))
    assert materialize_upcoming(store, FRIDAY, FRIDAY + DAY * 2) == {"match_strength": 25, "match_market": 25}
    for market in ("1x2", "over_under"):
        online = online_features(store, market, ids)
        expected = table.rename(columns={"event_timestamp": "feature_time"})
        features = feature_names(feature_service(market, "market_residual"))
        pd.testing.assert_frame_equal(online, expected[["match_id", "feature_time", *features]])


def test_only_matches_decided_in_the_window_are_materialized(store: FeatureStore, database: str) -> None:
    write(database, ["past", "first", "last", "future"], [FRIDAY - DAY, FRIDAY, FRIDAY + DAY, FRIDAY + DAY * 2])
    assert materialize_upcoming(store, FRIDAY, FRIDAY + DAY) == {"match_strength": 2, "match_market": 2}
    online = online_features(store, "1x2", ["past", "first", "last", "future"])
    assert list(online["match_id"]) == ["first", "last"]


def test_an_unknown_match_is_absent_and_the_others_come_in_the_order_asked(store: FeatureStore, database: str) -> None:
    write(database, ["a", "b"], [FRIDAY, FRIDAY])
    materialize_upcoming(store, FRIDAY, FRIDAY)
    assert list(online_features(store, "1x2", ["b", "nobody", "a", "b"])["match_id"]) == ["b", "a"]
    nobody = online_features(store, "1x2", ["nobody"])
    assert len(nobody) == 0
    assert list(nobody.columns) == list(online_features(store, "1x2", ["a"]).columns)
    assert len(online_features(store, "1x2", [])) == 0


def test_a_match_without_a_price_is_known_with_null_market_probabilities(store: FeatureStore, database: str) -> None:
    write_feature_table(database, "match_strength", rows("match_strength", ["a"], [FRIDAY]))
    write_feature_table(database, "match_market", rows("match_market", ["b"], [FRIDAY]))
    materialize_upcoming(store, FRIDAY, FRIDAY)
    online = online_features(store, "1x2", ["a"])
    assert list(online["match_id"]) == ["a"]
    assert online[["market_home", "market_draw", "market_away"]].isna().all(axis=None)
    assert online["feature_time"][0] == FRIDAY


def test_feature_time_is_that_of_the_newest_row(store: FeatureStore, database: str) -> None:
    write_feature_table(database, "match_strength", rows("match_strength", ["a"], [FRIDAY]))
    write_feature_table(database, "match_market", rows("match_market", ["a"], [FRIDAY + DAY]))
    materialize_upcoming(store, FRIDAY, FRIDAY + DAY)
    assert online_features(store, "1x2", ["a"])["feature_time"][0] == FRIDAY + DAY


def test_of_several_rows_in_the_window_the_newest_is_served(store: FeatureStore, database: str) -> None:
    write(database, ["a"] * 3, [FRIDAY, FRIDAY + DAY * 2, FRIDAY + DAY])
    materialize_upcoming(store, FRIDAY, FRIDAY + DAY * 2)
    assert online_features(store, "1x2", ["a"])["feature_time"][0] == FRIDAY + DAY * 2


def test_a_server_in_another_zone_shifts_no_online_time(store: FeatureStore, database: str) -> None:
    write(database, ["a"], [FRIDAY])
    forget()
    with connect(database, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET timezone TO 'Asia/Tokyo'")
    store = feature_store(database)
    assert materialize_upcoming(store, FRIDAY, FRIDAY)["match_market"] == 1
    assert online_features(store, "1x2", ["a"])["feature_time"][0] == FRIDAY


def test_a_window_without_a_time_zone_is_refused(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match="time zone"):
        materialize_upcoming(store, FRIDAY.tz_localize(None), FRIDAY)


def test_a_failing_read_gives_its_connection_back(store: FeatureStore, database: str) -> None:
    write(database, ["a"], [FRIDAY])
    with connect(database, autocommit=True) as connection:
        connection.execute('ALTER TABLE feast."betting:match_market" RENAME TO hidden')
    for _ in range(store.config.online_store.max_conn + 1):
        with pytest.raises(psycopg.errors.UndefinedTable):
            online_features(store, "1x2", ["a"])
    with connect(database, autocommit=True) as connection:
        connection.execute('ALTER TABLE feast.hidden RENAME TO "betting:match_market"')
    assert len(online_features(store, "1x2", ["a"])) == 0


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    with tempfile.TemporaryDirectory(prefix="betting-test-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres", options={"fsync": "off", "max_wal_size": "128MB"})
        try:
            migrate(server.start())
            yield server
        finally:
            forget()
            server.delete()


@pytest.mark.services
def test_the_store_works_again_after_a_restart_of_the_database(own_server: EmbeddedPostgres) -> None:
    store = feature_store(own_server.url)
    apply_definitions(store)
    frames = write(own_server.url, ["a"], [FRIDAY])
    materialize_upcoming(store, FRIDAY, FRIDAY)
    before = online_features(store, "1x2", ["a"])
    own_server.stop()
    own_server.start()
    pd.testing.assert_frame_equal(online_features(store, "1x2", ["a"]), before)
    assert apply_definitions(store) == []
    for table in TABLES:
        write_feature_table(own_server.url, table, frames[table].assign(event_timestamp=FRIDAY + DAY))
    assert materialize_upcoming(store, FRIDAY, FRIDAY + DAY) == {"match_strength": 1, "match_market": 1}
