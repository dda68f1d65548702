"""Proper scores, calibration, and how much of either is noise.

Forecasts are probabilities (n, k) whose rows sum to one; outcomes are the indices (n,) of what happened. Scores are
losses, lower is better, one value a match.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Outcomes = NDArray[np.int64]

_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Interval:
    """A mean over `n` matches with the bounds of its confidence interval."""

    mean: float
    lo: float
    hi: float
    n: int


def log_loss(probabilities: ArrayLike, outcomes: ArrayLike) -> Floats:
    """Logarithmic score in nats, (n,). A forecast of zero counts as 2.2e-16, as in scikit-learn."""
    p, y = _checked(probabilities, outcomes)
    return -np.log(np.maximum(p[np.arange(len(y)), y], _EPSILON))


def ranked_probability_score(probabilities: ArrayLike, outcomes: ArrayLike) -> Floats:
    """Score of Epstein (1969) for ordered outcomes (home, draw, away), divided by k - 1 so that it lies in [0, 1]."""
    p, y = _checked(probabilities, outcomes)
    errors = np.cumsum(p - _indicators(y, p.shape[1]), axis=1)[:, :-1]
    return np.asarray((errors**2).sum(axis=1) / (p.shape[1] - 1))


def brier(probabilities: ArrayLike, outcomes: ArrayLike) -> Floats:
    """Brier's (1950) original score: squared errors summed over all k outcomes, in [0, 2]."""
    p, y = _checked(probabilities, outcomes)
    return np.asarray(((p - _indicators(y, p.shape[1])) ** 2).sum(axis=1))


def expected_calibration_error(probabilities: ArrayLike, outcomes: ArrayLike, bins: int = 20) -> float:
    """Class-wise expected calibration error (Kull et al. 2019) over bins of equal width.

    Mean over outcomes of the weighted mean over bins of |frequency - mean forecast|.
    """
    p, y = _checked(probabilities, outcomes)
    cells = _Cells(p, bins)
    return float(cells.error(y))


def simulated_ece_band(
    probabilities: ArrayLike, n: int = 500, level: float = 0.95, seed: int = 0, bins: int = 20
) -> tuple[float, float]:
    """Range (lo, hi) of the calibration error that a perfectly calibrated forecaster would show.

    Outcomes are drawn `n` times from the forecasts themselves; an error above the band is more than noise.
    """
    p, _ = _checked(probabilities, np.zeros(len(np.asarray(probabilities)), dtype=np.int64))
    cells, rng = _Cells(p, bins), np.random.default_rng(seed)
    thresholds = np.ascontiguousarray(np.cumsum(p, axis=1)[:, :-1].T)
    errors = [cells.error((rng.random(len(p)) > thresholds).sum(axis=0)) for _ in range(n)]
    lo, hi = np.quantile(errors, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return float(lo), float(hi)


def reliability(probabilities: ArrayLike, outcomes: ArrayLike, bins: int = 20, level: float = 0.95) -> pd.DataFrame:
    """Reliability table: one row for each outcome and non-empty bin of equal width.

    outcome (index), mean_forecast, frequency, count, and lo/hi: the binomial band in which `level` of the frequencies
    of a calibrated forecaster would fall.
    """
    from scipy.stats import binom

    p, y = _checked(probabilities, outcomes)
    cells = _Cells(p, bins)
    filled = np.flatnonzero(cells.counts)
    count, forecast = cells.counts[filled], cells.forecasts[filled] / cells.counts[filled]
    return pd.DataFrame(
        {
            "outcome": filled // bins,
            "mean_forecast": forecast,
            "frequency": cells.happened(y)[filled] / count,
            "count": count,
            "lo": binom.ppf(0.5 - level / 2.0, count, forecast) / count,
            "hi": binom.ppf(0.5 + level / 2.0, count, forecast) / count,
        }
    )


def paired_difference(
    a: ArrayLike, b: ArrayLike, dates: ArrayLike, n: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Mean of a - b over the same matches, with a bootstrap interval over calendar dates; negative: a is better.

    Whole dates are drawn with replacement, because the matches of one day share their surprises. `dates` (n,) of any
    sortable type; with a single date there is no interval (NaN). ValueError on NaN or unequal lengths.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    days = np.asarray(dates)
    if difference.ndim != 1 or len(difference) == 0 or days.shape != difference.shape:
        raise ValueError(f"paired_difference: need (n >= 1,) scores and dates, got {difference.shape} and {days.shape}")
    if not np.isfinite(difference).all():
        row = int(np.flatnonzero(~np.isfinite(difference))[0])
        raise ValueError(f"paired_difference: row {row} has no score on one side: compare the same matches")
    _, block = np.unique(days, return_inverse=True)
    sums, counts = np.bincount(block, weights=difference), np.bincount(block)
    mean = float(difference.mean())
    if len(sums) == 1:
        return Interval(mean, float("nan"), float("nan"), len(difference))
    rng, means = np.random.default_rng(seed), np.empty(n)
    for i in range(n):
        drawn = rng.integers(len(sums), size=len(sums))
        means[i] = sums[drawn].sum() / counts[drawn].sum()
    lo, hi = np.quantile(means, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return Interval(mean, float(lo), float(hi), len(difference))


class _Cells:
    """Forecasts (n, k) sorted into cells: one for each outcome and bin of equal width, outcome by outcome."""

    def __init__(self, probabilities: Floats, bins: int) -> None:
        n, k = probabilities.shape
        bin_of = np.minimum((probabilities * bins).astype(np.intp), bins - 1)
        self._cell = (bin_of + bins * np.arange(k)).ravel()
        self._first = k * np.arange(n)
        self._size = bins * k
        self._pairs = n * k
        self.counts = np.bincount(self._cell, minlength=self._size)
        self.forecasts = np.bincount(self._cell, weights=probabilities.ravel(), minlength=self._size)

    def happened(self, outcomes: Outcomes) -> NDArray[np.int64]:
        """How often the forecast outcome came true, by cell."""
        return np.bincount(self._cell[self._first + outcomes], minlength=self._size)

    def error(self, outcomes: Outcomes) -> float:
        return float(np.abs(self.happened(outcomes) - self.forecasts).sum() / self._pairs)


def _indicators(outcomes: Outcomes, k: int) -> Floats:
    return np.asarray(outcomes[:, None] == np.arange(k), dtype=np.float64)


def _checked(probabilities: ArrayLike, outcomes: ArrayLike) -> tuple[Floats, Outcomes]:
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(outcomes)
    if p.ndim != 2 or p.shape[1] < 2 or y.shape != p.shape[:1]:
        raise ValueError(f"scores: need probabilities (n, k >= 2) and outcomes (n,), got {p.shape} and {y.shape}")
    wrong = ~((p >= 0.0).all(axis=1) & (np.abs(p.sum(axis=1) - 1.0) < 1e-6))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"scores: row {row} of the probabilities is no distribution: {p[row].tolist()}")
    if not np.isin(y, np.arange(p.shape[1])).all():
        raise ValueError(f"scores: outcomes must be indices from 0 to {p.shape[1] - 1}")
    return p, y.astype(np.int64)
