"""Two numbers, fitted out of fold: how much of the trees to believe, and how sure to be.

log p ∝ temperature · (base + shrinkage · trees). Temperature scaling is from Guo et al., "On Calibration of Modern
Neural Networks", 2017; the shrinkage is its twin for what was added to the base.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from betting_assets.betting.score import log_loss
from betting_assets.modelling.linear import log_softmax

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    temperature: float = 1.0
    shrinkage: float = 1.0

    def apply(self, base: Floats, trees: Floats) -> Floats:
        """Base log-probabilities (n, k) and tree scores (n, k) → probabilities (n, k)."""
        return np.asarray(np.exp(log_softmax(self.temperature * (base + self.shrinkage * trees))))


def fit_calibration(base: Floats, trees: Floats, outcomes: npt.NDArray[np.int64]) -> Calibration:
    """Minimize the out-of-fold log-loss, with a weak pull to (1, 1); changes nothing unless it is clearly better."""
    from scipy.optimize import minimize

    rows = np.arange(len(outcomes))

    def loss(parameters: Floats) -> float:
        temperature, shrinkage = parameters
        log_p = log_softmax(temperature * (base + shrinkage * trees))
        pull = 50.0 / len(outcomes) * ((temperature - 1.0) ** 2 + (shrinkage - 1.0) ** 2)
        return float(-log_p[rows, outcomes].mean() + pull)

    found = minimize(loss, np.array([1.0, 1.0]), method="L-BFGS-B", bounds=[(0.5, 1.5), (0.0, 1.5)])
    calibration = Calibration(float(found.x[0]), float(found.x[1]))
    before, after = Calibration().apply(base, trees), calibration.apply(base, trees)
    return calibration if clearly_better(after, before, outcomes) else Calibration()


def clearly_better(a: Floats, b: Floats, outcomes: npt.NDArray[np.int64]) -> bool:
    """Whether forecasts `a` (n, k) have a smaller log-loss than `b` by more than one standard error of the difference.

    The rule of Breiman et al., "Classification and Regression Trees", 1984: of two models that cannot be told apart,
    the simpler one.
    """
    gain = log_loss(b, outcomes) - log_loss(a, outcomes)
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))
