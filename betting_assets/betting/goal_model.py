"""Goals expected of both teams of each match, from attack and defence strengths that are filtered through time.

Log goal intensities are league level + own attack - the other's defence, as in Maher, "Modelling association football
scores", Statistica Neerlandica 36, 1982. Strengths wander; each result corrects them by its information, as in the
dynamic generalized linear models of West, Harrison and Migon, JASA 80, 1985, here with a diagonal covariance. What is
learned from is a mix of goals and shots on target, which say more of a team than its few goals do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from betting_assets.betting.history import Codes, Floats, History, align, history
from betting_assets.betting.ratings import NewcomerRule
from betting_assets.betting.timeline import NEVER, Rows, timeline

_ATTACK, _DEFENCE = 0, 1
_HOME, _AWAY = 0, 1
_STATISTICS = ("home_shots_on_target", "away_shots_on_target")

COLUMNS = ("goal_model_home", "goal_model_away", "goal_model_log_ratio", "goal_model_mismatch")


@dataclass(frozen=True)
class GoalParameters:
    """Variances are of log goal intensities."""

    goal_weight: float = 0.3
    """Share of goals in what is learned from; the rest are shots on target, scaled to goals."""
    prior_variance: float = 0.05
    """Of a newcomer's attack and defence; no strength is ever less certain."""
    drift: float = 1e-5
    """Variance that a strength, or the level of a league, gains a day."""
    goals: float = 1.35
    """Goals a side, where nothing is known of a league."""
    shots_a_goal: float = 3.3
    """Shots on target for each goal, where nothing is known of a league."""
    shots_memory: float = 0.002
    """Weight of the newest match in a league's shots on target for each goal."""
    newcomers: NewcomerRule = field(default_factory=NewcomerRule)


DEFAULTS = GoalParameters()


def goal_forecasts(
    matches: pd.DataFrame,
    results: pd.DataFrame,
    statistics: pd.DataFrame,
    decided_at: pd.Series[pd.Timestamp],
    params: GoalParameters = DEFAULTS,
) -> pd.DataFrame:
    """Goals expected in each match from the results known at `decided_at` (UTC, index of `matches`).

    One row a match, index of `matches`: match_id and COLUMNS: goals expected of the home and of the away team, the
    natural log of their ratio, and its absolute value (more goals are scored between unequal teams than their
    strengths alone explain). NaN where `decided_at` is NaT. Raises ValueError on inconsistent input, see `history`.
    """
    known = history(matches, results, decided_at)
    state = _State(known, align(matches, statistics, "statistics"), params)
    expected = np.full((len(matches), 2), np.nan)
    for day in timeline(known.decision_day, known.result_day):
        if len(day.reads):
            expected[day.reads] = state.intensities(day.reads, day.day)
        if len(day.updates):
            state.learn(day.updates, day.day)
    log_ratio = np.log(expected[:, _HOME]) - np.log(expected[:, _AWAY])
    values = np.column_stack([expected, log_ratio, np.abs(log_ratio)])
    return pd.DataFrame(values, columns=list(COLUMNS), index=matches.index).assign(match_id=matches["match_id"])


