"""Trees on top of a base: they add what the base does not know, and nothing where it knows all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_tables import draw

from betting_assets.betting.score import log_loss
from betting_assets.modelling.boosting import (
    Block,
    BoostingParams,
    fit_all,
    fit_folds,
    raw_scores,
    time_ordered_folds,
)
from betting_assets.modelling.calibration import Calibration

QUICK = BoostingParams(learning_rate=0.1, max_rounds=60, patience=10, min_data_in_leaf=50, feature_fraction=1.0)


def block(n: int, signal: float, seed: int = 3, classes: int = 3) -> tuple[Block, np.ndarray]:
    """A base, and the truth, which is higher for the first outcome where the first feature is positive."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 4))
    base = np.log(rng.dirichlet([6.0] * classes, n))
    moved = base + signal * (values[:, :1] > 0) * np.eye(classes)[0]
    truth = np.exp(moved) / np.exp(moved).sum(axis=1, keepdims=True)
    return Block(values, base, draw(truth, seed)), truth


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 3])
def test_no_round_is_boosted_when_the_base_is_the_truth(seed: int, classes: int) -> None:
    known, _ = block(3000, signal=0.0, seed=seed, classes=classes)
    folded = fit_folds(known, QUICK)
    assert folded.rounds == 0
    assert not folded.scores.any()
    assert fit_all(known, QUICK, folded.rounds) is None


def test_a_signal_beyond_the_base_is_found() -> None:
    known, _ = block(4000, signal=0.8)
    new, truth = block(4000, signal=0.8, seed=99)
    folded = fit_folds(known, QUICK)
    booster = fit_all(known, QUICK, folded.rounds)
    forecast = Calibration().apply(new.base, raw_scores(booster, new.values, 3))
    gained = log_loss(np.exp(new.base), new.outcomes).mean() - log_loss(forecast, new.outcomes).mean()
    possible = log_loss(np.exp(new.base), new.outcomes).mean() - log_loss(truth, new.outcomes).mean()
    assert folded.rounds > 0
    assert gained > 0.8 * possible > 0


def test_out_of_fold_scores_are_those_of_a_model_that_saw_earlier_rows_only() -> None:
    known, _ = block(2000, signal=1.5)
    shuffled = known.outcomes.copy()
    shuffled[1750:] = np.random.default_rng(0).permutation(shuffled[1750:])
    one_round = replace(QUICK, max_rounds=1, learning_rate=0.5)
    before, after = fit_folds(known, one_round), fit_folds(replace(known, outcomes=shuffled), one_round)
    assert before.rows.tolist() == list(range(1000, 2000))
    assert (before.rounds, after.rounds) == (1, 1)
    assert np.array_equal(before.scores, after.scores)


@given(st.integers(8, 3000), st.integers(2, 6))
def test_no_validation_row_comes_before_a_training_row(n: int, folds: int) -> None:
    parts = time_ordered_folds(n, folds)
    for train, valid in parts:
        assert train.sum() >= n // 2
        assert not (train & valid).any()
        assert np.flatnonzero(train).max() < np.flatnonzero(valid).min(initial=n)
    covered = np.sum([valid for _, valid in parts], axis=0)
    assert np.array_equal(covered, np.arange(n) >= n // 2)


def test_fitting_twice_gives_the_same_trees() -> None:
    known, _ = block(1500, signal=0.8)
    first, second = (fit_folds(known, QUICK) for _ in range(2))
    assert first.rounds == second.rounds
    assert np.array_equal(first.scores, second.scores)
    texts = [booster.model_to_string() for booster in (fit_all(known, QUICK, 20), fit_all(known, QUICK, 20)) if booster]
    assert texts[0] == texts[1]


def test_without_trees_nothing_is_added_to_the_base() -> None:
    assert not raw_scores(None, np.ones((4, 2)), 3).any()
