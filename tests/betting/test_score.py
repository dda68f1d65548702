"""Scores against public implementations, calibration against simulation, intervals against theory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betting_assets.betting.score import (
    brier,
    expected_calibration_error,
    log_loss,
    paired_difference,
    ranked_probability_score,
    reliability,
    simulated_ece_band,
)


def forecasts(n=2000, k=3, seed=0):
    """Probabilities and outcomes drawn from them: a perfectly calibrated forecaster."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([4.0, 2.5, 3.0][:k], n)
    return p, (rng.random(n)[:, None] > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1)


def overconfident(p, power=1.5):
    return p**power / (p**power).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("k", [2, 3])
def test_log_loss_is_that_of_scikit_learn(k):
    from sklearn.metrics import log_loss as reference

    p, y = forecasts(k=k)
    assert log_loss(p, y).mean() == pytest.approx(reference(y, p, labels=range(k)), rel=1e-12)


def test_an_impossible_forecast_costs_much_but_not_infinitely():
    assert log_loss([[1.0, 0.0]], [1])[0] == pytest.approx(-np.log(np.finfo(float).eps))


def test_ranked_probability_and_brier_scores_are_those_of_penaltyblog():
    from penaltyblog.metrics import multiclass_brier_score, rps_array

    p, y = forecasts()
    np.testing.assert_allclose(ranked_probability_score(p, y), rps_array(p, y), rtol=1e-12)
    assert brier(p, y).mean() == pytest.approx(multiclass_brier_score(p, y), rel=1e-12)


