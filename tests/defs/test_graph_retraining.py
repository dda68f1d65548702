"""The closed loop on the real graph: a cause is found, trained for and told; a refresh passes, what is refused changes
nothing."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from worlds import WORLD, Graph, graph_on

from betting_assets.defs.causes import CAUSE_TAG
from betting_assets.defs.launch import Outcome
from betting_assets.defs.training import load_training_set
from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.modelling.causes import ASKED_FOR
from betting_assets.modelling.registry import CHALLENGER
from betting_assets.sources.source import SimulatorSource
from betting_assets.warehouse import deployments
from betting_assets.warehouse.database import connect, create_databases
from betting_assets.warehouse.migrate import migrate

pytestmark = pytest.mark.services

MARKET = "1x2"
HELD_BACK = 12
DRIFTED = "[23] of 3 columns of match_market drifted, 30% are allowed"
AFTER_COOLDOWN = dt.timedelta(hours=7)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """A world with its last match day held back, features made, nothing trained.

    On a server of its own: the registry's database has one name, and the story of this folder fills the session's.
    """
    folder = tmp_path_factory.mktemp("loop")
    folder.chmod(0o755)
    for parent in folder.parents[:2]:
        parent.chmod(0o755)  # for the server's own user, when root runs the tests
    server = EmbeddedPostgres(folder / "postgres", options={"fsync": "off"})
    try:
        url = server.start()
        create_databases(url)
        migrate(url)
        with graph_on(url, folder / "home", SimulatorSource(WORLD), hold_back=True) as graph:
            assert graph.run("ingest").success
            assert graph.run("build_features").success
            yield graph
    finally:
        server.delete()


@pytest.fixture(scope="module")
def first(loop: Graph) -> Outcome:
    return loop.run("train", MARKET)


@pytest.fixture(scope="module")
def deployed(loop: Graph, first: Outcome) -> int:
    """A deployment of version 1, which is current."""
    deployment = deployments.propose(loop.url, "match_odds:test", {MARKET: "match_odds_1x2/1"}, [])
    deployments.mark_healthy(loop.url, deployment)
    deployments.make_current(loop.url, deployment)
    return deployment


@pytest.fixture(scope="module")
def drifted(loop: Graph, first: Outcome) -> Outcome:
    """The watch, after 60 matches were served whose home odds had moved; each was asked for three times."""
    champion = loop.champion()
    assert champion is not None
    frame = load_training_set(loop.platform, MARKET, champion.tags["data_hash"])[0].frame.tail(60)
    moved = shifted(frame, -0.6)
    features = champion.bundle().numbers
    rows = [
        (one["match_id"], champion.name, json.dumps({k: None if pd.isna(one[k]) else float(one[k]) for k in features}))
        for one in moved.to_dict("records")
    ]
    with connect(loop.url) as conn, conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO serving.prediction_log (request_id, match_id, market, variant, model_version, bento_tag,"
            " probabilities, features, served_by)"
            " VALUES ('planted', %s, '1x2', 'market_residual', %s, 'none', '{0.4,0.3,0.3}', %s, 'test')",
            rows * 3,
        )
    return loop.run("monitor")


@pytest.fixture(scope="module")
def refused(loop: Graph, drifted: Outcome, deployed: int) -> Outcome:
    """Trained for the drift on the data that the champion has seen already."""
    return loop.run("train", MARKET)


@pytest.fixture(scope="module")
def refreshed(loop: Graph, refused: Outcome) -> Outcome:
    """Trained again with the results that were held back."""
    assert loop.run("ingest", history={"hold_back": False}).success
    assert loop.run("build_features").success
    return loop.run("train", MARKET)


def shifted(frame: pd.DataFrame, by: float) -> pd.DataFrame:
    """The home probability of the market moved by `by` in log odds, the others scaled."""
    home = frame["market_home"]
    new = 1 / (1 + np.exp(-np.log(home / (1 - home)) - by))
    rest = (1 - new) / (1 - home)
    return frame.assign(
        market_home=new, market_draw=frame["market_draw"] * rest, market_away=frame["market_away"] * rest
    )


def due(graph: Graph) -> set[str]:
    """The markets that `retrain` asks for once the cooldown is over."""
    result = dg.evaluate_automation_conditions(
        graph.definitions,
        graph.instance,
        asset_selection=dg.AssetSelection.assets("training_set"),
        evaluation_time=dt.datetime.now(dt.UTC) + AFTER_COOLDOWN,
    )
    return set(result.results[0].true_subset.expensively_compute_partition_keys())


def newest_run(graph: Graph) -> dg.DagsterRun:
    return graph.instance.get_runs(dg.RunsFilter(job_name="train"), limit=1)[0]


def test_the_first_training_says_that_it_is_the_first(loop: Graph, first: Outcome) -> None:
    assert first.success, first
    champion = loop.champion()
    assert champion is not None
    assert champion.tags["cause"] == newest_run(loop).tags[CAUSE_TAG] == "first training"
    assert due(loop) == {"over_under"}, "which was never trained"


def test_moved_odds_of_sixty_matches_are_a_cause_for_their_market_alone(loop: Graph, drifted: Outcome) -> None:
    assert drifted.success, "a cause is a warning, it stops nothing"
    assert list(drifted.failed_checks) == ["training_set:drift"]
    told = drifted.failed_checks["training_set:drift"]
    assert re.fullmatch(f"1x2: {DRIFTED}; over_under: there is no champion", told)
    assert drifted.metadata["drift_report"]["1x2_rows"] == 60
    assert due(loop) == {"1x2", "over_under"}


def test_a_refused_retraining_leaves_the_live_model_untouched_and_says_so(
    loop: Graph, refused: Outcome, deployed: int
) -> None:
    reason = refused.failed_checks["model_evaluation:better_than_champion"]
    assert reason.endswith("no refresh: no match that the champion did not see")
    champion, challenger = loop.champion(), loop.platform.registry.by_alias(MARKET, CHALLENGER)
    assert champion is not None
    assert challenger is not None
    assert (champion.name, challenger.name) == ("match_odds_1x2/1", "match_odds_1x2/2")
    assert challenger.tags["gate"] == f"better_than_champion: {reason}"
    assert deployments.history(loop.url, 1)[0].id == deployed
    assert deployments.history(loop.url, 1)[0].status == "current"


def test_the_run_the_training_set_and_the_model_name_the_cause(loop: Graph, refused: Outcome) -> None:
    challenger = loop.platform.registry.by_alias(MARKET, CHALLENGER)
    assert challenger is not None
    cause = challenger.tags["cause"]
    assert re.fullmatch(f"drift: {DRIFTED}", cause)
    assert newest_run(loop).tags[CAUSE_TAG] == cause
    assert refused.metadata["training_set"]["cause"] == cause


def test_a_cause_that_was_trained_for_in_vain_is_no_cause_again(loop: Graph, refused: Outcome) -> None:
    assert "training_set:drift" in loop.run("monitor").failed_checks
    assert due(loop) == {"over_under"}


def test_the_same_recipe_with_newer_matches_is_promoted_as_a_refresh(loop: Graph, refreshed: Outcome) -> None:
    assert refreshed.success, refreshed
    champion = loop.champion()
    assert champion is not None
    assert champion.name == "match_odds_1x2/3"
    assert champion.tags["gate"] == "passed"
    assert champion.tags["cause"].startswith("drift: ")
    seen = loop.instance.get_latest_asset_check_evaluation_record(
        dg.AssetCheckKey(dg.AssetKey("model_evaluation"), "better_than_champion")
    )
    assert seen is not None
    assert seen.evaluation is not None
    assert str(seen.evaluation.description).startswith(f"refresh: the champion's recipe with {HELD_BACK} more matches")


def test_new_and_corrected_results_are_counted_from_the_newest_training(loop: Graph, refreshed: Outcome) -> None:
    with connect(loop.url) as conn:
        conn.execute("UPDATE core.result SET home_score = home_score + 1, updated_at = now()")
    outcome = loop.run("monitor")
    told = outcome.failed_checks["training_set:new_results"]
    assert told.startswith("1x2: 792 results since the training of ")
    assert "over_under: 0 results since the training of never" in told
    assert "1x2" in due(loop)


def test_a_model_is_old_by_the_wall_clock(loop: Graph, refreshed: Outcome) -> None:
    with connect(loop.url) as conn:
        conn.execute("UPDATE ml.training_snapshot SET created_at = created_at - interval '31 days'")
    assert "1x2: trained 31.0 days ago" in loop.run("monitor").failed_checks["training_set:model_age"]


def test_a_model_that_is_served_and_worse_than_the_market_is_a_cause(loop: Graph, refreshed: Outcome) -> None:
    """300 settled answers that gave the winner 0.2."""
    champion = loop.champion()
    assert champion is not None
    deployment = deployments.propose(loop.url, "match_odds:test", {MARKET: champion.name}, [])
    deployments.mark_healthy(loop.url, deployment)
    deployments.make_current(loop.url, deployment)
    with connect(loop.url) as conn:
        conn.execute(
            "INSERT INTO serving.prediction_log (request_id, match_id, market, variant, model_version, bento_tag,"
            " probabilities, feature_time, served_by)"
            " SELECT 'planted', m.match_id, '1x2', 'market_residual', %s, 'none',"
            "   CASE WHEN r.home_score > r.away_score THEN '{0.2,0.4,0.4}'::float8[] ELSE '{0.6,0.2,0.2}' END,"
            "   m.match_date - interval '1 day', 'test'"
            "  FROM core.match m JOIN core.result r USING (match_id) ORDER BY m.match_date DESC LIMIT 300",
            [champion.name],
        )
    told = loop.run("monitor").failed_checks["training_set:performance"]
    assert told.startswith("1x2: log-loss against the market +")
    assert ASKED_FOR not in told
