"""What follows live results by itself: the real conditions on the real graph, with bodies that do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stand_ins import StandIns
from worlds import settings_for

from betting_assets.definitions import build
from betting_assets.defs.resources import Platform

FEATURES = {"team_ratings", "team_form", "market_consensus", "match_features", "feature_definitions", "online_features"}
WATCH = ("prediction_outcomes", "performance_report", "drift_report")
DAY = "2025-12-30"


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[StandIns]:
    """A platform at rest that never had a stream."""
    with StandIns(build(Platform(settings_for("postgresql://nobody@127.0.0.1:1/none", tmp_path)))) as stand_ins:
        stand_ins.add_partitions(["XX"], ["2122"])
        stand_ins.tick()
        stand_ins.make("match_results", "bookmaker_odds", partition="XX|2122")
        stand_ins.follow()
        stand_ins.make("prediction_log", *WATCH)
        stand_ins.follow()
        yield stand_ins


def test_a_day_of_live_results_is_followed_though_all_other_days_are_missing(graph: StandIns) -> None:
    graph.make("live_history", partition=DAY)
    asked = set().union(*graph.follow())
    assert asked >= FEATURES | {"prediction_outcomes", "performance_report"}


def test_what_settle_live_made_in_its_run_is_not_made_again(graph: StandIns) -> None:
    causes = [f"training_set:{name}" for name in ("drift", "new_results", "model_age", "performance")]
    fresh = [f"online_features:{view}_is_fresh" for view in ("match_strength", "match_market")]
    graph.make("live_history", *FEATURES, *WATCH, partition=DAY, watched_by=[*causes, *fresh])
    assert graph.follow() == []


def test_a_micro_batch_that_ended_after_the_merge_is_brought_to_its_end(graph: StandIns) -> None:
    graph.make("live_history", "team_ratings", partition=DAY)
    asked = set().union(*graph.follow())
    assert asked >= FEATURES - {"team_ratings"}


def test_nothing_is_built_on_live_results_that_were_refused(graph: StandIns) -> None:
    graph.failing = {("live_history:score_expectations", None)}
    graph.make("live_history", partition=DAY)
    assert graph.follow() == []
    graph.failing.clear()
    graph.make("live_history", partition=DAY)
    assert set().union(*graph.follow()) >= FEATURES


def test_reports_of_landed_rows_ask_for_nothing(graph: StandIns) -> None:
    for asset in ("odds_ticks", "live_results"):
        graph.make(asset, partition=DAY)
    assert graph.follow() == []
