"""A push writes online and offline, or neither; against a real PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import psycopg
import pytest
from feast import FeatureStore
from invented_features import FRIDAY, rows, write

from betting_assets.warehouse.bulk import read_frame
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.features import write_feature_table
from feature_repo.operations import apply_definitions, materialize_upcoming, online_features, point_in_time
from feature_repo.push import push

MINUTE = pd.Timedelta(minutes=1)
COLUMN = "market_home_price"


@pytest.fixture
def ids(store: FeatureStore, database: str) -> list[str]:
    """Matches with features of Friday in both stores."""
    names = [f"m{i:04}" for i in range(40)]
    write(database, names, [FRIDAY] * len(names))
    materialize_upcoming(store, FRIDAY, FRIDAY)
    return names


def ticks(ids: list[str], minute: int, seed: int = 7) -> pd.DataFrame:
    return rows("match_market", ids, [FRIDAY + MINUTE * minute] * len(ids), seed)


def test_a_pushed_row_is_served_online_and_found_by_the_point_in_time_join(
    store: FeatureStore, database: str, ids: list[str]
) -> None:
    pushed = ticks(ids, 5)
    assert push(store, "match_market", pushed) == len(ids)
    served = online_features(store, "1x2", ids)
    asked = pd.DataFrame({"match_id": ids, "event_timestamp": FRIDAY + MINUTE * 6})
    joined = point_in_time(store, "1x2", asked)
    for column in ("market_home", "market_draw", "market_away"):
        pd.testing.assert_series_equal(served[column], pushed[column])
        pd.testing.assert_series_equal(joined[column], pushed[column])
    assert (served["feature_time"] == FRIDAY + MINUTE * 5).all()


def test_what_was_known_before_a_push_stays_known_offline(store: FeatureStore, database: str, ids: list[str]) -> None:
    asked = pd.DataFrame({"match_id": ids, "event_timestamp": FRIDAY + MINUTE})
    before = point_in_time(store, "1x2", asked)
    push(store, "match_market", ticks(ids, 5))
    pd.testing.assert_frame_equal(point_in_time(store, "1x2", asked), before)


def test_a_late_push_lands_offline_and_never_moves_an_online_feature_back(
    store: FeatureStore, database: str, ids: list[str]
) -> None:
    push(store, "match_market", ticks(ids, 5))
    served = online_features(store, "1x2", ids)
    push(store, "match_market", ticks(ids, 3, seed=8))
    pd.testing.assert_frame_equal(online_features(store, "1x2", ids), served)
    assert read_frame(database, "SELECT count(*) AS n FROM features.match_market")["n"][0] == 3 * len(ids)


def test_pushing_the_same_rows_again_changes_nothing(store: FeatureStore, database: str, ids: list[str]) -> None:
    query = "SELECT * FROM features.match_market ORDER BY match_id, event_timestamp"
    unmarked = ["updated_at", "pushed_at"]
    push(store, "match_market", ticks(ids, 5))
    before, served = read_frame(database, query).drop(columns=unmarked), online_features(store, "1x2", ids)
    push(store, "match_market", ticks(ids, 5))
    pd.testing.assert_frame_equal(read_frame(database, query).drop(columns=unmarked), before)
    pd.testing.assert_frame_equal(online_features(store, "1x2", ids), served)


def test_of_several_rows_of_a_match_and_time_the_last_is_kept_in_both_stores(
    store: FeatureStore, database: str, ids: list[str]
) -> None:
    first, last = ticks(ids, 5).assign(**{COLUMN: 2.0}), ticks(ids, 5).assign(**{COLUMN: 3.0})
    push(store, "match_market", pd.concat([first, last], ignore_index=True))
    landed = read_frame(database, "SELECT * FROM features.match_market WHERE pushed_at IS NOT NULL")
    assert set(landed[COLUMN]) == {3.0}


def test_when_the_offline_write_is_refused_nothing_is_served(
    store: FeatureStore, database: str, ids: list[str]
) -> None:
    served = online_features(store, "1x2", ids)
    with connect(database, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE features.match_market ADD CHECK ({COLUMN} < 900)")
    with pytest.raises(psycopg.errors.CheckViolation):
        push(store, "match_market", ticks(ids, 5).assign(**{COLUMN: 1000.0}))
    pd.testing.assert_frame_equal(online_features(store, "1x2", ids), served)


def test_when_the_online_write_is_refused_nothing_is_landed(store: FeatureStore, database: str, ids: list[str]) -> None:
    with connect(database, autocommit=True) as connection:
        connection.execute('ALTER TABLE feast."betting:match_market" ADD CHECK (event_us < 0) NOT VALID')
    with pytest.raises(psycopg.errors.CheckViolation):
        push(store, "match_market", ticks(ids, 5))
    assert read_frame(database, "SELECT count(*) AS n FROM features.match_market")["n"][0] == len(ids)


def test_the_next_batch_leaves_pushed_rows_alone(store: FeatureStore, database: str, ids: list[str]) -> None:
    push(store, "match_market", ticks(ids, 5))
    batch = rows("match_market", ids[:10], [FRIDAY] * 10)
    write_feature_table(database, "match_market", batch, replace=True)
    counts = read_frame(
        database,
        "SELECT count(*) - count(pushed_at) AS batch, count(pushed_at) AS pushed FROM features.match_market",
    )
    assert counts.to_dict("records") == [{"batch": 10, "pushed": len(ids)}]


def test_pushes_of_the_same_matches_at_once_neither_deadlock_nor_lose_the_newest(
    store: FeatureStore, database: str, ids: list[str]
) -> None:
    def one(minute: int) -> int:
        return push(store, "match_market", ticks(ids, minute, seed=minute).sample(frac=1, random_state=minute))

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(one, range(1, 13))) == [len(ids)] * 12
    expected = ticks(ids, 12, seed=12)
    served = online_features(store, "1x2", ids)
    pd.testing.assert_series_equal(served["market_home"], expected["market_home"])
    assert read_frame(database, "SELECT count(*) AS n FROM features.match_market")["n"][0] == 13 * len(ids)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.drop(columns=[COLUMN]), f"lacks {COLUMN}"),
        (lambda frame: frame.assign(event_timestamp=frame["event_timestamp"].dt.tz_localize(None)), "no time zone"),
        (lambda frame: frame.assign(event_timestamp=frame["event_timestamp"].where(frame.index > 0)), "lacks 1 times"),
        (lambda frame: frame.assign(**{COLUMN: "evens"}), f"{COLUMN}: values do not fit DOUBLE"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_in_one_line(
    store: FeatureStore, database: str, ids: list[str], change: object, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as error:
        push(store, "match_market", change(ticks(ids, 5)))  # type: ignore[operator]
    assert "\n" not in str(error.value)
    assert read_frame(database, "SELECT count(*) AS n FROM features.match_market")["n"][0] == len(ids)


def test_an_empty_push_is_no_push(store: FeatureStore, ids: list[str]) -> None:
    assert push(store, "match_market", ticks(ids, 5).iloc[:0]) == 0


def test_a_push_works_after_the_definitions_were_applied_anew(
    store: FeatureStore, database: str, ids: list[str]
) -> None:
    push(store, "match_market", ticks(ids, 5))
    with connect(database, autocommit=True) as connection:
        connection.execute('DROP TABLE feast."betting:match_strength"')
    for minute in (6, 7):
        apply_definitions(store)
        assert len(online_features(store, "1x2", ids)) == len(ids)
        push(store, "match_market", ticks(ids, minute))
    assert set(online_features(store, "1x2", ids)["feature_time"]) == {FRIDAY + MINUTE * 7}
