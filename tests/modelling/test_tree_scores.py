"""LightGBM's C interface is asked directly, and says what `Booster.predict` says."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from betting_assets.modelling.tree_scores import TreeScoreError, tree_scores

CLASSES, FEATURES = 3, 5


def trained(rounds: int = 30) -> lgb.Booster:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(500, FEATURES))
    values[rng.random(values.shape) < 0.1] = np.nan
    outcome = np.nan_to_num(values[:, 0] + values[:, 1] * 2).round().astype(int) % CLASSES
    parameters = {"objective": "multiclass", "num_class": CLASSES, "verbosity": -1, "num_threads": 1}
    return lgb.train(parameters, lgb.Dataset(values, outcome), num_boost_round=rounds)


@pytest.fixture(scope="module", params=["trained", "loaded"])
def booster(request: pytest.FixtureRequest) -> lgb.Booster:
    made = trained()
    return made if request.param == "trained" else lgb.Booster(model_str=made.model_to_string())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 70), missing=st.floats(0, 1))
def test_scores_equal_those_of_booster_predict_to_the_bit(
    booster: lgb.Booster, seed: int, rows: int, missing: float
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(scale=10.0, size=(rows, FEATURES))
    values[rng.random(values.shape) < missing] = np.nan
    expected = booster.predict(values, raw_score=True, num_threads=1)
    assert np.array_equal(tree_scores(booster, values, CLASSES), expected)
    assert np.array_equal(tree_scores(booster, np.asfortranarray(values), CLASSES), expected)


def test_the_best_iteration_counts_as_booster_predict_counts_it(booster: lgb.Booster) -> None:
    values = np.random.default_rng(1).normal(size=(4, FEATURES))
    before = booster.best_iteration
    try:
        booster.best_iteration = 7
        expected = booster.predict(values, raw_score=True, num_threads=1)
        assert np.array_equal(tree_scores(booster, values, CLASSES), expected)
    finally:
        booster.best_iteration = before


def test_a_wrong_number_of_features_is_said_before_memory_is_read(booster: lgb.Booster) -> None:
    with pytest.raises(TreeScoreError, match=r"number of features in data \(4\) is not the same"):
        tree_scores(booster, np.zeros((2, 4)), CLASSES)
