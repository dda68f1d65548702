"""What a training row may know, against a real PostgreSQL."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore
from invented_features import FRIDAY, side_by_side, write

from betting_assets.modelling.feature_tables import KEYS
from betting_assets.warehouse.database import connect
from feature_repo.operations import point_in_time
from feature_repo.services import feature_names, feature_service
from feature_repo.store import feature_store, forget
from feature_repo.views import TTL

HOUR, SECOND = pd.Timedelta(hours=1), pd.Timedelta(seconds=1)


def asked(match_ids: list[str], times: list[pd.Timestamp]) -> pd.DataFrame:
    return pd.DataFrame({"match_id": match_ids, "event_timestamp": pd.DatetimeIndex(times).as_unit("ns")})


def test_a_feature_is_never_later_than_the_odds_it_is_bet_against(store: FeatureStore, database: str) -> None:
    known = side_by_side(write(database, ["a"], [FRIDAY]))
    write(database, ["a", "b"], [FRIDAY + SECOND, FRIDAY + SECOND], seed=2)
    # The third row is asked for late: a bound over the whole table would not protect the first two.
    joined = point_in_time(store, "1x2", asked(["a", "b", "c"], [FRIDAY, FRIDAY, FRIDAY + HOUR]))
    features = feature_names(feature_service("1x2", "training"))
    pd.testing.assert_series_equal(joined.loc[0, features], known.loc[0, features], check_names=False)
    assert joined.loc[1, features].isna().all()


@pytest.mark.parametrize("market", ["1x2", "over_under"])
def test_the_join_equals_a_brute_force_as_of_join(store: FeatureStore, database: str, market: str) -> None:
    random = np.random.default_rng(5)
    match_ids = [f"m{i}" for i in range(40) for _ in range(6)]
    times = [FRIDAY + HOUR * int(h) for h in random.choice(24 * 80, len(match_ids), replace=False)]
    table = side_by_side(write(database, match_ids, times))
    wanted = asked(
        [f"m{i}" for i in range(50) for _ in range(3)],
        [FRIDAY + HOUR * int(h) for h in random.choice(24 * 120, 150, replace=False)],
    )
    wanted.loc[0] = [table["match_id"][0], table["event_timestamp"][0]]
    wanted.loc[1] = [table["match_id"][7], table["event_timestamp"][7] + TTL]
    wanted.loc[2] = [table["match_id"][14], table["event_timestamp"][14] - SECOND]
    features = feature_names(feature_service(market, "training"))
    expected = pd.DataFrame([as_of(table, *pair)[features] for pair in wanted.to_numpy()]).reset_index(drop=True)
    joined = point_in_time(store, market, wanted)
    assert 30 < joined[features].isna().all(axis=1).sum() < 120
    pd.testing.assert_frame_equal(joined[features], expected.astype(joined[features].dtypes))


def as_of(table: pd.DataFrame, match_id: str, time: pd.Timestamp) -> pd.Series:
    reach = table["event_timestamp"].between(time - TTL, time)
    known = table[(table["match_id"] == match_id) & reach].sort_values("event_timestamp")
    return known.iloc[-1] if len(known) else pd.Series(index=table.columns, dtype=object)


def test_the_join_keeps_the_order_and_the_index_of_what_was_asked(store: FeatureStore, database: str) -> None:
    ids = [f"m{i}" for i in range(30)]
    write(database, ids, [FRIDAY] * 30)
    wanted = asked(ids[::-1], [FRIDAY] * 30).set_index(np.arange(100, 130))
    joined = point_in_time(store, "1x2", wanted)
    pd.testing.assert_frame_equal(joined[KEYS], wanted)


def test_a_null_feature_stays_null_and_a_count_is_a_float(store: FeatureStore, database: str) -> None:
    frames = write(database, ["a", "b"], [FRIDAY, FRIDAY])
    joined = point_in_time(store, "1x2", asked(["a", "b", "never-heard-of"], [FRIDAY] * 3))
    strength = frames["match_strength"]
    numbers = strength.select_dtypes("float64").columns
    np.testing.assert_array_equal(joined[numbers].to_numpy()[:2], strength[numbers].to_numpy())
    assert joined.iloc[2].drop(KEYS).isna().all()
    assert joined["home_matches"].dtype == np.float64


def test_a_server_in_another_zone_shifts_no_time(store: FeatureStore, database: str) -> None:
    frames = write(database, ["a"], [FRIDAY])
    forget()
    in_new_york(database)
    joined = point_in_time(feature_store(database), "1x2", asked(["a"], [FRIDAY]))
    assert joined.loc[0, "event_timestamp"] == FRIDAY
    assert joined.loc[0, "last_input_at"] == frames["match_strength"].loc[0, "last_input_at"]


def in_new_york(url: str) -> None:
    with connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET timezone TO 'America/New_York'")


def test_a_pair_asked_for_twice_is_refused(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match="match a is asked for twice"):
        point_in_time(store, "1x2", asked(["a", "b", "a"], [FRIDAY] * 3))


def test_an_empty_question_is_refused(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match="no match is asked for"):
        point_in_time(store, "1x2", asked(["a"], [FRIDAY]).head(0))


def test_times_without_a_zone_are_refused(store: FeatureStore) -> None:
    wanted = asked(["a"], [FRIDAY])
    wanted["event_timestamp"] = wanted["event_timestamp"].dt.tz_localize(None)
    with pytest.raises(ValueError, match="time zone"):
        point_in_time(store, "1x2", wanted)


def test_an_unknown_market_is_named_with_those_that_exist(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match="1x2, over_under"):
        point_in_time(store, "corners", asked(["a"], [FRIDAY]))


def test_a_store_without_definitions_says_how_to_apply_them(database: str) -> None:
    try:
        with pytest.raises(LookupError, match="feature_repo apply"):
            point_in_time(feature_store(database), "1x2", asked(["a"], [FRIDAY]))
    finally:
        forget()
