"""Evidence from the shadow: a worse challenger is found out on the champion's own requests, luck is not."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from betting_assets.betting.score import log_loss
from betting_assets.modelling.gate import NOT_WORSE_IN_SHADOW, not_worse_in_shadow
from betting_assets.modelling.performance import FEWEST_MATCHES
from betting_assets.modelling.shadow_evidence import (
    EVIDENCE_COLUMNS,
    FEWEST_DAYS,
    ShadowEvidence,
    Verdict,
    evidence_table,
    shadow_evidence,
)

Floats = npt.NDArray[np.float64]
SCORES = np.array([[2, 0], [1, 1], [0, 1]])
"""A score for each outcome of 1x2."""


def worlds(n: int, seed: int = 3) -> tuple[Floats, npt.NDArray[np.int64]]:
    """True probabilities of n matches, and what happened."""
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet([5.0, 3.0, 3.0], size=n)
    return truth, np.array([rng.choice(3, p=p) for p in truth])


def blurred(truth: Floats, size: float, seed: int = 8) -> Floats:
    noisy = np.exp(np.log(truth) + np.random.default_rng(seed).normal(0, size, truth.shape))
    return np.asarray(noisy / noisy.sum(axis=1, keepdims=True))


def paired(challenger: Floats, champion: Floats, happened: npt.NDArray[np.int64], a_day: int = 10) -> pd.DataFrame:
    n = len(happened)
    return pd.DataFrame(
        {
            "market": "1x2",
            "match_id": [f"m{i}" for i in range(n)],
            "match_date": pd.Timestamp("2018-08-11") + pd.to_timedelta(np.arange(n) // a_day, unit="D"),
            "challenger": "v2",
            "champion": "v1",
            "challenger_probabilities": list(challenger),
            "champion_probabilities": list(champion),
            "home_score": SCORES[happened, 0],
            "away_score": SCORES[happened, 1],
        }
    )


def only(pairs: pd.DataFrame) -> ShadowEvidence:
    (one,) = shadow_evidence(pairs)
    return one


def test_the_difference_is_that_of_the_losses_on_the_same_matches() -> None:
    truth, happened = worlds(400)
    worse = blurred(truth, 0.6)
    found = only(paired(worse, truth, happened))
    assert (found.matches, found.days) == (400, 40)
    assert found.challenger_log_loss == pytest.approx(log_loss(worse, happened).mean())
    assert found.champion_log_loss == pytest.approx(log_loss(truth, happened).mean())
    assert found.difference.mean == pytest.approx(found.challenger_log_loss - found.champion_log_loss)


def test_a_worse_challenger_is_refused() -> None:
    truth, happened = worlds(400)
    check = not_worse_in_shadow(only(paired(blurred(truth, 0.8), truth, happened)))
    assert check.name == NOT_WORSE_IN_SHADOW
    assert not check.passed
    assert check.reason.startswith("worse: log-loss against v1 on the same requests +0.")
    assert check.reason.endswith("n = 400")


def test_an_equal_challenger_passes() -> None:
    truth, happened = worlds(400)
    check = not_worse_in_shadow(only(paired(blurred(truth, 0.1, 1), blurred(truth, 0.1, 2), happened)))
    assert check.passed
    assert check.reason.startswith("not worse: ")


@pytest.mark.parametrize("dust", [0.0, 1e-12, 1e-9])
def test_rounding_is_no_evidence(dust: float) -> None:
    """A loss of 1e-12 on every match has an interval that excludes zero."""
    truth, happened = worlds(400)
    unlucky = np.eye(3)[(happened + 1) % 3]
    assert not_worse_in_shadow(only(paired((truth + dust * unlucky) / (1 + dust), truth, happened))).passed


def test_a_better_challenger_passes() -> None:
    truth, happened = worlds(400)
    assert not_worse_in_shadow(only(paired(truth, blurred(truth, 0.8), happened))).passed


def test_an_equal_challenger_is_refused_about_as_rarely_as_the_interval_says() -> None:
    """One in forty by the interval; percentile bootstrap of 20 days is a little narrow."""
    refused = 0
    for seed in range(200):
        truth, happened = worlds(100, seed)
        found = only(paired(blurred(truth, 0.4, 2 * seed), blurred(truth, 0.4, 2 * seed + 1), happened, a_day=5))
        refused += not not_worse_in_shadow(found).passed
    assert refused <= 15


def test_few_matches_refuse_nobody_and_the_reason_says_how_many_there_are() -> None:
    truth, happened = worlds(FEWEST_MATCHES)
    pairs = paired(blurred(truth, 2.0), truth, happened, a_day=5)
    assert not not_worse_in_shadow(only(pairs)).passed
    check = not_worse_in_shadow(only(pairs.iloc[:-1]))
    assert check.passed
    assert check.reason == "not enough evidence: 99 of 100 matches, 20 of 10 days beside the champion"


def test_few_days_refuse_nobody() -> None:
    truth, happened = worlds(1000)
    pairs = paired(blurred(truth, 2.0), truth, happened, a_day=1000 // FEWEST_DAYS)
    assert not not_worse_in_shadow(only(pairs)).passed
    assert not_worse_in_shadow(only(pairs[pairs["match_date"] > pairs["match_date"].min()])).passed
    one_day = only(pairs[pairs["match_date"] == pairs["match_date"].min()])
    assert math.isnan(one_day.difference.lo)
    assert one_day.verdict is Verdict.TOO_FEW


def test_a_challenger_that_never_stood_beside_the_champion_passes_and_the_reason_says_so() -> None:
    check = not_worse_in_shadow(None)
    assert check.passed
    assert check.reason == "not enough evidence: 0 of 100 matches, 0 of 10 days beside the champion"


def test_each_challenger_is_compared_with_each_champion_alone() -> None:
    truth, happened = worlds(300)
    pairs = paired(truth, blurred(truth, 0.3), happened)
    pairs["champion"] = np.where(np.arange(300) < 100, "v0", "v1")
    assert [(one.challenger, one.champion, one.matches) for one in shadow_evidence(pairs)] == [
        ("v2", "v0", 100),
        ("v2", "v1", 200),
    ]
    alone = only(pairs[pairs["champion"] == "v1"])
    assert alone in shadow_evidence(pairs)


def test_what_is_no_distribution_is_left_out() -> None:
    truth, happened = worlds(50)
    pairs = paired(truth, truth, happened)
    pairs.at[3, "challenger_probabilities"] = np.array([0.5, 0.5])
    pairs.at[4, "champion_probabilities"] = np.array([0.5, 0.5, 0.5])
    pairs.loc[5, "market"] = "corners"
    assert only(pairs).matches == 47
    assert shadow_evidence(pairs.iloc[:0]) == []


def test_the_table_for_people_says_that_nobody_saw_it() -> None:
    truth, happened = worlds(120)
    table = evidence_table(shadow_evidence(paired(truth, truth, happened)))
    assert tuple(table.columns) == EVIDENCE_COLUMNS
    assert table.iloc[0][["matches", "verdict", "seen_by"]].tolist() == [120, "not worse", "nobody"]
    assert tuple(evidence_table([]).columns) == EVIDENCE_COLUMNS
