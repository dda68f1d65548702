"""Calibration: it repairs what is too sure, leaves alone what is not, and never changes a favourite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_tables import draw

from betting_assets.betting.score import expected_calibration_error, log_loss, simulated_ece_band
from betting_assets.modelling.calibration import Calibration, clearly_better, fit_calibration

N = 8000


def truth_and_outcomes(seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    truth = np.random.default_rng(seed).dirichlet([4.0, 2.5, 3.0], N)
    return truth, draw(truth, seed + 1)


@pytest.mark.parametrize("sharpness", [1.5, 0.75])
def test_a_forecaster_too_sure_or_too_shy_is_repaired(sharpness: float) -> None:
    truth, outcomes = truth_and_outcomes()
    wrong = np.log(truth**sharpness / (truth**sharpness).sum(axis=1, keepdims=True))
    calibration = fit_calibration(wrong, np.zeros_like(wrong), outcomes)
    new_truth, new_outcomes = truth_and_outcomes(50)
    new = np.log(new_truth**sharpness / (new_truth**sharpness).sum(axis=1, keepdims=True))
    repaired = calibration.apply(new, np.zeros_like(new))
    assert expected_calibration_error(np.exp(new), new_outcomes) > simulated_ece_band(np.exp(new))[1]
    assert log_loss(repaired, new_outcomes).mean() < log_loss(np.exp(new), new_outcomes).mean()
    assert np.abs(repaired - new_truth).mean() < 0.25 * np.abs(np.exp(new) - new_truth).mean()


@pytest.mark.parametrize("seed", range(3))
def test_a_calibrated_forecaster_is_nearly_left_alone(seed: int) -> None:
    truth, outcomes = truth_and_outcomes(seed)
    calibration = fit_calibration(np.log(truth), np.zeros_like(truth), outcomes)
    assert calibration.temperature == pytest.approx(1.0, abs=0.05)
    assert np.abs(calibration.apply(np.log(truth), np.zeros_like(truth)) - truth).max() < 0.02


def test_with_few_matches_it_stays_near_one() -> None:
    truth, _ = truth_and_outcomes()
    calibration = fit_calibration(np.log(truth[:20]), np.zeros((20, 3)), np.argmin(truth[:20], axis=1))
    assert calibration.temperature == pytest.approx(1.0, abs=0.25)


def test_trees_that_only_add_noise_are_shrunk() -> None:
    truth, outcomes = truth_and_outcomes()
    noise = np.random.default_rng(0).normal(0, 0.8, truth.shape)
    assert fit_calibration(np.log(truth), noise, outcomes).shrinkage < 0.4


@given(st.lists(st.floats(-20, 0), min_size=3, max_size=3), st.floats(0.5, 1.5))
def test_the_order_of_outcomes_is_never_changed(base: list[float], temperature: float) -> None:
    before = np.array([base])
    after = Calibration(temperature, 1.0).apply(before, np.zeros((1, 3)))[0]
    assert after.sum() == pytest.approx(1.0)
    for i in range(3):
        for j in range(3):
            assert base[i] <= base[j] or after[i] >= after[j]


def test_of_two_forecasts_that_cannot_be_told_apart_neither_is_clearly_better() -> None:
    truth, outcomes = truth_and_outcomes()
    assert not clearly_better(truth, truth, outcomes)
    assert clearly_better(truth, np.full_like(truth, 1 / 3), outcomes)
    assert not clearly_better(np.full_like(truth, 1 / 3), truth, outcomes)


def test_the_default_changes_nothing() -> None:
    truth, _ = truth_and_outcomes()
    assert Calibration().apply(np.log(truth), np.zeros_like(truth)) == pytest.approx(truth)
