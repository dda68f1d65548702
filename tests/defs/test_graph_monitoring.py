"""The watch: every answer is logged, settled once its result is there, scored, and compared with the training set."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from worlds import Step

from bentos.match_odds.contract import Answer
from betting_assets.defs.training import load_training_set
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.fixtures import upcoming_matches
from betting_assets.warehouse.predictions import read_predictions

pytestmark = pytest.mark.services

DRIFT = "training_set:drift"


def test_every_answer_of_the_service_stands_in_the_log_with_what_it_saw(asked: Answer, deployed_again: Step) -> None:
    log = read_predictions(deployed_again.graph.url).set_index("match_id")
    assert set(log.index) >= {one.match_id for one in asked.predictions}
    for one in asked.predictions:
        row = log.loc[one.match_id]
        np.testing.assert_allclose(row["probabilities"], one.probabilities, atol=1e-12)
        assert row["bento_tag"] == asked.bento
        assert row["model_version"] == "match_odds_1x2/2"
        assert row["feature_time"] == one.feature_time
        assert "home_elo" in row["features"]


def test_predictions_wait_while_there_is_no_result(asked: Answer, watched: Step) -> None:
    assert watched.outcome.success, watched.outcome
    outcomes = watched.outcome.metadata["prediction_outcomes"]
    assert outcomes["waiting"] == len(asked.predictions)
    assert outcomes["dagster/row_count"] == 0


def test_too_few_rows_are_no_drift_and_the_report_says_so(watched: Step) -> None:
    report = watched.outcome.metadata["drift_report"]
    assert report["1x2_passed"] is True
    assert "too few rows" in report["1x2_reason"]
    assert report["over_under_reason"] == "there is no champion"


def test_predictions_are_settled_when_the_results_are_revealed(asked: Answer, revealed: Step) -> None:
    assert revealed.outcome.success, revealed.outcome
    outcomes = revealed.outcome.metadata["prediction_outcomes"]
    assert (outcomes["waiting"], outcomes["refused"]) == (0, {})
    settled = revealed.graph.table(
        "SELECT o.*, p.probabilities FROM serving.prediction_outcome o JOIN serving.prediction_log p"
        "    ON p.id = o.prediction_id"
    )
    assert set(settled["match_id"]) == {one.match_id for one in asked.predictions}
    given = [row.probabilities[row.outcome] for row in settled.itertuples()]
    np.testing.assert_allclose(settled["log_loss"], -np.log(given), rtol=1e-9)
    assert upcoming_matches(revealed.graph.url).empty


def test_the_performance_report_is_about_the_settled_predictions(asked: Answer, revealed: Step) -> None:
    report = revealed.outcome.metadata["performance_report"]
    assert report["settled"] == len(asked.predictions)
    rows: list[dict[str, Any]] = [record.data for record in report["report"].records]
    assert [(row["market"], row["model_version"], row["n"]) for row in rows] == [
        ("1x2", "match_odds_1x2/2", len(asked.predictions))
    ]
    assert rows[0]["verdict"] == "too few"


def test_drifted_features_fail_the_check_on_the_model(revealed: Step) -> None:
    graph = revealed.graph
    champion = graph.champion()
    assert champion is not None
    frame = load_training_set(graph.platform, "1x2", champion.tags["data_hash"])[0].frame.tail(60)
    features = champion.bundle().variants["market_residual"].features
    shifted = frame[list(features)].astype(float) + 3 * frame[list(features)].astype(float).std()
    rows = [
        (match, champion.name, json.dumps(values))
        for match, values in zip(frame["match_id"], shifted.replace({np.nan: None}).to_dict("records"), strict=True)
    ]
    with connect(graph.url) as conn, conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO serving.prediction_log (request_id, match_id, market, variant, model_version, bento_tag,"
            " probabilities, features, served_by)"
            " VALUES ('planted', %s, '1x2', 'market_residual', %s, 'none', '{0.4,0.3,0.3}', %s, 'test')",
            rows,
        )
    outcome = graph.run("monitor")
    assert outcome.success, "drift is a warning, it stops nothing"
    assert "columns of match_market drifted" in outcome.failed_checks[DRIFT]
    assert outcome.metadata["drift_report"]["1x2_passed"] is False
    assert (graph.platform.home / "reports" / "drift_1x2.html").is_file()
