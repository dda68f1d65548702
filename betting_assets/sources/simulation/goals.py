"""Goals after Dixon and Coles (1997), "Modelling Association Football Scores and Inefficiencies in the Football
Betting Market", and the exact probabilities of 1x2 and over/under 2.5 that follow from their score matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

MOST_GOALS = 10
"""The score matrix ends here and is normalized; goals above have a probability below 1e-5 at usual intensities."""

RHO = -0.08
"""Dependence of low scores; Dixon and Coles estimated about -0.1 for England."""

_GOALS = np.arange(MOST_GOALS + 1)
_FACTORIALS = np.cumprod(np.maximum(_GOALS, 1)).astype(np.float64)
_HOME, _AWAY = (grid.ravel() for grid in np.meshgrid(_GOALS, _GOALS, indexing="ij"))
_OUTCOMES = np.column_stack(
    [_HOME > _AWAY, _HOME == _AWAY, _HOME < _AWAY, _HOME + _AWAY > 2.5, _HOME + _AWAY < 2.5]
).astype(np.float64)


def score_matrix(home: Floats, away: Floats) -> Floats:
    """Probability of every score, (n, (MOST_GOALS + 1)²) with home goals slowest, from goal intensities (n,)."""
    matrix = _poisson(home)[:, :, None] * _poisson(away)[:, None, :]
    matrix[:, 0, 0] *= 1 - home * away * RHO
    matrix[:, 0, 1] *= 1 + home * RHO
    matrix[:, 1, 0] *= 1 + away * RHO
    matrix[:, 1, 1] *= 1 - RHO
    flat = matrix.reshape(len(home), -1)
    return np.asarray(flat / flat.sum(axis=1, keepdims=True))


def outcome_probabilities(matrix: Floats) -> Floats:
    """(n, 5): home, draw, away, over 2.5, under 2.5."""
    return np.asarray(matrix @ _OUTCOMES)


def draw_scores(matrix: Floats, rng: np.random.Generator) -> tuple[Counts, Counts]:
    """One score for every row of the matrix: home goals, away goals."""
    drawn = (np.cumsum(matrix, axis=1) < rng.random((len(matrix), 1))).sum(axis=1)
    drawn = np.minimum(drawn, len(_HOME) - 1)
    return _HOME[drawn], _AWAY[drawn]


def draw_statistics(goals: Counts, intensity: Floats, rng: np.random.Generator) -> dict[str, Counts]:
    """Shots, shots on target, corners and cards of one side; they follow its intensity, and every goal was a shot.

    Misses are negative binomial (Poisson with gamma intensity): real shot counts vary more than Poisson.
    """
    relative = intensity / 1.35
    on_target = goals + rng.poisson(3.1 * relative * rng.gamma(12.0, 1 / 12.0, len(goals)))
    shots = on_target + rng.poisson(8.2 * relative**0.5 * rng.gamma(10.0, 1 / 10.0, len(goals)))
    return {
        "shots": shots,
        "shots_on_target": on_target,
        "corners": rng.poisson(5.0 * relative**0.4),
        "yellow_cards": rng.poisson(1.75, len(goals)),
        "red_cards": rng.poisson(0.07, len(goals)),
    }


def _poisson(intensity: Floats) -> Floats:
    return np.asarray(np.exp(-intensity)[:, None] * intensity[:, None] ** _GOALS / _FACTORIALS)
