"""Walk-forward evaluation by season: every forecast is made by a model that saw earlier seasons only.

Models and baselines are scored on the same matches, and compared in pairs with the market: the difference of each
match's loss, with a confidence interval from a bootstrap over calendar dates (matches of one day are not independent).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from betting_assets.betting.score import (
    brier,
    expected_calibration_error,
    log_loss,
    paired_difference,
    ranked_probability_score,
    simulated_ece_band,
)
from betting_assets.modelling.dataset import Dataset
from betting_assets.modelling.variants import VariantName, fit_variant

Floats = npt.NDArray[np.float64]
Progress = Callable[[str], None]

BASE_RATE, MARKET_PRE, MARKET_CLOSE = "base_rate", "market_pre", "market_close"
MODELS = (VariantName.FUNDAMENTALS, VariantName.FUNDAMENTALS_LINEAR, VariantName.MARKET_RESIDUAL)
WITH_BASELINE_MODELS = (*MODELS, VariantName.ODDS_AS_FEATURES)
FEWEST_TRAINING_ROWS = 300


class EvaluationError(ValueError):
    """These seasons cannot be tested with this data; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Forecasts:
    """Out-of-sample probabilities, one (n, k) array a forecaster, aligned with the rows of `dataset`.

    A row is NaN where the forecaster has none (no closing line).
    """

    dataset: Dataset
    probabilities: dict[str, Floats]


def walk_forward(
    dataset: Dataset,
    test_seasons: Sequence[str],
    variants: Sequence[VariantName] = MODELS,
    progress: Progress | None = None,
) -> Forecasts:
    """Forecast each test season with models fitted on what was known before its first odds were taken.

    Raises:
        EvaluationError: a test season is not in the data, or too little comes before it.
    """
    _check_seasons(dataset, test_seasons)
    ordered = [season for season in dataset.seasons if season in set(test_seasons)]
    tested = dataset.of_seasons(ordered)
    shape = tested.market_probabilities.shape
    forecasts = {name: np.full(shape, np.nan) for name in (BASE_RATE, *(variant.value for variant in variants))}
    for season in ordered:
        train, test = dataset.before_season(season), dataset.of_seasons([season])
        if len(train) < FEWEST_TRAINING_ROWS:
            raise EvaluationError(
                f"only {len(train)} usable matches come before test season {season}; "
                f"at least {FEWEST_TRAINING_ROWS} are needed: choose a later test season or add earlier data"
            )
        rows = (tested.frame["season"] == season).to_numpy()
        forecasts[BASE_RATE][rows] = np.bincount(train.outcomes, minlength=shape[1]) / len(train)
        for name in variants:
            forecasts[name.value][rows] = fit_variant(train, name).predict(test.frame)
            if progress:
                progress(f"{season} {name.value}")
    markets = {MARKET_PRE: tested.market_probabilities, MARKET_CLOSE: tested.closing_probabilities}
    return Forecasts(tested, {BASE_RATE: forecasts.pop(BASE_RATE), **markets, **forecasts})


def newest_testable(dataset: Dataset, n: int) -> list[str]:
    """The newest `n` seasons that enough usable matches come before.

    Raises:
        EvaluationError: there is none.
    """
    found = [s for s in dataset.seasons if len(dataset.before_season(s)) >= FEWEST_TRAINING_ROWS]
    if not found:
        raise EvaluationError(
            f"no season has {FEWEST_TRAINING_ROWS} matches with result and price before it (the data has "
            f"{len(dataset)} in season {', '.join(dataset.seasons) or 'none'}): add earlier seasons"
        )
    return found[-n:]


def score(forecasts: Forecasts, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Each forecaster's scores and its paired differences with both markets (negative: better than the market).

    Returns:
        By forecaster: n, n_dropped (by reason), log_loss, rps, brier, ece, ece_band [lo, hi], diff_vs_market_pre and
        diff_vs_market_close, each {log_loss, rps} of {mean, lo, hi, n}.
    """
    return {name: _score_one(forecasts, name, seed) for name in forecasts.probabilities}


def compare(forecasts: Forecasts, name: str, other: Floats, seed: int = 0) -> dict[str, dict[str, float]]:
    """Paired differences of `name` minus `other` (n, k) on the rows where both have a forecast."""
    mine, outcomes = forecasts.probabilities[name], forecasts.dataset.outcomes
    both = np.isfinite(mine).all(axis=1) & np.isfinite(other).all(axis=1)
    if not both.any():
        return {}
    dates, outcomes = forecasts.dataset.dates[both], outcomes[both]
    losses = {"log_loss": log_loss, "rps": ranked_probability_score}
    return {
        metric: _interval(paired_difference(loss(mine[both], outcomes), loss(other[both], outcomes), dates, seed=seed))
        for metric, loss in losses.items()
    }


def _score_one(forecasts: Forecasts, name: str, seed: int) -> dict[str, Any]:
    probabilities = forecasts.probabilities[name]
    there = np.isfinite(probabilities).all(axis=1)
    dropped = {**forecasts.dataset.dropped, "no_forecast": int((~there).sum())}
    if not there.any():
        return {"n": 0, "n_dropped": dropped}
    p, outcomes = probabilities[there], forecasts.dataset.outcomes[there]
    lo, hi = simulated_ece_band(p, seed=seed)
    return {
        "n": int(there.sum()),
        "n_dropped": dropped,
        "log_loss": float(log_loss(p, outcomes).mean()),
        "rps": float(ranked_probability_score(p, outcomes).mean()),
        "brier": float(brier(p, outcomes).mean()),
        "ece": expected_calibration_error(p, outcomes),
        "ece_band": [lo, hi],
        "diff_vs_market_pre": compare(forecasts, name, forecasts.probabilities[MARKET_PRE], seed),
        "diff_vs_market_close": compare(forecasts, name, forecasts.probabilities[MARKET_CLOSE], seed),
    }


def _interval(interval: Any) -> dict[str, float]:
    return {"mean": interval.mean, "lo": interval.lo, "hi": interval.hi, "n": interval.n}


def _check_seasons(dataset: Dataset, test_seasons: Sequence[str]) -> None:
    if not test_seasons:
        raise EvaluationError("no test season given")
    missing = [season for season in test_seasons if season not in dataset.seasons]
    if missing:
        raise EvaluationError(
            f"test season {', '.join(missing)} is not in the data; it has {', '.join(dataset.seasons) or 'no season'}"
        )
