"""The feature store is watched: what was served is recomputed offline, and what is served is held to be fresh."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from stand_ins import StandIns
from worlds import Graph, Step, graph_on, nutshell, settings_for

from bentos.match_odds.contract import Answer
from betting_assets.definitions import build
from betting_assets.defs import features
from betting_assets.defs.resources import Platform
from betting_assets.modelling.markets import MARKETS
from betting_assets.warehouse.database import connect, with_database
from betting_assets.warehouse.fixtures import upcoming_matches
from betting_assets.warehouse.predictions import sample_online_reads
from feature_repo.operations import VIEWS, online_features, read_online
from feature_repo.services import feature_service
from feature_repo.store import forget

pytestmark = pytest.mark.services

SKEW = ("prediction_outcomes", "skew")
FRESHNESS = {"online_features:match_strength_is_fresh", "online_features:match_market_is_fresh"}
LOG = """
INSERT INTO serving.prediction_log (request_id, match_id, market, variant, model_version, bento_tag, probabilities,
                                    features, feature_time, feature_read_at, served_by)
VALUES ('r', %s, %s, 'market_residual', 'v', 'b', '{0.4,0.3,0.3}', %s, %s, %s, 'test')"""
_numbers = itertools.count()


@pytest.fixture(scope="module")
def _template(
    postgres_url: str, _small_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """A database with 120 matches and their features, of which the last match day is online."""
    home = tmp_path_factory.mktemp("skew")
    with connect(postgres_url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE skew TEMPLATE {_small_template}")
        with graph_on(with_database(postgres_url, "skew"), home, nutshell()) as graph:
            outcome = graph.run("build_features")
        assert outcome.success, outcome
        assert outcome.failed_checks == {}
        forget()
        yield "skew", home


@pytest.fixture
def store(postgres_url: str, _template: tuple[str, Path]) -> Iterator[Graph]:
    """A graph of the test's own, as `_template`; nobody has asked for a prediction yet."""
    template, home = _template
    name = f"skew_{next(_numbers)}"
    with connect(postgres_url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        with graph_on(with_database(postgres_url, name), home, nutshell()) as graph:
            yield graph
        forget()
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def served(store: Graph) -> Graph:
    """Every upcoming match was asked for in both markets, three times."""
    for _ in range(3):
        for market in MARKETS:
            serve(store, market)
    return store


def serve(graph: Graph, market: str) -> None:
    """Log reads of the online store as the service does: JSON numbers, null for what is missing."""
    feast, ids = graph.platform.feature_store, upcoming_matches(graph.url)["match_id"].tolist()
    read_at = read_online(feast, feature_service(market, "market_residual"), ids).read_at
    found = online_features(feast, market, ids).set_index(["match_id", "feature_time"])
    rows = [
        (key[0], market, json.dumps({name: plain(value) for name, value in row.items()}), key[1], read_at)
        for key, row in zip(found.index, found.to_dict("records"), strict=True)
    ]
    assert rows
    with connect(graph.url) as conn, conn.cursor() as cursor:
        cursor.executemany(LOG, rows)


def plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return None if value is None or not math.isfinite(value) else float(value)


def execute(graph: Graph, statement: str) -> int:
    with connect(graph.url) as conn:
        return conn.execute(statement.encode()).rowcount


def run_check(graph: Graph, asset: str, name: str) -> dg.AssetCheckEvaluation:
    """One check by itself."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), name)
    job = graph.definitions.resolve_implicit_global_asset_job_def()
    result = job.get_subset(asset_check_selection={key}).execute_in_process(instance=graph.instance)
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def shown(evaluation: dg.AssetCheckEvaluation, name: str) -> pd.DataFrame:
    shown = evaluation.metadata[name]
    assert isinstance(shown, dg.TableMetadataValue)
    return pd.DataFrame([record.data for record in shown.records])


def damage(graph: Graph, market: str, change: str, *, only: str = "true") -> int:
    """Change the features of logged reads by an expression over `f`; returns how many."""
    return execute(
        graph,
        f"UPDATE serving.prediction_log l SET features = (SELECT {change} FROM (SELECT l.features AS f) x)"  # noqa: S608
        f" WHERE market = '{market}' AND {only}",
    )


def shifted(feature: str, by: float) -> str:
    return f"jsonb_set(f, '{{{feature}}}', to_jsonb((f ->> '{feature}')::float8 + {by}))"


def nulled(feature: str) -> str:
    return f"jsonb_set(f, '{{{feature}}}', 'null')"


def test_an_honest_log_shows_no_skew(served: Graph) -> None:
    found = run_check(served, *SKEW)
    upcoming = len(upcoming_matches(served.url))
    assert found.passed, found.description
    assert found.metadata["reads"].value == 3 * len(MARKETS) * upcoming
    features = shown(found, "features")
    assert features[["mismatch", "missing", "extra", "rewritten"]].to_numpy().sum() == 0
    assert set(features["n"]) == {3 * upcoming}
    assert set(features["market"]) == set(MARKETS)
    assert {"home_elo", "league", "market_home", "market_over"} <= set(features["feature"])


def test_what_the_real_service_served_is_what_the_offline_store_says(asked: Answer, watched: Step) -> None:
    assert "prediction_outcomes:skew" not in watched.outcome.failed_checks
    found = run_check(watched.graph, *SKEW)
    assert (found.passed, found.metadata["skewed"].value) == (True, 0), found.description
    assert found.metadata["reads"].value == len(asked.predictions)
    assert found.metadata["values"].value > 50 * len(asked.predictions)


def test_the_watch_looks_for_skew_whenever_it_settles(served: Graph) -> None:
    damage(served, "1x2", shifted("home_elo", 1))
    outcome = served.ad_hoc("prediction_outcomes")
    assert outcome.success, "skew stops nothing by itself"
    assert outcome.failed_checks["prediction_outcomes:skew"].startswith("1x2 home_elo: ")


def test_a_feature_that_is_shifted_in_one_market_is_found_there_alone(served: Graph) -> None:
    wrong = damage(served, "over_under", shifted("home_elo", 0.5))
    found = run_check(served, *SKEW)
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.ERROR
    worst, *rest = shown(found, "features").to_dict("records")
    assert (worst["market"], worst["feature"], worst["mismatch"]) == ("over_under", "home_elo", wrong)
    assert 0 < worst["smape"] < 0.01
    assert float(worst["served"]) == pytest.approx(float(worst["recomputed"]) + 0.5)
    assert all(row["mismatch"] + row["missing"] + row["extra"] == 0 for row in rest)
    assert f"over_under home_elo: {wrong} of {wrong}, as {worst['match_id']}" in str(found.description)


def test_a_served_null_and_a_served_value_that_offline_lacks_are_told_apart(served: Graph) -> None:
    nulls = damage(served, "1x2", nulled("away_elo"))
    execute(served, "UPDATE features.match_strength SET home_elo_margin = NULL")
    found = run_check(served, *SKEW)
    assert not found.passed
    features = shown(found, "features").set_index(["market", "feature"])
    assert features.loc[("1x2", "away_elo"), ["mismatch", "missing", "extra"]].tolist() == [0, nulls, 0]
    for market in MARKETS:
        assert features.loc[(market, "home_elo_margin"), ["mismatch", "missing", "extra"]].tolist() == [0, 0, nulls]


def test_history_that_was_corrected_after_the_answer_is_no_skew_but_a_silent_change_is(served: Graph) -> None:
    match = upcoming_matches(served.url)["match_id"].iloc[0]
    change = f"home_elo = home_elo + 5 WHERE match_id = '{match}'"
    execute(served, f"UPDATE features.match_strength SET {change}")  # noqa: S608
    silent = run_check(served, *SKEW)
    assert not silent.passed
    assert silent.metadata["skewed"].value == 3 * len(MARKETS)
    execute(served, f"UPDATE features.match_strength SET updated_at = now(), {change}")  # noqa: S608
    told = run_check(served, *SKEW)
    assert told.passed
    features = shown(told, "features").set_index("feature")
    assert set(features.loc["home_elo", "rewritten"]) == {3}
    assert set(features.loc["market_home":"market_home", "rewritten"]) == {0}, "the other table was not touched"


def test_a_row_that_moved_to_a_later_time_since_is_no_skew(served: Graph) -> None:
    """Its first price was corrected: the row that was served is gone, and the new one was not known at the read."""
    moved = execute(
        served,
        "UPDATE features.match_market SET updated_at = now(), event_timestamp = event_timestamp + interval '1 hour'"
        " WHERE match_id IN (SELECT match_id FROM serving.prediction_log)",
    )
    found = run_check(served, *SKEW)
    assert found.passed, found.description
    assert set(shown(found, "features").set_index("feature").loc["market_home", ["rewritten"]]) == {3 * moved}


def test_a_row_stamped_with_a_time_still_to_come_is_recomputed_at_that_time(served: Graph) -> None:
    """The decision time of a match without prices is the midnight before it, and it may be asked for earlier."""
    early = execute(served, "UPDATE serving.prediction_log SET feature_read_at = feature_read_at - interval '1 hour'")
    found = run_check(served, *SKEW)
    assert found.passed, found.description
    assert found.metadata["skewed"].value == 0
    assert found.metadata["read_before_their_time"].value == early


def test_one_wrong_value_in_a_thousand_is_allowed_and_no_more(served: Graph) -> None:
    assert 2000 < run_check(served, *SKEW).metadata["values"].value < 3000
    first = "id = (SELECT min(id) FROM serving.prediction_log WHERE market = '1x2')"
    for feature in ("home_elo", "away_elo"):
        damage(served, "1x2", shifted(feature, 1), only=first)
    two = run_check(served, *SKEW)
    assert (two.passed, two.metadata["skewed"].value) == (True, 2)
    assert "1x2 home_elo: 1 of " in str(two.description)
    damage(served, "1x2", shifted("month", 1), only=first)
    three = run_check(served, *SKEW)
    assert (three.passed, three.metadata["skewed"].value) == (False, 3)


def test_a_log_without_online_reads_passes_and_says_why(served: Graph) -> None:
    execute(served, "UPDATE serving.prediction_log SET feature_read_at = NULL")
    found = run_check(served, *SKEW)
    assert found.passed
    assert found.description == "nothing to compare: no online read is in the log"


def test_a_market_that_is_no_longer_modelled_is_counted_apart(served: Graph) -> None:
    execute(served, "UPDATE serving.prediction_log SET market = 'corners' WHERE market = '1x2'")
    found = run_check(served, *SKEW)
    assert found.passed
    assert found.metadata["of_markets_not_modelled"].value == 3 * len(upcoming_matches(served.url))


def test_the_sample_is_bounded_and_the_same_in_every_order_and_process(database: str) -> None:
    fill(database, 3000)
    chosen = ids(database, most=100)
    assert len(chosen) == 100
    assert chosen == sorted(chosen)
    assert np.median(chosen) == pytest.approx(1500, abs=500), "a sample of all of it, not one end"
    code = (
        "import sys; from betting_assets.warehouse.predictions import sample_online_reads as s;"
        "print(s(sys.argv[1], 100)['id'].tolist())"
    )
    with connect(database) as conn:
        conn.execute("CREATE INDEX shuffle ON serving.prediction_log (md5(id::text))")
        conn.execute("CLUSTER serving.prediction_log USING shuffle")
    other = subprocess.run([sys.executable, "-c", code, database], capture_output=True, text=True, check=True)
    assert json.loads(other.stdout) == chosen == ids(database, most=100)


def test_a_growing_log_keeps_most_of_the_sample(database: str) -> None:
    fill(database, 2000)
    before = set(ids(database, most=200))
    fill(database, 200)
    after = set(ids(database, most=200))
    assert len(before & after) >= 150


def test_only_the_newest_answers_within_reach_are_sampled(database: str) -> None:
    fill(database, 50)
    assert ids(database, reach=10) == list(range(41, 51))
    with connect(database) as conn:
        conn.execute("UPDATE serving.prediction_log SET predicted_at = now() - interval '8 days' WHERE id <= 45")
        conn.execute("UPDATE serving.prediction_log SET feature_read_at = NULL WHERE id = 50")
    assert ids(database) == [46, 47, 48, 49]
    assert len(ids(database, days=9)) == 49


def fill(url: str, n: int) -> None:
    now = pd.Timestamp("2021-03-05 15:00", tz="UTC").to_pydatetime()
    with connect(url) as conn, conn.cursor() as cursor:
        cursor.executemany(LOG, [(f"m{i}", "1x2", "{}", now, now) for i in range(n)])


def ids(url: str, **more: int) -> list[int]:
    found: list[int] = sample_online_reads(url, **more)["id"].tolist()
    return found


def test_there_is_a_freshness_check_for_every_view() -> None:
    assert [view.name for view in VIEWS] == list(features.VIEWS)


@pytest.mark.parametrize("view", features.VIEWS)
def test_a_store_that_was_just_filled_is_fresh_and_tells_its_ages(store: Graph, view: str) -> None:
    found = run_check(store, "online_features", f"{view}_is_fresh")
    assert found.passed, found.description
    assert found.metadata["matches"].value == len(upcoming_matches(store.url))
    # A replay: by the wall clock these rows would be years old, and expired.
    assert 0 <= found.metadata["median_age_hours"].value <= found.metadata["oldest_age_hours"].value < 24


def test_a_match_that_is_not_online_fails_its_view_alone(store: Graph) -> None:
    execute(
        store,
        'DELETE FROM feast."betting:match_market"'
        ' WHERE entity_key = (SELECT min(entity_key) FROM feast."betting:match_market")',
    )
    found = run_check(store, "online_features", "match_market_is_fresh")
    assert not found.passed
    assert (found.metadata["missing"].value, found.metadata["behind"].value) == (1, 0)
    worst = shown(found, "worst").iloc[0]
    assert worst["missing"]
    assert worst["match_id"] in str(found.description)
    assert run_check(store, "online_features", "match_strength_is_fresh").passed


def test_offline_rows_that_were_not_materialized_fail_until_they_are(store: Graph) -> None:
    execute(store, "UPDATE features.match_market SET event_timestamp = event_timestamp + interval '5 minutes'")
    found = run_check(store, "online_features", "match_market_is_fresh")
    assert not found.passed
    assert found.metadata["behind"].value == len(upcoming_matches(store.url))
    outcome = store.ad_hoc("online_features")
    assert outcome.success
    assert outcome.failed_checks == {}


def test_rows_older_than_their_ttl_fail_though_they_are_the_newest_there_are(store: Graph) -> None:
    execute(store, "UPDATE features.match_strength SET event_timestamp = event_timestamp - interval '31 days'")
    execute(store, 'TRUNCATE feast."betting:match_strength"')
    assert set(store.ad_hoc("online_features").failed_checks) == {"online_features:match_strength_is_fresh"}
    found = run_check(store, "online_features", "match_strength_is_fresh")
    faults = {name: found.metadata[name].value for name in ("missing", "behind", "expired")}
    assert faults == {"missing": 0, "behind": 0, "expired": len(upcoming_matches(store.url))}
    assert found.metadata["oldest_age_hours"].value > 24 * 30


def test_without_upcoming_matches_nothing_can_be_stale(store: Graph) -> None:
    execute(store, "TRUNCATE core.match CASCADE")
    assert run_check(store, "online_features", "match_market_is_fresh").passed


@pytest.fixture
def stand_ins(tmp_path: Path) -> Iterator[StandIns]:
    """The graph with bodies that do nothing; its features are made."""
    with StandIns(build(Platform(settings_for("postgresql://nobody@127.0.0.1:1/none", tmp_path)))) as graph:
        graph.add_partitions(["XX"], ["2021"])
        graph.tick()
        graph.make("match_results", "bookmaker_odds", partition="XX|2021")
        graph.follow()
        yield graph


def test_freshness_is_looked_at_when_nothing_was_made(stand_ins: StandIns) -> None:
    assert not FRESHNESS & set(stand_ins.tick())
    assert set(stand_ins.tick(hours=0.5)) >= FRESHNESS
    assert not FRESHNESS & set(stand_ins.tick())


def test_freshness_is_looked_at_after_every_materialization(stand_ins: StandIns) -> None:
    stand_ins.make("online_features")
    assert set(stand_ins.tick()) >= FRESHNESS


def test_features_that_are_written_and_not_yet_materialized_are_no_cause_to_look(stand_ins: StandIns) -> None:
    stand_ins.make("match_features")
    asked = stand_ins.tick()
    assert "online_features" in asked, "it is asked for together with them, so they run after it"
    stand_ins.make("feature_definitions", "online_features")
    stand_ins.tick()
    assert not FRESHNESS & set(stand_ins.tick())


def test_a_store_that_was_never_filled_is_not_judged(tmp_path: Path) -> None:
    with StandIns(build(Platform(settings_for("postgresql://nobody@127.0.0.1:1/none", tmp_path)))) as graph:
        graph.tick()
        assert not FRESHNESS & set(graph.tick(hours=1))
