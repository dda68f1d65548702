"""Served predictions: which ones count, what is refused, and when a model is called worse than the market."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from betting_assets.betting.score import log_loss
from betting_assets.modelling.performance import FEWEST_MATCHES, OUTCOME_COLUMNS, REPORT_COLUMNS, performance, settle

KICKOFF = pd.Timestamp("2018-08-11 14:00", tz="UTC")

MATCHES = pd.DataFrame(
    {
        "match_id": ["a", "b", "c"],
        "match_date": pd.to_datetime(["2018-08-11"] * 3),
        "kickoff": [KICKOFF, pd.NaT, KICKOFF],
    }
).astype({"kickoff": "datetime64[ns, UTC]"})
RESULTS = pd.DataFrame(
    {
        "match_id": ["a", "b"],
        "home_score": [2, 0],
        "away_score": [0, 0],
        "known_at": [pd.Timestamp("2018-08-12", tz="UTC")] * 2,
    }
)


def prediction(number: int, match: str = "a", at: str = "2018-08-11 09:00", **changes: object) -> dict[str, object]:
    return {
        "id": number,
        "match_id": match,
        "market": "1x2",
        "variant": "market_residual",
        "model_version": "7",
        "role": "champion",
        "predicted_at": pd.Timestamp(at, tz="UTC"),
        "feature_time": pd.Timestamp("2018-08-10 15:00", tz="UTC"),
        "probabilities": [0.5, 0.3, 0.2],
        **changes,
    }


def log(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


def test_a_prediction_is_scored_by_the_outcome() -> None:
    outcomes = settle(log(prediction(1), prediction(2, "b")), RESULTS, MATCHES).outcomes
    assert tuple(outcomes.columns) == OUTCOME_COLUMNS
    assert outcomes["outcome"].tolist() == [0, 1]
    assert outcomes["log_loss"].tolist() == pytest.approx([-math.log(0.5), -math.log(0.3)])
    assert outcomes["brier"].tolist() == pytest.approx([0.25 + 0.09 + 0.04, 0.25 + 0.49 + 0.04])
    assert outcomes["rps"].tolist() == pytest.approx([(0.25 + 0.04) / 2, (0.25 + 0.04) / 2])


def test_a_market_of_two_selections_is_settled_by_its_own_rule() -> None:
    two = prediction(1, market="over_under", probabilities=np.array([0.6, 0.4]))
    outcomes = settle(log(two, prediction(2)), RESULTS, MATCHES).outcomes.set_index("prediction_id")
    assert outcomes.loc[1, "outcome"] == 1
    assert outcomes.loc[1, "log_loss"] == pytest.approx(-math.log(0.4))


def test_only_the_last_prediction_before_the_start_counts() -> None:
    rows = log(
        prediction(4, at="2018-08-11 09:00"),
        prediction(1, at="2018-08-11 13:59"),
        prediction(2, at="2018-08-11 14:00"),
        prediction(3, at="2018-08-11 13:00"),
        prediction(5, at="2018-08-11 10:00", model_version="8"),
        prediction(6, at="2018-08-11 10:00", market="over_under", probabilities=[0.5, 0.5]),
    )
    outcomes = settle(rows, RESULTS, MATCHES).outcomes
    assert set(outcomes.loc[outcomes["counts"], "prediction_id"]) == {1, 5, 6}
    assert len(outcomes) == 6


def test_what_a_version_said_as_challenger_counts_beside_its_answers() -> None:
    rows = log(
        prediction(1, at="2018-08-11 09:00", role="challenger"),
        prediction(2, at="2018-08-11 10:00"),
        prediction(3, at="2018-08-11 08:00"),
    )
    outcomes = settle(rows, RESULTS, MATCHES).outcomes
    counting = outcomes[outcomes["counts"]]
    assert dict(zip(counting["prediction_id"], counting["role"], strict=True)) == {1: "challenger", 2: "champion"}


def test_of_two_at_one_moment_the_later_in_the_log_counts() -> None:
    outcomes = settle(log(prediction(2), prediction(1)), RESULTS, MATCHES).outcomes
    assert outcomes.loc[outcomes["counts"], "prediction_id"].tolist() == [2]


def test_without_a_kickoff_time_a_match_starts_at_noon() -> None:
    rows = log(prediction(1, "b", at="2018-08-11 11:59"), prediction(2, "b", at="2018-08-11 12:00"))
    outcomes = settle(rows, RESULTS, MATCHES).outcomes
    assert outcomes.loc[outcomes["counts"], "prediction_id"].tolist() == [1]


def test_a_prediction_made_after_the_result_was_known_is_refused_and_counted() -> None:
    settled = settle(log(prediction(1, at="2018-08-12 00:01"), prediction(2)), RESULTS, MATCHES)
    assert settled.outcomes["prediction_id"].tolist() == [2]
    assert settled.refused == {"not made before the result was known": 1}


def test_in_a_replay_the_time_of_the_features_decides() -> None:
    late = log(prediction(1, at="2026-11-03 09:00"), prediction(2, at="2026-11-03 09:00", feature_time=pd.NaT))
    settled = settle(late, RESULTS, MATCHES, made_at="feature_time")
    assert settled.outcomes["prediction_id"].tolist() == [1]
    assert settled.outcomes["counts"].all()
    assert settled.refused == {"not made before the result was known": 1}


def test_a_match_without_a_result_waits() -> None:
    settled = settle(log(prediction(1, "c"), prediction(2, "not-in-core")), RESULTS, MATCHES)
    assert settled.waiting == 2
    assert settled.outcomes.empty
    assert tuple(settled.outcomes.columns) == OUTCOME_COLUMNS
    assert performance(settled.outcomes, market_of([], [])).empty


@pytest.mark.parametrize("bad", [[0.5, 0.5], [0.5, 0.3, 0.3], [1.2, -0.1, -0.1], [float("nan"), 0.5, 0.5]])
def test_what_is_no_distribution_is_refused_and_counted(bad: list[float]) -> None:
    settled = settle(log(prediction(1, probabilities=bad)), RESULTS, MATCHES)
    assert settled.outcomes.empty
    assert settled.refused == {"probabilities are not a distribution over the market": 1}


def test_an_unknown_market_is_refused_and_counted() -> None:
    assert settle(log(prediction(1, market="corners")), RESULTS, MATCHES).refused == {"market is not modelled": 1}


def market_of(ids: list[str], probabilities: object) -> pd.DataFrame:
    p = np.asarray(probabilities, dtype=np.float64).reshape(-1, 3)
    return pd.DataFrame({"match_id": ids, "market_home": p[:, 0], "market_draw": p[:, 1], "market_away": p[:, 2]})


def served(n: int, sharpness: float, seed: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Outcomes of n predictions with the truth raised to a power, 10 a day, and a market that knows the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet([5.0, 3.0, 3.0], size=n)
    happened = np.array([rng.choice(3, p=p) for p in truth])
    given = truth**sharpness / (truth**sharpness).sum(axis=1, keepdims=True)
    ids = [f"m{i}" for i in range(n)]
    outcomes = pd.DataFrame(
        {
            "match_id": ids,
            "market": "1x2",
            "model_version": "7",
            "role": "champion",
            "match_date": pd.Timestamp("2018-08-11") + pd.to_timedelta(np.arange(n) // 10, unit="D"),
            "outcome": happened,
            "probabilities": list(given),
            "log_loss": log_loss(given, happened),
            "rps": 0.2,
            "brier": 0.6,
            "counts": True,
        }
    )
    return outcomes, market_of(ids, truth)


def test_a_model_as_good_as_the_market_is_in_band() -> None:
    report = performance(*served(2000, 1.0))
    assert tuple(report.columns) == REPORT_COLUMNS
    row = report.iloc[0]
    assert row["verdict"] == "in band"
    assert row["diff"] == pytest.approx(0.0, abs=1e-12)
    assert row["ece"] <= row["ece_hi"]


def test_an_overconfident_model_is_worse_than_the_market() -> None:
    row = performance(*served(2000, 2.0)).iloc[0]
    assert row["verdict"] == "worse than market"
    assert row["diff_lo"] > 0
    assert row["ece"] > row["ece_hi"]


def test_overconfidence_shows_as_miscalibration_where_there_is_no_market() -> None:
    outcomes, market = served(2000, 2.0)
    row = performance(outcomes, market.head(0)).iloc[0]
    assert row["verdict"] == "miscalibrated"
    assert row["n_vs_market"] == 0
    assert math.isnan(row["diff"])


def test_a_model_that_knows_more_than_the_market_is_better() -> None:
    outcomes, market = served(2000, 1.0)
    blunt = market.assign(market_home=1 / 3, market_draw=1 / 3, market_away=1 / 3)
    row = performance(outcomes, blunt).iloc[0]
    assert row["verdict"] == "better than market"
    assert row["diff_hi"] < 0


def test_few_matches_give_no_verdict() -> None:
    assert performance(*served(FEWEST_MATCHES - 1, 2.0)).iloc[0]["verdict"] == "too few"


def test_the_market_is_compared_on_the_same_matches_only() -> None:
    outcomes, market = served(400, 1.5)
    row = performance(outcomes, market.iloc[:150]).iloc[0]
    assert (row["n"], row["n_vs_market"]) == (400, 150)
    alone = performance(outcomes.iloc[:150], market).iloc[0]
    assert row["diff"] == pytest.approx(alone["diff"])


def test_predictions_that_do_not_count_are_left_out() -> None:
    outcomes, market = served(400, 1.0)
    report = performance(outcomes.assign(counts=outcomes.index < 120), market)
    assert report["n"].tolist() == [120]


def test_challengers_have_rows_of_their_own() -> None:
    outcomes, market = served(400, 1.0)
    hidden = outcomes.iloc[:150].assign(role="challenger")
    report = performance(pd.concat([outcomes, hidden], ignore_index=True), market)
    assert report[["role", "n"]].to_numpy().tolist() == [["challenger", 150], ["champion", 400]]
