"""Served predictions: when a model is called worse than the market."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from betting_assets.betting.score import log_loss
from betting_assets.modelling.performance import FEWEST_MATCHES, REPORT_COLUMNS, performance


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


def test_challengers_have_rows_of_their_own() -> None:
    outcomes, market = served(400, 1.0)
    hidden = outcomes.iloc[:150].assign(role="challenger")
    report = performance(pd.concat([outcomes, hidden], ignore_index=True), market)
    assert report[["role", "n"]].to_numpy().tolist() == [["challenger", 150], ["champion", 400]]


def test_nothing_settled_gives_an_empty_report() -> None:
    outcomes, market = served(1, 1.0)
    assert tuple(performance(outcomes.head(0), market).columns) == REPORT_COLUMNS
    assert performance(outcomes.head(0), market).empty