def test_ranked_probability_score_knows_that_a_draw_is_nearer_to_a_home_win_than_an_away_win():
    # Constantinou and Fenton (2012): of two equally wrong forecasts, the one that errs to the neighbour is better.
    near, far = ranked_probability_score([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [0, 0])
    assert (near, far) == (0.5, 1.0)


@pytest.mark.parametrize("score", [log_loss, ranked_probability_score, brier])
@given(
    truth=st.lists(st.floats(0.05, 1.0), min_size=3, max_size=3),
    lie=st.lists(st.floats(0.05, 1.0), min_size=3, max_size=3),
)
def test_a_score_is_proper_no_forecast_is_expected_to_beat_the_truth(score, truth, lie):
    p, q = (np.array(x) / np.sum(x) for x in (truth, lie))
    outcomes = np.arange(3)
    honest, dishonest = (score(np.tile(f, (3, 1)), outcomes) @ p for f in (p, q))
    assert honest <= dishonest + 1e-12


def test_calibration_error_by_its_definition():
    p, y = forecasts(500)
    total = 0.0
    for outcome in range(3):
        bins = np.minimum((p[:, outcome] * 10).astype(int), 9)
        for b in range(10):
            inside = bins == b
            if inside.any():
                gap = abs(p[inside, outcome].mean() - (y[inside] == outcome).mean())
                total += inside.mean() * gap / 3.0
    assert expected_calibration_error(p, y, bins=10) == pytest.approx(total)


def test_the_simulated_band_holds_a_calibrated_forecaster_and_not_an_overconfident_one():
    inside = 0
    for seed in range(20):
        p, y = forecasts(1500, seed=seed)
        lo, hi = simulated_ece_band(p, n=200, seed=seed)
        inside += lo <= expected_calibration_error(p, y) <= hi
    assert inside >= 16  # 95 % of 20, with room for chance: fewer than 16 come once in 2,500 times
    p, y = forecasts(1500)
    sure = overconfident(p)
    assert expected_calibration_error(sure, y) > simulated_ece_band(sure, n=200)[1]


def test_the_band_is_reproducible_and_narrows_with_more_matches():
    few, many = forecasts(500)[0], forecasts(8000)[0]
    assert simulated_ece_band(few, n=50, seed=7) == simulated_ece_band(few, n=50, seed=7)
    assert simulated_ece_band(many, n=50)[1] < simulated_ece_band(few, n=50)[0]


def test_reliability_counts_every_forecast_once_and_its_band_tells_calibrated_from_overconfident():
    p, y = forecasts(6000)
    table = reliability(p, y, bins=10)
    assert table.groupby("outcome")["count"].sum().tolist() == [6000] * 3
    weighted = (table["frequency"] * table["count"]).groupby(table["outcome"]).sum()
    np.testing.assert_allclose(weighted, np.bincount(y))
    assert (table["frequency"].between(table["lo"], table["hi"])).mean() > 0.8
    wrong = reliability(overconfident(p), y, bins=10)
    assert (wrong["frequency"].between(wrong["lo"], wrong["hi"])).mean() < 0.5


def test_a_paired_interval_agrees_with_theory_when_dates_are_independent():
    rng = np.random.default_rng(0)
    difference, dates = rng.normal(0.01, 1.0, 4000), np.arange(4000)
    interval = paired_difference(difference, np.zeros(4000), dates)
    assert interval.mean == pytest.approx(difference.mean())
    assert interval.n == 4000
    assert (interval.hi - interval.lo) == pytest.approx(2 * 1.96 * difference.std() / np.sqrt(4000), rel=0.08)


def test_a_paired_interval_widens_when_matches_of_one_day_share_their_luck():
    rng = np.random.default_rng(0)
    dates = np.repeat(np.arange("2020-01-01", "2020-07-19", dtype="datetime64[D]"), 20)
    difference = np.repeat(rng.normal(0.0, 1.0, 200), 20)
    shared = paired_difference(difference, np.zeros(4000), dates)
    alone = paired_difference(difference, np.zeros(4000), np.arange(4000))
    assert (shared.hi - shared.lo) / (alone.hi - alone.lo) == pytest.approx(np.sqrt(20), rel=0.15)


def test_a_paired_interval_weighs_matches_not_dates():
    # 100 dates with one match at 0 and 100 dates with nine matches at 1: the mean over matches is 0.9, over dates 0.5.
    dates = np.r_[np.arange(100), np.repeat(np.arange(100, 200), 9)]
    interval = paired_difference(np.repeat([0.0, 1.0], [100, 900]), np.zeros(1000), dates)
    assert interval.mean == pytest.approx(0.9)
    assert 0.8 < interval.lo < 0.9 < interval.hi < 1.0


def test_a_paired_interval_turns_its_sign_with_the_pair_and_vanishes_for_a_constant():
    rng = np.random.default_rng(1)
    a, b, dates = rng.random(300), rng.random(300), rng.integers(0, 40, 300)
    one, other = paired_difference(a, b, dates), paired_difference(b, a, dates)
    assert (one.mean, one.lo, one.hi) == pytest.approx((-other.mean, -other.hi, -other.lo))
    same = paired_difference(a + 0.25, a, dates)
    assert (same.lo, same.hi) == pytest.approx((0.25, 0.25))


def test_a_single_date_gives_a_mean_without_an_interval():
    interval = paired_difference([0.1, 0.3], [0.0, 0.0], ["2020-01-01", "2020-01-01"])
    assert interval.mean == pytest.approx(0.2)
    assert np.isnan([interval.lo, interval.hi]).all()


@pytest.mark.parametrize("score", [log_loss, ranked_probability_score, brier, expected_calibration_error, reliability])
@pytest.mark.parametrize(
    ("p", "y", "complaint"),
    [
        ([[0.5, 0.5], [0.7, 0.2]], [0, 1], "row 1 of the probabilities is no distribution"),
        ([[0.5, np.nan]], [0], "row 0"),
        ([[1.2, -0.2]], [0], "row 0"),
        ([[0.5, 0.5]], [2], "indices from 0 to 1"),
        ([[0.5, 0.5]], [0, 1], "need probabilities"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_clear_line(score, p, y, complaint):
    with pytest.raises(ValueError, match=complaint):
        score(p, y)


def test_a_comparison_on_different_matches_is_refused():
    with pytest.raises(ValueError, match="row 1 has no score on one side"):
        paired_difference([0.1, np.nan], [0.1, 0.2], [1, 2])
    with pytest.raises(ValueError, match="scores and dates"):
        paired_difference([0.1, 0.2], [0.1, 0.2], [1])
