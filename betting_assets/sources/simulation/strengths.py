"""Latent attack and defence of every team: a slow AR(1) in log goal intensity, one step a match week."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPREAD = 0.27
"""Standard deviation of attack and of defence in log goals between the teams of a league."""

QUALITY = 0.6
"""Correlation of a team's attack and defence: good teams are good at both."""

PERSISTENCE = 0.9995
"""Per match week. Within a season a strength moves by a fifth of SPREAD, slowly enough for ratings to follow."""

_PROMOTED = (-0.6, 0.3)
"""Mean and deviation of a promoted team's strengths, in SPREADs."""


@dataclass
class Strengths:
    """State of all leagues: `values` (leagues, clubs, 2) holds attack and defence, `order` (leagues, clubs) the clubs.

    The first `teams` clubs of `order` play; the others wait below. All clubs keep drifting.
    """

    values: Floats
    order: NDArray[np.intp]
    teams: int

    @classmethod
    def start(cls, leagues: int, teams: int, waiting: int, rng: np.random.Generator) -> Strengths:
        clubs = teams + waiting
        order = np.tile(np.arange(clubs), (leagues, 1))
        return cls(np.asarray(SPREAD * _correlated((leagues, clubs), rng)), order, teams)

    def season(self, rounds: int, rng: np.random.Generator) -> Floats:
        """Strengths in each of the next rounds, (rounds, leagues, clubs, 2)."""
        scale = SPREAD * math.sqrt(1 - PERSISTENCE**2)
        innovations = scale * _correlated((rounds, *self.values.shape[:2]), rng)
        path = np.empty_like(innovations)
        for number in range(rounds):
            self.values = PERSISTENCE * self.values + innovations[number]
            path[number] = self.values
        return path

    def replace(self, points: Floats, count: int, rng: np.random.Generator) -> None:
        """The `count` clubs with fewest points (leagues, teams; as in `order`) change places with waiting ones."""
        for league, table in enumerate(points):
            last = np.argsort(table, kind="stable")[:count]
            promoted = self.order[league, self.teams : self.teams + count].copy()
            relegated = self.order[league, last]
            waiting = np.concatenate([self.order[league, self.teams + count :], relegated])
            self.order[league, last] = promoted
            self.order[league, self.teams :] = waiting
            mean, deviation = _PROMOTED
            self.values[league, promoted] = SPREAD * (mean + deviation * _correlated((count,), rng))


def _correlated(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Standard normal pairs (*shape, 2) with correlation QUALITY."""
    own, common = rng.normal(size=(*shape, 2)), rng.normal(size=(*shape, 1))
    return math.sqrt(QUALITY) * common + math.sqrt(1 - QUALITY) * own
