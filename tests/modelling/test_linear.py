"""The linear model: it recovers what is there, needs no value to be present, and survives being written down."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_tables import draw, softmax

from betting_assets.modelling.linear import LinearModel, fit_linear, log_softmax

FEATURES = ("strength", "form", "noise")
WEIGHTS = {
    3: np.array([[0.8, 0.0, -0.8], [0.3, -0.1, -0.2], [0.0, 0.0, 0.0]]),
    2: np.array([[0.5, -0.5], [-0.2, 0.2], [0.0, 0.0]]),
}


def world(classes: int, n: int = 8000, seed: int = 1) -> tuple[Any, Any, Any, Any]:
    """Values on scales of their own, leagues of which one has a higher first class, the truth, and outcomes."""
    rng = np.random.default_rng(seed)
    values = rng.normal([10.0, 0.0, -3.0], [2.0, 0.1, 5.0], (n, 3))
    leagues = rng.choice(np.array(["L1", "L2"], dtype=object), n)
    standardized = (values - [10.0, 0.0, -3.0]) / [2.0, 0.1, 5.0]
    scores = standardized @ WEIGHTS[classes] + 0.4 * (leagues == "L2")[:, None] * np.eye(classes)[0]
    truth = softmax(scores)
    return values, leagues, truth, draw(truth, seed + 1)


def fitted(classes: int, **options: Any) -> tuple[LinearModel, Any, Any, Any]:
    values, leagues, truth, outcomes = world(classes)
    return fit_linear(FEATURES, values, leagues, outcomes, classes, **options), values, leagues, truth


@pytest.mark.parametrize("classes", [2, 3])
def test_a_known_logistic_model_is_recovered(classes: int) -> None:
    model, values, leagues, truth = fitted(classes, inverse_penalty=1.0)
    forecast = np.exp(model.log_probabilities(values, leagues))
    assert forecast.shape == truth.shape
    assert forecast.sum(axis=1) == pytest.approx(1.0)
    assert np.abs(forecast - truth).mean() < 0.01


def test_two_outcomes_are_not_mirrored() -> None:
    model, values, leagues, truth = fitted(2, inverse_penalty=1.0)
    assert np.corrcoef(model.log_probabilities(values, leagues)[:, 0], truth[:, 0])[0, 1] > 0.95


@pytest.mark.parametrize("classes", [2, 3])
def test_what_was_written_down_predicts_the_same_to_the_bit(classes: int) -> None:
    model, values, leagues, _ = fitted(classes, trusted=("strength",))
    again = LinearModel.from_dict(json.loads(json.dumps(model.to_dict())))
    assert np.array_equal(again.log_probabilities(values, leagues), model.log_probabilities(values, leagues))


def test_a_missing_value_counts_as_the_mean() -> None:
    model, values, leagues, _ = fitted(3)
    missing, mean = values[:50].copy(), values[:50].copy()
    missing[:, 1], mean[:, 1] = np.nan, model.mean[1]
    expected = model.log_probabilities(mean, leagues[:50])
    assert model.log_probabilities(missing, leagues[:50]) == pytest.approx(expected, abs=1e-12)


def test_values_missing_in_training_do_not_shift_the_mean() -> None:
    values, leagues, _, outcomes = world(3)
    values[::3, 0] = np.nan
    model = fit_linear(FEATURES, values, leagues, outcomes, 3)
    assert model.mean[0] == pytest.approx(10.0, abs=0.1)
    assert np.isfinite(model.weights).all()


def test_a_feature_never_seen_or_constant_has_no_effect() -> None:
    values, leagues, _, outcomes = world(3)
    values[:, 1], values[:, 2] = np.nan, 4.0
    model = fit_linear(FEATURES, values, leagues, outcomes, 3)
    other = values.copy()
    other[:, 1] = 99.0
    assert np.array_equal(model.log_probabilities(values, leagues), model.log_probabilities(values.copy(), leagues))
    assert model.weights[1] == pytest.approx(0.0, abs=1e-9)
    assert np.isfinite(model.log_probabilities(other, leagues)).all()


def test_an_unknown_league_has_no_effect() -> None:
    model, values, leagues, _ = fitted(3, inverse_penalty=1.0)
    unknown = model.log_probabilities(values, np.full(len(values), "L9", dtype=object))
    expected = log_softmax((values - model.mean) / model.scale @ model.weights[:3] + model.bias)
    assert unknown == pytest.approx(expected)
    assert not np.allclose(unknown, model.log_probabilities(values, leagues))


def test_a_trusted_feature_is_shrunk_less() -> None:
    effects = {}
    for trusted in ((), ("strength",)):
        model, *_ = fitted(3, trusted=trusted)
        effects[trusted] = model.weights[0, 0] / model.scale[0] * 2.0
    assert 0.0 < effects[()] < 0.5 < effects["strength",] < 0.9


@pytest.mark.parametrize(("classes", "seen"), [(2, [1]), (3, [0, 2])])
def test_training_without_one_of_the_outcomes_is_refused_in_one_line(classes: int, seen: list[int]) -> None:
    values, leagues, _, _ = world(classes, n=90)
    with pytest.raises(ValueError, match=rf"outcomes \{seen} only; all {classes} outcomes are needed"):
        fit_linear(FEATURES, values, leagues, np.resize(seen, 90), classes)


@given(st.lists(st.lists(st.floats(-700, 700), min_size=3, max_size=3), min_size=1, max_size=5))
def test_log_softmax_is_a_distribution_whatever_the_scores(scores: list[list[float]]) -> None:
    log_p = log_softmax(np.array(scores))
    assert np.isfinite(log_p).all()
    assert np.exp(log_p).sum(axis=1) == pytest.approx(1.0)