class _State:
    """Mean and variance of every strength (teams, attack and defence) and league level (leagues, home and away)."""

    def __init__(self, known: History, statistics: pd.DataFrame, params: GoalParameters) -> None:
        shots = statistics.reindex(columns=_STATISTICS).apply(pd.to_numeric)
        leagues = int(known.league.max(initial=-1)) + 1
        self._known, self._params = known, params
        self._goals = np.column_stack([known.home_score, known.away_score])
        self._shots = shots.to_numpy(np.float64, na_value=np.nan)
        self._strength = _Filter((known.teams, 2), 0.0, params.prior_variance, params.drift)
        self._level = _Filter((leagues, 2), float(np.log(params.goals)), params.prior_variance, params.drift)
        self._shots_a_goal = np.full(leagues, params.shots_a_goal)
        self._league = np.full(known.teams, -1, dtype=np.intp)
        self._played = np.zeros(known.teams, dtype=np.int64)

    def intensities(self, rows: Rows, day: int) -> Floats:
        """Goals expected of (home, away), (n, 2)."""
        home, away = self._strengths(rows, day)
        return self._intensities(home, away, self._known.league[rows])

    def learn(self, rows: Rows, day: int) -> None:
        """All results of a day, each from the state at its beginning."""
        known = self._known
        home, away, league = known.home[rows], known.away[rows], known.league[rows]
        of_home, of_away = self._strengths(rows, day)
        self._strength.mean[home], self._strength.mean[away] = of_home, of_away
        teams = np.concatenate([home, away])
        self._strength.wait(teams, day)
        self._level.wait(league, day)
        expected = self._intensities(of_home, of_away, league)
        observed, noise = self._observed(rows, league)
        surprise, noise = observed / expected - 1.0, noise / expected
        variance = self._strength.variance
        attack, defence = variance[:, _ATTACK], variance[:, _DEFENCE]
        level = self._level.variance[league]
        for side, (own, other) in enumerate(((home, away), (away, home))):
            error, own_noise = surprise[:, side], noise[:, side]
            others = own_noise + level[:, side]
            self._strength.add(own, _ATTACK, error, others + defence[other])
            self._strength.add(other, _DEFENCE, -error, others + attack[own])
            self._level.add(league, side, error, own_noise + attack[own] + defence[other])
        self._strength.correct()
        self._level.correct()
        self._league[teams] = np.tile(league, 2)
        np.add.at(self._played, teams, 1)

    def _intensities(self, home: Floats, away: Floats, league: Codes) -> Floats:
        level = self._level.mean[league]
        duel = [home[:, _ATTACK] - away[:, _DEFENCE], away[:, _ATTACK] - home[:, _DEFENCE]]
        return np.asarray(np.exp(level + np.column_stack(duel)))

    def _observed(self, rows: Rows, league: Codes) -> tuple[Floats, Floats]:
        """The mix of goals and scaled shots on target (n, 2), and its variance a goal expected; goals alone without."""
        goals, shots, w = self._goals[rows], self._shots[rows], self._params.goal_weight
        ratio = self._shots_a_goal[league][:, None]
        mixed = w * goals + (1.0 - w) * shots / ratio
        # Every goal is a shot on target: Var = w² + (1-w)²/r + 2w(1-w)/r.
        noise = np.where(np.isnan(shots), 1.0, w**2 + (1.0 - w**2) / ratio)
        both = ~np.isnan(shots).any(axis=1)
        memory = self._params.shots_memory
        step = memory * (shots[both].mean(axis=1) - ratio[both, 0] * goals[both].mean(axis=1)) / self._params.goals
        np.add.at(self._shots_a_goal, league[both], step)
        return np.where(np.isnan(shots), goals, mixed), noise

    def _strengths(self, rows: Rows, day: int) -> tuple[Floats, Floats]:
        """Attack and defence (n, 2) of home and away teams; a team without a result gets those of a newcomer."""
        known = self._known
        sides = []
        for teams in (known.home[rows], known.away[rows]):
            strengths, leagues = self._strength.mean[teams], known.league[rows]
            new = self._played[teams] == 0
            for league in np.unique(leagues[new]):
                strengths[new & (leagues == league)] = self._newcomer(league, day)
            sides.append(strengths)
        return sides[0], sides[1]

    def _newcomer(self, league: int, day: int) -> Floats:
        rule = self._params.newcomers
        recent = self._strength.last_day >= day - rule.window
        peers = self._strength.mean[(self._league == league) & recent & (self._played >= rule.matches)]
        if len(peers) < rule.teams:
            return np.zeros(2)
        # By the sum; attack only breaks ties, so that the order of rows in the input cannot.
        weakest = np.lexsort((peers[:, _ATTACK], peers.sum(axis=1)))
        return np.asarray(peers[weakest[: max(1, round(rule.share * len(peers)))]].mean(axis=0))


class _Filter:
    """Independent normal states (n, 2) that wander; corrections of a day are summed, then made at once."""

    def __init__(self, shape: tuple[int, int], mean: float, variance: float, drift: float) -> None:
        self.mean, self.variance = np.full(shape, mean), np.full(shape, variance)
        self.last_day: NDArray[np.int64] = np.full(shape[0], NEVER)
        self._most, self._drift = variance, drift
        self._information, self._push = np.zeros(shape), np.zeros(shape)

    def wait(self, rows: Codes, day: int) -> None:
        """Let the variance of `rows` grow up to `day`."""
        rows = np.unique(rows)
        seen = self.last_day[rows] != NEVER
        days = np.where(seen, day - np.where(seen, self.last_day[rows], day), 0)
        self.variance[rows] = np.minimum(self.variance[rows] + self._drift * days[:, None], self._most)
        self.last_day[rows] = day

    def add(self, rows: Codes, column: int, error: Floats, noise: Floats) -> None:
        """An observation of each of `rows` (repeats are allowed): its error and the variance that is not its own."""
        np.add.at(self._information[:, column], rows, 1.0 / noise)
        np.add.at(self._push[:, column], rows, error / noise)

    def correct(self) -> None:
        changed = np.flatnonzero(self._information.any(axis=1))
        self.variance[changed] = 1.0 / (1.0 / self.variance[changed] + self._information[changed])
        self.mean[changed] += self.variance[changed] * self._push[changed]
        self._information[changed] = self._push[changed] = 0.0
