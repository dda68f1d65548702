"""When what is made: the real conditions on the real graph, with bodies that do nothing and a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from stand_ins import StandIns
from worlds import nutshell, settings_for

from betting_assets.definitions import build
from betting_assets.defs.partitions import register_partitions
from betting_assets.defs.resources import Platform

MARKETS = {"1x2", "over_under"}
FEATURES = {"team_ratings", "team_form", "market_consensus", "match_features", "feature_definitions", "online_features"}
FRESHNESS = {"online_features:match_strength_is_fresh", "online_features:match_market_is_fresh"}
TRAINING = {"candidate_models", "model_evaluation", "champion_model"}
DRIFT = "candidate_models:drift"
SLOT = 6.0
HISTORY = ("XX|2021", "XX|2122")


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[StandIns]:
    """One league with two seasons ingested, nothing else made."""
    with StandIns(build(Platform(settings_for("postgresql://nobody@127.0.0.1:1/none", tmp_path)))) as stand_ins:
        stand_ins.add_partitions(["XX"], ["2021", "2122"])
        assert stand_ins.tick() == {}
        ingest(stand_ins)
        yield stand_ins


@pytest.fixture
def living(graph: StandIns) -> StandIns:
    """Everything made once and watched: champions are served, and the drift report has been looked at."""
    graph.make(*FEATURES)
    for market in MARKETS:
        graph.make("training_set", *TRAINING, partition=market)
    graph.make("match_odds_bento", "live_deployment", "drift_report")
    graph.check("candidate_models", "drift")
    assert not TRAINING & set(graph.tick())
    return graph


def ingest(graph: StandIns) -> None:
    for partition in HISTORY:
        graph.make("match_results", "bookmaker_odds", partition=partition)


def drift_fails(graph: StandIns) -> None:
    graph.failing.add((DRIFT, None))
    graph.make("drift_report")
    graph.check("candidate_models", "drift")


def test_features_follow_history_and_the_first_training_does_not_wait_for_a_slot(graph: StandIns) -> None:
    story = graph.follow()
    assert story[0] == FEATURES | FRESHNESS
    assert story[1] == {"training_set", *TRAINING}
    assert story[2] == {"match_odds_bento", "live_deployment"}


def test_half_ingested_history_makes_no_feature(tmp_path: Path) -> None:
    with StandIns(build(Platform(settings_for("postgresql://nobody@127.0.0.1:1/none", tmp_path)))) as graph:
        graph.add_partitions(["XX"], ["2021", "2122"])
        graph.tick()
        graph.make("match_results", "bookmaker_odds", partition=HISTORY[0])
        assert graph.tick() == {}


def test_nothing_downstream_of_a_refused_table_is_made(graph: StandIns) -> None:
    graph.follow()
    for check in ("match_results:expectations", "match_results:score_expectations", "bookmaker_odds:expectations"):
        graph.failing = {(check, None)}
        ingest(graph)
        assert graph.tick() == {}, check
    assert not TRAINING & set(graph.tick(SLOT))


def test_new_features_wait_for_the_slot_and_make_one_training(living: StandIns) -> None:
    ingest(living)
    asked = set().union(*living.follow())
    assert asked >= FEATURES | {"training_set"}
    assert not asked & TRAINING
    slot = living.tick(SLOT)
    assert slot["candidate_models"] == MARKETS
    living.do(slot)
    living.follow()
    assert not TRAINING & set(living.tick(SLOT))


def test_drift_checks_that_fail_again_and_again_make_one_training_a_slot(living: StandIns) -> None:
    for _ in range(2):
        drift_fails(living)
        assert not TRAINING & set(living.tick())
    slot = living.tick(SLOT)
    assert slot["candidate_models"] == MARKETS
    living.failing.clear()
    living.do(slot)
    living.follow()
    assert not TRAINING & set(living.tick(SLOT))
    drift_fails(living)
    assert "candidate_models" in living.tick(SLOT)


def test_a_passed_drift_check_makes_no_training(living: StandIns) -> None:
    living.make("drift_report")
    living.check("candidate_models", "drift")
    assert not TRAINING & set(living.tick(SLOT))


@pytest.mark.parametrize("refused", sorted(MARKETS))
def test_the_pass_of_one_market_does_not_promote_another_that_was_refused(graph: StandIns, refused: str) -> None:
    """Unpartitioned checks did: the last market's verdict stood for both."""
    graph.do(graph.tick())
    graph.failing.add(("model_evaluation:calibrated", refused))
    for market in sorted(MARKETS):
        graph.make("training_set", "candidate_models", partition=market)
    asked = graph.tick()
    assert asked["model_evaluation"] == MARKETS
    for market in sorted(MARKETS):
        graph.make("model_evaluation", partition=market)
    later = graph.tick()
    assert refused not in (later.get("champion_model") or set())


def test_a_refused_market_does_not_keep_the_other_from_being_served(graph: StandIns) -> None:
    graph.do(graph.tick())
    graph.failing.add(("model_evaluation:better_than_champion", "over_under"))
    graph.do(graph.tick())
    assert graph.follow() == [{"match_odds_bento", "live_deployment"}]


def test_a_refused_candidate_is_served_as_challenger_beside_its_champion(living: StandIns) -> None:
    """It never was: a Bento was built for a new champion only, and then there is no challenger."""
    living.failing.add(("model_evaluation:better_than_champion", "1x2"))
    living.make("training_set", "candidate_models", partition="1x2")
    asked = living.tick()
    assert asked["model_evaluation"] == {"1x2"}
    living.do(asked)
    assert living.follow() == [{"match_odds_bento", "live_deployment"}]


def test_a_candidate_that_is_about_to_be_champion_makes_one_bento(living: StandIns) -> None:
    living.make("training_set", "candidate_models", partition="1x2")
    asked = living.tick()
    assert asked.keys() >= {"model_evaluation", "champion_model"}
    assert "match_odds_bento" not in asked
    living.do(asked)
    assert living.follow() == [{"match_odds_bento", "live_deployment"}]


def test_nothing_is_served_where_every_market_was_refused(graph: StandIns) -> None:
    graph.do(graph.tick())
    graph.failing |= {("model_evaluation:point_in_time", market) for market in MARKETS}
    graph.do(graph.tick())
    assert graph.follow() == []


def test_the_automation_sensor_evaluates_the_real_definitions(tmp_path: Path) -> None:
    platform = Platform(settings_for("postgresql://nobody@127.0.0.1:1/none", tmp_path), nutshell())
    definitions = build(platform)
    sensor = definitions.resolve_sensor_def("automation")
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    with dg.DagsterInstance.ephemeral() as instance:
        register_partitions(instance, platform.source)
        result = dg.evaluate_automation_conditions(definitions, instance, asset_selection=sensor.asset_selection)
        assert result.total_requested == 0
        assert {one.key.to_user_string() for one in result.results} >= FEATURES | TRAINING | {"candidate_models:drift"}
