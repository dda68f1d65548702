"""Settling a prediction: what it scores, what is refused, and which matches have something to settle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from betting_assets.modelling.settlement import OUTCOME_COLUMNS, plan, settle

RESULT: dict[str, Any] = {"home_score": 2, "away_score": 0, "known_at": pd.Timestamp("2018-08-12", tz="UTC")}
DRAW = RESULT | {"home_score": 0}
NO_RESULT: dict[str, Any] = {"home_score": None, "away_score": None, "known_at": pd.NaT}


def prediction(number: int, **changes: object) -> dict[str, object]:
    return {
        "prediction_id": number,
        "match_id": "a",
        "market": "1x2",
        "predicted_at": pd.Timestamp("2018-08-11 09:00", tz="UTC"),
        "feature_time": pd.Timestamp("2018-08-10 15:00", tz="UTC"),
        "probabilities": [0.5, 0.3, 0.2],
        **RESULT,
        **changes,
    }


def log(*rows: dict[str, object]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    return frame.assign(known_at=pd.to_datetime(frame["known_at"], utc=True))


def test_a_prediction_is_scored_by_the_outcome() -> None:
    outcomes = settle(log(prediction(1), prediction(2, **DRAW)), "predicted_at").outcomes
    assert list(outcomes.columns) == OUTCOME_COLUMNS
    assert outcomes["outcome"].tolist() == [0, 1]
    assert outcomes["log_loss"].tolist() == pytest.approx([-math.log(0.5), -math.log(0.3)])
    assert outcomes["brier"].tolist() == pytest.approx([0.25 + 0.09 + 0.04, 0.25 + 0.49 + 0.04])
    assert outcomes["rps"].tolist() == pytest.approx([(0.25 + 0.04) / 2, (0.25 + 0.04) / 2])
    assert (outcomes["settled_at"] == RESULT["known_at"]).all()


def test_a_market_of_two_selections_is_settled_by_its_own_rule() -> None:
    two = prediction(1, market="over_under", probabilities=np.array([0.6, 0.4]))
    outcomes = settle(log(prediction(2), two), "predicted_at").outcomes.set_index("prediction_id")
    assert outcomes.loc[1, "outcome"] == 1
    assert outcomes.loc[1, "log_loss"] == pytest.approx(-math.log(0.4))


def test_a_prediction_made_after_the_result_was_known_is_refused_and_counted() -> None:
    late = prediction(1, predicted_at=pd.Timestamp("2018-08-12 00:01", tz="UTC"))
    settled = settle(log(late, prediction(2)), "predicted_at")
    assert settled.outcomes["prediction_id"].tolist() == [2]
    assert settled.refused == {"not made before the result was known": 1}


def test_in_a_replay_the_time_of_the_features_decides() -> None:
    now = pd.Timestamp("2026-11-03 09:00", tz="UTC")
    late = log(prediction(1, predicted_at=now), prediction(2, predicted_at=now, feature_time=pd.NaT))
    settled = settle(late, "feature_time")
    assert settled.outcomes["prediction_id"].tolist() == [1]
    assert settled.refused == {"not made before the result was known": 1}


def test_a_match_without_a_result_is_neither_settled_nor_refused() -> None:
    settled = settle(log(prediction(1, **NO_RESULT)), "predicted_at")
    assert settled.outcomes.empty
    assert list(settled.outcomes.columns) == OUTCOME_COLUMNS
    assert settled.refused == {}


@pytest.mark.parametrize("bad", [[0.5, 0.5], [0.5, 0.3, 0.3], [1.2, -0.1, -0.1], [float("nan"), 0.5, 0.5]])
def test_what_is_no_distribution_is_refused_and_counted(bad: list[float]) -> None:
    settled = settle(log(prediction(1, probabilities=bad)), "predicted_at")
    assert settled.outcomes.empty
    assert settled.refused == {"probabilities are not a distribution over the market": 1}


def test_an_unknown_market_is_refused_and_counted() -> None:
    assert settle(log(prediction(1, market="corners")), "predicted_at").refused == {"market is not modelled": 1}


def by_match(*rows: tuple[str, int, dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame([{"match_id": match, "n": n, **result} for match, n, result in rows])
    return frame.assign(known_at=pd.to_datetime(frame["known_at"], utc=True))


def outcomes_of(*rows: tuple[str, str, int, int]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=["match_id", "market", "outcome", "n"])
    return frame.assign(settled_at=RESULT["known_at"])


def test_a_match_whose_every_prediction_is_settled_is_not_read_again() -> None:
    found = plan(outcomes_of(("a", "1x2", 0, 3), ("a", "over_under", 1, 2)), by_match(("a", 5, RESULT)))
    assert (found.changed, found.open, found.waiting, found.settled) == ({}, {}, 0, 5)


def test_only_predictions_without_an_outcome_are_counted_as_open() -> None:
    logged = by_match(("a", 5, RESULT), ("b", 4, NO_RESULT), ("c", 2, DRAW))
    found = plan(outcomes_of(("a", "1x2", 0, 3)), logged)
    assert (found.changed, found.open, found.waiting, found.settled) == ({}, {"a": 2, "c": 2}, 4, 3)


@pytest.mark.parametrize(
    "now",
    [DRAW, RESULT | {"known_at": pd.Timestamp("2018-08-13", tz="UTC")}, NO_RESULT],
    ids=["another winner", "known at another time", "taken back"],
)
def test_a_match_that_was_settled_by_another_result_is_settled_again(now: dict[str, Any]) -> None:
    found = plan(outcomes_of(("a", "1x2", 0, 3), ("b", "1x2", 0, 1)), by_match(("a", 4, now), ("b", 1, RESULT)))
    assert found.changed == {"a": 4}
    assert found.open == {}


def test_a_correction_that_changes_no_outcome_changes_nothing() -> None:
    found = plan(outcomes_of(("a", "1x2", 0, 3)), by_match(("a", 3, RESULT | {"home_score": 5})))
    assert (found.changed, found.open) == ({}, {})


def test_outcomes_of_a_market_that_is_not_modelled_any_more_are_looked_at_again() -> None:
    assert plan(outcomes_of(("a", "corners", 0, 3)), by_match(("a", 3, RESULT))).changed == {"a": 3}
