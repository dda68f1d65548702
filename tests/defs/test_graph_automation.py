"""When what is made: the real conditions on the real graph, with bodies that do nothing and a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from stand_ins import StandIns
from worlds import nutshell, settings_for

from betting_assets.definitions import build
from betting_assets.defs.cause_log import TRAINING_SET
from betting_assets.defs.partitions import register_partitions
from betting_assets.defs.resources import Platform
from betting_assets.modelling.causes import CauseName

MARKETS = {"1x2", "over_under"}
FEATURES = {"team_ratings", "team_form", "market_consensus", "match_features", "feature_definitions", "online_features"}
FRESHNESS = {"online_features:match_strength_is_fresh", "online_features:match_market_is_fresh"}
TRAINING = {"training_set", "candidate_models", "model_evaluation", "champion_model"}
CHECKS = {f"training_set:{cause}" for cause in CauseName}
NEW_RESULTS = "training_set:new_results"
COOLDOWN = 6.0
"""Hours, as in the settings."""
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
        graph.make(*TRAINING, partition=market)
    graph.make("match_odds_bento", "live_deployment", "drift_report", "performance_report")
    look(graph)
    assert not TRAINING & set(graph.tick())
    return graph


def ingest(graph: StandIns) -> None:
    for partition in HISTORY:
        graph.make("match_results", "bookmaker_odds", partition=partition)


def look(graph: StandIns) -> None:
    for cause in CauseName:
        graph.check("training_set", cause.value)


def cause(graph: StandIns, name: CauseName, market: str = "1x2", about: str = "version 1") -> None:
    """A cause comes to hold, and its check is run."""
    graph.causes[market, name] = about
    graph.check("training_set", name.value)


def trained(asked: dict[str, set[str] | None]) -> set[str]:
    """The markets whose training set was asked for."""
    return asked.get("training_set") or set()


def trained_by(request: dg.RunRequest) -> set[str]:
    """The markets whose training set a run, or a backfill, would make."""
    if (whole := request.asset_graph_subset) is not None:
        found = [one.partition_key for one in whole.iterate_asset_partitions() if one.asset_key == TRAINING_SET]
        return {str(market) for market in found}
    return (
        {request.partition_key} if request.partition_key and TRAINING_SET in (request.asset_selection or []) else set()
    )


def test_features_follow_history_and_the_first_training_waits_for_no_cause(graph: StandIns) -> None:
    story = graph.follow()
    assert story[0] == FEATURES | FRESHNESS | {NEW_RESULTS}
    assert story[1] == TRAINING
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
    assert not TRAINING & set(graph.tick(COOLDOWN))


def test_new_features_alone_make_no_training(living: StandIns) -> None:
    """Each micro-batch of live results made one: a Feast join every few seconds."""
    ingest(living)
    asked = set().union(*living.follow())
    assert asked >= FEATURES | {NEW_RESULTS}
    assert not asked & TRAINING
    assert not TRAINING & set(living.tick(COOLDOWN))


@pytest.mark.parametrize("name", list(CauseName))
def test_a_cause_trains_the_market_that_has_it_in_one_run_and_no_other(living: StandIns, name: CauseName) -> None:
    living.tick(COOLDOWN)
    cause(living, name, "over_under")
    asked = living.tick()
    assert {asset: asked[asset] for asset in TRAINING} == {key: {"over_under"} for key in TRAINING}
    living.do(asked)
    assert not set().union(*living.follow()) & TRAINING


def test_a_passed_check_makes_no_training(living: StandIns) -> None:
    living.tick(COOLDOWN)
    living.make("drift_report")
    look(living)
    assert not TRAINING & set(living.tick())


def test_causes_met_in_the_cooldown_wait_for_its_end_and_make_one_training(living: StandIns) -> None:
    cause(living, CauseName.DRIFT)
    assert not TRAINING & set(living.tick(1))
    cause(living, CauseName.NEW_RESULTS)
    assert not TRAINING & set(living.tick(COOLDOWN - 1.5))
    asked = living.tick(0.5)
    assert trained(asked) == {"1x2"}
    living.do(asked)
    living.causes.clear()
    living.follow()
    assert not TRAINING & set(living.tick(COOLDOWN))


def test_a_cause_that_went_away_in_the_cooldown_makes_no_training(living: StandIns) -> None:
    cause(living, CauseName.DRIFT)
    living.tick()
    living.causes.clear()
    look(living)
    assert not TRAINING & set(living.tick(COOLDOWN))


def test_a_check_that_keeps_failing_about_one_champion_makes_one_training(living: StandIns) -> None:
    """The challenger was refused, and the world stays as it is."""
    living.tick(COOLDOWN)
    cause(living, CauseName.DRIFT)
    living.failing.add(("model_evaluation:calibrated", "1x2"))
    living.do(living.tick())
    living.follow()
    for _ in range(3):
        cause(living, CauseName.DRIFT)
        assert not TRAINING & set(living.tick(COOLDOWN))
    cause(living, CauseName.DRIFT, about="version 2")
    assert trained(living.tick()) == {"1x2"}


def test_a_training_that_broke_is_tried_again_after_an_hour_and_then_more_rarely(living: StandIns) -> None:
    """It was tried every half minute, or never again."""
    living.tick(COOLDOWN)
    cause(living, CauseName.NEW_RESULTS)
    living.broken.add("training_set")
    hours = []
    for hour in range(60):
        asked = living.tick(59 / 60)
        if trained(asked):
            hours.append(hour)
            living.do(asked)
    gaps = [later - before for before, later in pairwise(hours)]
    assert gaps == [6, 6, 6, 8, 16], "never within the cooldown, then 8 hours, 16, at most a day"
    living.broken.clear()
    while not trained(asked := living.tick(1)):
        pass
    living.do(asked)
    living.causes.clear()
    living.follow()
    assert not TRAINING & set(living.tick(COOLDOWN))


def test_a_candidate_that_broke_is_trained_again(living: StandIns) -> None:
    """The training set was made, so its checks see no cause any more."""
    living.tick(COOLDOWN)
    cause(living, CauseName.NEW_RESULTS)
    living.broken.add("candidate_models")
    living.do(living.tick())
    living.broken.clear()
    living.causes.clear()
    assert not TRAINING & set(living.tick())
    look(living)
    assert trained(living.tick(COOLDOWN)) == {"1x2"}


def test_a_gate_that_is_slow_is_waited_for_and_one_that_died_is_not(living: StandIns) -> None:
    """An hour after it was asked for, a second training began beside the first."""
    living.tick(COOLDOWN)
    cause(living, CauseName.NEW_RESULTS)
    asked = living.tick()
    assert trained(asked) == {"1x2"}
    living.make("training_set", "candidate_models", partition="1x2")
    living.causes.clear()
    gate = living.begin("1x2")
    for _ in range(4):
        assert not trained(living.tick(COOLDOWN))
    living.end(gate)
    assert not trained(living.tick(57 / 60))
    assert trained(living.tick(1 / 60)) == {"1x2"}


def test_a_cause_survives_a_daemon_that_forgot_everything(living: StandIns) -> None:
    cause(living, CauseName.DRIFT)
    living.tick()
    living.forget()
    assert not TRAINING & set(living.tick())
    assert trained(living.tick(COOLDOWN)) == {"1x2"}


def test_refused_features_hold_a_training_back_and_the_cause_waits(living: StandIns) -> None:
    living.tick(COOLDOWN)
    living.failing = {("match_features:strength_expectations", None)}
    living.make("match_features", "feature_definitions")
    cause(living, CauseName.NEW_RESULTS)
    assert not TRAINING & set(living.tick())
    living.failing.clear()
    living.make("match_features", "feature_definitions")
    assert trained(living.tick()) == {"1x2"}


def test_the_causes_are_looked_for_when_their_report_is_new_and_every_hour(living: StandIns) -> None:
    living.tick(1)
    living.tick()
    living.make("drift_report")
    assert set(living.tick()) & CHECKS == {"training_set:drift"}
    look(living)
    assert not set(living.tick()) & CHECKS
    assert set(living.tick(1)) & CHECKS == CHECKS


def test_a_micro_batch_that_looked_for_causes_itself_makes_no_second_look(living: StandIns) -> None:
    living.tick(1)
    living.tick()
    reports = {"match_features", "performance_report", "drift_report"}
    assert living.make(*reports, watched_by=CHECKS)
    assert not set(living.tick()) & CHECKS


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
        assert {one.key.to_user_string() for one in result.results} >= FEATURES | TRAINING | CHECKS


def test_the_condition_that_counts_minutes_is_evaluated_by_the_sensor_in_the_code_location(tmp_path: Path) -> None:
    """The daemon does not know the class: it would pass the condition over in silence, and nothing be retrained."""
    platform = Platform(settings_for("postgresql://nobody@127.0.0.1:1/none", tmp_path), nutshell())
    definitions = build(platform)
    sensor = definitions.resolve_sensor_def("automation")
    assert not definitions.resolve_asset_graph().get(dg.AssetKey("training_set")).automation_condition.is_serializable
    assert sensor.sensor_type.value == "AUTOMATION"
    with dg.DagsterInstance.ephemeral() as instance:
        for asset in ("match_features", "feature_definitions"):
            instance.report_runless_asset_event(dg.AssetMaterialization(asset))
        for check in ("strength_expectations", "market_expectations"):
            features = dg.AssetKey("match_features")
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(asset_key=features, check_name=check, passed=True, metadata={})
            )
        cursor = None
        asked = []
        for _ in range(2):
            context = dg.build_sensor_context(
                instance, cursor, repository_def=definitions.get_repository_def(), sensor_name="automation"
            )
            tick = sensor.evaluate_tick(context)
            cursor = tick.cursor
            asked.append(set().union(*(trained_by(one) for one in tick.run_requests or [])))
        assert asked == [MARKETS, set()], "once, though nothing was made: the second tick knows of the first"
