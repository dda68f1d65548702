"""From features to a champion: what is trained on, what is recorded of it, and what the gate lets through."""

from __future__ import annotations

import hashlib

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from worlds import WORLD, Step

from betting_assets.defs.training import load_training_set
from betting_assets.modelling import feature_tables
from betting_assets.modelling.dataset import Dataset
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.history import read_books

pytestmark = pytest.mark.services

MARKET = "1x2"
MATCHES = len(WORLD.leagues) * WORLD.seasons * WORLD.teams * (WORLD.teams - 1)


@pytest.fixture(scope="module")
def joined(trained: Step) -> pd.DataFrame:
    """The frozen training set, as Feast joined it."""
    return load_training_set(trained.graph.platform, MARKET, digest(trained))[0].frame


def digest(step: Step) -> str:
    return str(step.outcome.metadata["training_set"]["snapshot"])


def test_every_feature_of_the_training_set_is_what_was_computed_row_by_row(
    joined: pd.DataFrame, computed: Dataset
) -> None:
    columns = ["match_id", "season", "outcome", *computed.strength]
    columns += [*computed.market.market_columns, *computed.market.closing_columns]
    order = ["match_date", "match_id"]
    expected = computed.frame.sort_values(order)[columns].reset_index(drop=True)
    got = joined.sort_values(order)[columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(got, expected, check_dtype=False, rtol=1e-12)


def test_no_training_row_is_later_than_the_first_price_it_is_bet_against(trained: Step, joined: pd.DataFrame) -> None:
    first = feature_tables.first_quotes(read_books(trained.graph.url))
    assert (joined["event_timestamp"] <= joined["match_id"].map(first)).all()
    assert (joined["last_input_at"].dropna() <= joined["event_timestamp"][joined["last_input_at"].notna()]).all()


def test_matches_without_a_result_are_served_but_not_trained_on(joined: pd.DataFrame, to_come: list[str]) -> None:
    assert to_come
    assert not set(to_come) & set(joined["match_id"])
    assert len(joined) + len(to_come) == MATCHES


def test_the_snapshot_is_recorded_with_the_digest_of_its_file(trained: Step) -> None:
    row = trained.graph.table("SELECT * FROM ml.training_snapshot WHERE market = '1x2'").iloc[0]
    file = trained.graph.platform.home / row["path"]
    assert row["snapshot_hash"] == digest(trained) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert row["feature_service"] == "1x2_training"


def test_the_same_data_freeze_to_the_same_snapshot(trained: Step, trained_again: Step) -> None:
    assert digest(trained_again) == digest(trained)


def test_an_mlflow_run_names_its_dagster_run_its_data_and_its_features(trained: Step) -> None:
    metadata = trained.outcome.metadata["candidate_models"]
    tags = trained.graph.platform.registry.client.get_run(metadata["mlflow_run"]).data.tags
    first = trained.graph.instance.get_runs(dg.RunsFilter(job_name="train"))[-1]
    assert tags["dagster_run_id"] == first.run_id
    assert tags["data_hash"] == digest(trained)
    assert tags["feature_service"] == "1x2_training"


def test_the_first_challenger_that_passes_is_promoted(trained: Step) -> None:
    assert trained.outcome.success, trained.outcome
    assert trained.champion == "match_odds_1x2/1"


def test_a_challenger_equal_to_the_champion_is_refused_and_the_run_says_why(trained_again: Step) -> None:
    assert not trained_again.outcome.success
    assert list(trained_again.outcome.failed_checks) == ["model_evaluation:better_than_champion"]
    reason = trained_again.outcome.failed_checks["model_evaluation:better_than_champion"]
    assert reason.startswith("not shown to be better")
    assert reason.endswith("no refresh: no match that the champion did not see")
    assert "champion_model" not in trained_again.outcome.metadata
    assert trained_again.champion == "match_odds_1x2/1"


def test_a_challenger_worse_than_the_champion_is_refused(worse: Step) -> None:
    assert list(worse.outcome.failed_checks) == ["model_evaluation:better_than_champion"]
    assert worse.champion == "match_odds_1x2/1"


def test_a_challenger_better_than_the_champion_is_promoted(better: Step) -> None:
    assert better.outcome.success, better.outcome
    assert better.outcome.metadata["champion_model"]["before"] == "match_odds_1x2/1"
    assert better.champion == "match_odds_1x2/2"


def test_what_the_gate_did_not_pass_cannot_be_promoted_by_hand(better: Step) -> None:
    """The button of champion_model alone, after a training that stopped before the gate."""
    graph, before = better.graph, better.graph.champion()
    trained = graph.ad_hoc("candidate_models", partition=MARKET)
    outcome = graph.ad_hoc("champion_model", partition=MARKET)
    assert not outcome.success
    assert f"{trained.metadata['candidate_models']['model_version']} may not be promoted" in str(outcome.error)
    assert "not evaluated" in str(outcome.error)
    assert graph.champion() == before


def test_a_miscalibrated_challenger_is_refused(better: Step) -> None:
    """The market of the test season is made far too sure of itself; the residual model starts from it."""
    graph = better.graph
    with connect(graph.url) as conn:
        conn.execute(
            "UPDATE features.match_market k SET market_over = o, market_under = 1 - o FROM (SELECT match_id,"
            "   market_over ^ 6 / (market_over ^ 6 + market_under ^ 6) AS o"
            "   FROM features.match_market JOIN core.match m USING (match_id) WHERE m.season = %s) sure"
            " WHERE sure.match_id = k.match_id",
            [WORLD.season_codes[-1]],
        )
    outcome = graph.run("train", "over_under")
    assert not outcome.success
    assert "a perfect forecaster shows" in outcome.failed_checks["model_evaluation:calibrated"]
    assert graph.champion("over_under") is None


def test_every_evaluation_is_kept_with_its_scores_and_forecasts(trained: Step) -> None:
    run = trained.outcome.metadata["candidate_models"]["mlflow_run"]
    kept = trained.graph.table(f"SELECT variant, metrics->>'n' AS n FROM ml.evaluation WHERE run_id = '{run}'")  # noqa: S608
    assert {"base_rate", "market_pre", "market_close", "fundamentals", "market_residual"} <= set(kept["variant"])
    forecasts = trained.graph.table(
        f"SELECT variant, probabilities FROM ml.walk_forward_prediction WHERE run_id = '{run}'"  # noqa: S608
    )
    counts = forecasts["variant"].value_counts()
    assert all(counts[row.variant] == int(row.n) for row in kept.itertuples())
    np.testing.assert_allclose(np.array(forecasts["probabilities"].tolist()).sum(axis=1), 1.0, atol=1e-9)
