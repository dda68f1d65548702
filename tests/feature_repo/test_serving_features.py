"""What the Bento reads by match id: all markets and what a bet is worth, also from rows of an older platform."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore, FeatureView
from invented_features import FRIDAY, rows, side_by_side, write

from betting_assets.modelling.markets import MARKETS
from betting_assets.warehouse.bulk import read_frame
from betting_assets.warehouse.features import write_feature_table
from feature_repo.entities import match
from feature_repo.online_rows import OnlineRows
from feature_repo.operations import apply_definitions, materialize_upcoming, online_reader, point_in_time
from feature_repo.push import push
from feature_repo.services import feature_names, serving_service
from feature_repo.views import match_market, match_strength

NEW = [name for spec in MARKETS.values() for name in (*spec.best_price_columns, spec.suspended_column)]
IDS = [f"m{i}" for i in range(12)]
TIMES = [FRIDAY] * len(IDS)
MINUTE = pd.Timedelta(minutes=1)


def column(read: OnlineRows, name: str) -> list[float]:
    values: list[float] = read.numbers[:, read.names.index(name)].tolist()
    return values


def test_one_read_gives_what_was_written_for_every_market(store: FeatureStore, database: str) -> None:
    written = side_by_side(write(database, IDS, TIMES))
    materialize_upcoming(store, FRIDAY, FRIDAY)
    read = online_reader(store, serving_service())(IDS)
    assert sorted([*read.names, *read.others]) == sorted(feature_names(serving_service()))
    for name in read.names:
        np.testing.assert_array_equal(column(read, name), written[name])
    assert read.others["league"].tolist() == written["league"].tolist()


def test_a_feed_suspends_a_market_and_moves_the_best_price_at_once(store: FeatureStore, database: str) -> None:
    write(database, IDS, TIMES)
    materialize_upcoming(store, FRIDAY, FRIDAY)
    tick = rows("match_market", ["m3"], [FRIDAY + MINUTE]).assign(market_1x2_suspended=1.0, market_home_best_price=2.5)
    push(store, "match_market", tick)
    read = online_reader(store, serving_service())(["m3"])
    assert (column(read, "market_1x2_suspended"), column(read, "market_home_best_price")) == ([1.0], [2.5])


@pytest.fixture
def older(store: FeatureStore, database: str) -> pd.DataFrame:
    """The market's rows of a platform that knew neither best prices nor suspensions: in its table, and online."""
    view = FeatureView(
        name="match_market",
        entities=[match],
        ttl=match_market.ttl,
        schema=[field for field in match_market.schema if field.name not in NEW],
        source=match_market.batch_source,
    )
    services = [service for service in store.list_feature_services() if service.name == "serving"]
    store.apply([match, match_strength, view], objects_to_delete=services, partial=False)
    frame = rows("match_market", IDS, TIMES).drop(columns=NEW)
    write_feature_table(database, "match_market", frame)
    write_feature_table(database, "match_strength", rows("match_strength", IDS, TIMES))
    store.materialize(FRIDAY, FRIDAY, feature_views=["match_strength", "match_market"])
    return frame


def test_rows_of_an_older_platform_are_read_as_without_prices(store: FeatureStore, older: pd.DataFrame) -> None:
    assert "update feature view match_market" in apply_definitions(store)
    read = online_reader(store, serving_service())(IDS)
    for name in MARKETS["1x2"].market_columns:
        np.testing.assert_array_equal(column(read, name), older[name])
    for name in NEW:
        assert np.isnan(column(read, name)).all()


def test_an_older_table_gains_the_columns_with_the_next_batch_and_training_reads_it_before_and_after(
    store: FeatureStore, older: pd.DataFrame, database: str
) -> None:
    apply_definitions(store)
    before = point_in_time(store, "1x2", older[["match_id", "event_timestamp"]])
    batch = older.merge(rows("match_market", IDS, TIMES)[["match_id", *NEW]], on="match_id")
    assert write_feature_table(database, "match_market", batch, replace=True).updated == len(IDS)
    after = point_in_time(store, "1x2", older[["match_id", "event_timestamp"]])
    pd.testing.assert_frame_equal(after, before)
    materialize_upcoming(store, FRIDAY, FRIDAY)
    read = online_reader(store, serving_service())(IDS)
    for name in NEW:
        np.testing.assert_array_equal(column(read, name), batch[name])


def test_rows_of_both_ages_are_read_side_by_side(store: FeatureStore, older: pd.DataFrame, database: str) -> None:
    apply_definitions(store)
    newer = rows("match_market", ["m5"], [FRIDAY + MINUTE]).assign(market_home_best_price=2.5, market_home=0.5)
    write_feature_table(database, "match_market", newer)
    push(store, "match_market", newer)
    read = online_reader(store, serving_service())(["m4", "m5"])
    np.testing.assert_array_equal(column(read, "market_home_best_price"), [np.nan, 2.5])
    np.testing.assert_array_equal(column(read, "market_home"), [older["market_home"][4], 0.5])
    assert read_frame(database, "SELECT count(*) AS n FROM features.match_market")["n"][0] == len(IDS) + 1
