"""Regularized multinomial logistic regression: the challenger, and the base that LightGBM starts from.

scikit-learn fits it; what is kept are plain arrays, so that serving needs neither scikit-learn nor a pickle.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

TRUST = 8.0
"""How many times wider the prior of a trusted feature's weight is."""


@dataclass(frozen=True)
class LinearModel:
    """Standardizes, sets what is missing to the mean, adds one-hot leagues, and gives log-probabilities."""

    features: tuple[str, ...]
    leagues: tuple[str, ...]
    mean: Floats
    scale: Floats
    weights: Floats
    bias: Floats

    def log_probabilities(self, values: Floats, leagues: npt.NDArray[np.object_]) -> Floats:
        """values (n, features) with NaN for missing, leagues (n,) → log-probabilities (n, k), rows normalized."""
        design = _design(values, leagues, self.leagues, self.mean, self.scale)
        # Not a matrix product: BLAS sums in an order that depends on the number of rows, so that a row alone and the
        # same row in a batch would differ in their last bits.
        return log_softmax((design[:, :, None] * self.weights).sum(axis=1) + self.bias)

    def to_dict(self) -> dict[str, object]:
        return {
            "features": list(self.features),
            "leagues": list(self.leagues),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "weights": self.weights.tolist(),
            "bias": self.bias.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, list[object]]) -> LinearModel:
        arrays = {name: np.array(data[name], dtype=np.float64) for name in ("mean", "scale", "weights", "bias")}
        features, leagues = (tuple(str(x) for x in data[name]) for name in ("features", "leagues"))
        return cls(features, leagues, **arrays)


def fit_linear(
    features: tuple[str, ...],
    values: Floats,
    leagues: npt.NDArray[np.object_],
    outcomes: npt.NDArray[np.int64],
    classes: int,
    trusted: Collection[str] = (),
    inverse_penalty: float = 0.0002,
) -> LinearModel:
    """Fit by penalized maximum likelihood.

    Args:
        values: (n, features), NaN for missing.
        trusted: features whose weights are penalized TRUST² times less, because they sum up the others.
        inverse_penalty: scikit-learn's C; small, because the features are many views of the same strength.

    Raises:
        ValueError: an outcome never happens in the training rows.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    seen = np.unique(outcomes)
    if len(seen) != classes:
        raise ValueError(f"training rows hold outcomes {seen.tolist()} only; all {classes} outcomes are needed")
    observed = np.isfinite(values).any(axis=0)
    mean, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    mean[observed] = np.nanmean(values[:, observed], axis=0)
    spread = np.nanstd(values[:, observed], axis=0)
    scale[observed] = np.where(spread > 1e-9, spread, 1.0)
    scale[[name in trusted for name in features]] /= TRUST
    known = tuple(sorted({str(league) for league in leagues}))
    design = _design(values, leagues, known, mean, scale)
    with threadpool_limits(1):
        model = LogisticRegression(C=inverse_penalty, max_iter=500).fit(design, outcomes)
    weights, bias = _all_classes(model.coef_, model.intercept_)
    return LinearModel(features, known, mean, scale, weights, bias)


def log_softmax(scores: Floats) -> Floats:
    """Row-wise, stable: (n, k) → (n, k) with exp summing to 1."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _all_classes(coefficients: Floats, intercepts: Floats) -> tuple[Floats, Floats]:
    """scikit-learn's coefficients as (features, k) weights: binary fits have one row."""
    if len(coefficients) == 1:
        coefficients = np.vstack([-coefficients / 2, coefficients / 2])
        intercepts = np.array([-intercepts[0] / 2, intercepts[0] / 2])
    return coefficients.T, intercepts


def _design(
    values: Floats, leagues: npt.NDArray[np.object_], known: tuple[str, ...], mean: Floats, scale: Floats
) -> Floats:
    standardized = np.nan_to_num((values - mean) / scale, nan=0.0)
    one_hot = (leagues[:, None] == np.array(known, dtype=object)[None, :]).astype(np.float64)
    return np.hstack([standardized, one_hot])
