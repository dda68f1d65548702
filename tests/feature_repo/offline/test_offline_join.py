"""What our join promises beyond the answers of Feast's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore
from feast.errors import FeastEntityDFMissingColumnsError
from invented_offline import HOUR, NOON, OURS, TTL, insert, open_store

from betting_assets.warehouse.database import connect
from feature_repo.offline_connection import OfflineStoreError, offline_connection
from feature_repo.point_in_time_query import View, indexed

MICROSECOND = pd.Timedelta(microseconds=1)


def price(match: str, time: pd.Timestamp, home: float) -> dict[str, Any]:
    return {"match_id": match, "event_timestamp": time, "created": time, "home": home}


def ask(store: FeatureStore, entity: Any, *features: str) -> pd.DataFrame:
    return store.get_historical_features(entity, list(features)).to_df()


def at(times: list[Any], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"event_timestamp": times} | columns)


def test_rows_come_back_in_their_order_with_every_column_as_it_was(url: str, ours: FeatureStore) -> None:
    matches = [f"m{i}" for i in range(200)]
    insert(url, "price", [price(match, NOON, float(match[1:])) for match in matches])
    entity = at([NOON] * 200, match_id=matches, note=[{"a": 1}] * 200, small=np.arange(200, dtype=np.uint8))
    entity = entity.assign(kind=pd.Categorical(["x", "y"] * 100)).sample(frac=1, random_state=1)
    found = ask(ours, entity, "price:home")
    pd.testing.assert_frame_equal(found.drop(columns="home"), entity.reset_index(drop=True), check_dtype=False)
    assert list(found["home"]) == [float(match[1:]) for match in entity["match_id"]]
    assert found["small"].dtype == np.uint8


def test_a_row_asked_for_twice_is_answered_twice(url: str, ours: FeatureStore) -> None:
    insert(url, "price", [price("a", NOON, 1.5)])
    assert list(ask(ours, at([NOON, NOON], match_id=["a", "a"]), "price:home")["home"]) == [1.5, 1.5]


def test_the_time_to_live_counts_to_the_microsecond(url: str, ours: FeatureStore) -> None:
    insert(url, "price", [price("a", NOON, 1.5)])
    times = [NOON - MICROSECOND, NOON, NOON + TTL, NOON + TTL + MICROSECOND]
    found = ask(ours, at(times, match_id=["a"] * 4), "price:home")["home"]
    assert list(found.isna()) == [True, False, False, True]


def test_a_nanosecond_is_never_rounded_up_to_a_later_row(url: str, ours: FeatureStore) -> None:
    insert(url, "price", [price("a", NOON + MICROSECOND, 1.5)])
    times = pd.DatetimeIndex([NOON]).as_unit("ns") + pd.Timedelta(999, "ns")
    found = ask(ours, at(list(times), match_id=["a"]), "price:home")
    assert found["home"].isna().all()
    assert list(found["event_timestamp"]) == list(times)


def test_views_of_different_keys_and_sources_are_joined_to_one_row(url: str, ours: FeatureStore) -> None:
    insert(url, "price", [price("a", NOON, 1.5)])
    insert(url, "form", [{"team": 7, "At": NOON - 1000 * HOUR, "Goals": 2.5}])
    insert(url, "standing", [{"league": "x", "round": "1", "event_timestamp": NOON, "points": 9}])
    insert(url, "weather", [{"event_timestamp": NOON, "rain": 0.5}])
    entity = at([NOON, NOON], match_id=["a", "a"], team_id=[7, np.nan], league=["x", "x"], round=["1", "2"])
    found = ask(ours, entity, "price:home", "form:goals", "standing:points", "weather:rain")
    expected = [[1.5, 2.5, 9.0, 0.5], [1.5, np.nan, np.nan, 0.5]]
    np.testing.assert_array_equal(found[["home", "goals", "points", "rain"]].to_numpy(float), expected)


@pytest.mark.parametrize("naive", [True, False])
@pytest.mark.parametrize("form", ["frame", "query", "embedded"])
def test_times_are_utc_in_any_zone_of_the_server(url: str, registry_folder: Any, form: str, naive: bool) -> None:
    insert(url, "price", [price("a", NOON, 1.5), price("a", NOON + HOUR, 2.5)])
    mode = {"entity_select_mode": "embed_query"} if form == "embedded" else {}
    with connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET timezone TO 'Asia/Tokyo'")
    try:
        entity: Any = at([NOON.tz_localize(None) if naive else NOON], match_id=["a"])
        if form != "frame":
            kind, zone = ("timestamp", "") if naive else ("timestamptz", "+00")
            entity = f"SELECT 'a'::text AS match_id, {kind} '2021-03-05 12:00{zone}' AS event_timestamp"
        assert list(ask(open_store(url, registry_folder, OURS, **mode), entity, "price:home")["home"]) == [1.5]
    finally:
        with connect(url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {connection.info.dbname} RESET timezone")


def test_no_rows_are_answered_with_none(ours: FeatureStore) -> None:
    empty = at([NOON], match_id=["a"]).head(0)
    found = ask(ours, empty, "price:home", "price:book")
    assert (len(found), list(found.columns)) == (0, ["event_timestamp", "match_id", "home", "book"])
    query = "SELECT ''::text AS match_id, now() AS event_timestamp WHERE false"
    assert len(ask(ours, query, "price:home")) == 0


def test_exact_numbers_lists_json_and_uuids_come_in_types_of_feast(ours: FeatureStore) -> None:
    names = ["exact", "prices", "exacts", "note", "ticket"]
    entity = at([NOON, NOON], match_id=["a", "nobody"])
    table = ours.get_historical_features(entity, [f"kinds:{name}" for name in names]).to_arrow().select(names)
    known, unknown = table.to_pylist()
    uuid = "00000000-0000-0000-0000-000000000001"
    assert known == {"exact": 1.25, "prices": [1.5, None], "exacts": [2.5, None], "note": '{"a": 1}', "ticket": uuid}
    assert unknown == dict.fromkeys(names)


def test_an_on_demand_view_is_computed_from_what_was_joined(url: str, ours: FeatureStore) -> None:
    insert(url, "price", [price("a", NOON, 1.5)])
    found = ask(ours, at([NOON], match_id=["a"]), "price:home", "doubled:twice_home")
    assert list(found["twice_home"]) == [3.0]


def test_a_missing_join_key_is_named(ours: FeatureStore) -> None:
    with pytest.raises(FeastEntityDFMissingColumnsError, match="team_id"):
        ask(ours, at([NOON], match_id=["a"]), "price:home", "form:goals")


def test_a_column_with_the_name_of_a_feature_is_refused(ours: FeatureStore) -> None:
    with pytest.raises(ValueError, match="home: a column of the entity rows"):
        ask(ours, at([NOON], match_id=["a"], home=[1.0]), "price:home")


def test_a_key_of_several_types_is_named(ours: FeatureStore) -> None:
    with pytest.raises(ValueError, match="entity rows: join key match_id holds values of several types"):
        ask(ours, at([NOON, NOON], match_id=["a", 1]), "price:home")


def test_a_key_that_is_nowhere_known_finds_nothing(ours: FeatureStore) -> None:
    assert ask(ours, at([NOON], match_id=[None]), "price:home")["home"].isna().all()


def test_what_postgresql_refuses_is_told_in_one_line(ours: FeatureStore) -> None:
    with pytest.raises(OfflineStoreError, match=r"^offline store: operator does not exist: text = bigint$"):
        ask(ours, at([NOON], match_id=[1]), "price:home")


def test_only_an_index_on_the_keys_and_then_the_time_is_relied_on(url: str, ours: FeatureStore) -> None:
    def used(table: str, keys: dict[str, str], time: str) -> bool:
        with offline_connection(ours.config.offline_store) as connection:
            return indexed(connection, View(table, table, keys, time, None, 0, {}))

    assert used("features.price", {"match_id": "match_id"}, "event_timestamp")
    assert used("price", {"match_id": "match_id"}, "event_timestamp")
    assert used("features.standing", {"league": "league", "round": "round"}, "event_timestamp")
    assert not used("features.standing", {"league": "league"}, "event_timestamp")
    assert not used("features.price", {"match_id": "match_id"}, "created")
    assert not used("features.form", {"team_id": "team"}, "At")
    assert not used("features.nowhere", {"match_id": "match_id"}, "event_timestamp")
    with connect(url, autocommit=True) as connection:
        connection.execute('CREATE INDEX partial ON features.form (team, "At") WHERE team > 1')
        connection.execute('CREATE INDEX included ON features.form (team) INCLUDE ("At")')
        try:
            assert not used("features.form", {"team_id": "team"}, "At")
        finally:
            connection.execute("DROP INDEX features.partial, features.included")
