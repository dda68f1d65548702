"""Ratings of team strength as they stood when each match was decided: pi-ratings, Elo, Elo with margin of victory.

Pi: Constantinou and Fenton, "Determining the level of ability of football teams by dynamic ratings based on the
relative discrepancies in scores between adversaries", Journal of Quantitative Analysis in Sports 9(1), 2013. (The
"pi-rating" of penaltyblog is a simplification: linear instead of logarithmic in goals, and with another discount.)
Elo: The Rating of Chessplayers, 1978, with a home advantage; its margin variant weighs goals as eloratings.net does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from betting_assets.betting.history import NO_TIME, Codes, Floats, History, history, timestamps
from betting_assets.betting.timeline import NEVER, Rows, timeline

_PI_HOME, _PI_AWAY, _ELO, _ELO_MARGIN = range(4)

_COLUMNS = ("pi_home", "pi_away", "elo", "elo_margin")


@dataclass(frozen=True)
class PiParameters:
    """Parameters of the paper, with the values that it found for the English Premier League."""

    learning_rate: float = 0.035
    """λ: how far one match moves the rating of the venue it was played at."""
    carry_over: float = 0.7
    """γ: the share of that movement which the rating of the other venue follows."""
    base: float = 10.0
    """b: base of the logarithm that diminishes the value of large score differences."""
    scale: float = 3.0
    """c: rating points per factor b of goal difference."""


@dataclass(frozen=True)
class EloParameters:
    """Elo with 400 points a decade of odds. `k` points are at stake in a match, `k_margin` in the margin variant."""

    start: float = 1500.0
    k: float = 20.0
    k_margin: float = 16.0
    home_advantage: float = 65.0


@dataclass(frozen=True)
class NewcomerRule:
    """What a team new to its rating pool is taken for: the mean of the weakest `share` of the league that it enters.

    The league's teams are those whose last match, within `window` days, was in it, and which have `matches` behind
    them. With fewer than `teams` of those the league is itself new, and all start even.
    """

    share: float = 0.25
    window: int = 365
    matches: int = 10
    teams: int = 4


@dataclass(frozen=True)
class RatingParameters:
    pi: PiParameters = field(default_factory=PiParameters)
    elo: EloParameters = field(default_factory=EloParameters)
    newcomers: NewcomerRule = field(default_factory=NewcomerRule)


DEFAULTS = RatingParameters()


def team_ratings(
    matches: pd.DataFrame,
    results: pd.DataFrame,
    decided_at: pd.Series[pd.Timestamp],
    params: RatingParameters = DEFAULTS,
) -> pd.DataFrame:
    """Ratings of both teams of each match from the results known at `decided_at` (UTC, index of `matches`).

    One row a match, index of `matches`: match_id; home_/away_ × pi_home, pi_away, elo, elo_margin; pi_goal_difference
    (goals expected of the home team minus those of the away team, on the paper's scale); elo_difference and
    elo_margin_difference (home minus away, without home advantage); home_matches, away_matches (results so far);
    last_input_at (`known_at` of the newest result of either team, NaT without one). All ratings are NaN where
    `decided_at` is NaT. Raises ValueError on inconsistent input, see `history`.
    """
    known = history(matches, results, decided_at)
    state = _State(known, params)
    home, away = np.full((len(matches), 4), np.nan), np.full((len(matches), 4), np.nan)
    played = np.zeros((len(matches), 2), dtype=np.int64)
    newest = np.full(len(matches), NO_TIME)
    for day in timeline(known.decision_day, known.result_day):
        if len(rows := day.reads):
            home[rows] = state.ratings(known.home[rows], known.league[rows], day.day)
            away[rows] = state.ratings(known.away[rows], known.league[rows], day.day)
            played[rows, 0], played[rows, 1] = state.played[known.home[rows]], state.played[known.away[rows]]
            newest[rows] = np.maximum(state.newest[known.home[rows]], state.newest[known.away[rows]])
        if len(day.updates):
            state.learn(day.updates, day.day)
    columns: dict[str, object] = {"match_id": matches["match_id"]}
    columns |= {f"home_{name}": home[:, i] for i, name in enumerate(_COLUMNS)}
    columns |= {f"away_{name}": away[:, i] for i, name in enumerate(_COLUMNS)}
    return pd.DataFrame(columns, index=matches.index).assign(
        pi_goal_difference=pi_goal_difference(home[:, _PI_HOME], away[:, _PI_AWAY], params.pi),
        elo_difference=home[:, _ELO] - away[:, _ELO],
        elo_margin_difference=home[:, _ELO_MARGIN] - away[:, _ELO_MARGIN],
        home_matches=played[:, 0],
        away_matches=played[:, 1],
        last_input_at=timestamps(newest, matches.index),
    )


def pi_goal_difference(home_rating: Floats, away_rating: Floats, params: PiParameters) -> Floats:
    """Expected goal difference from the home team's home rating and the away team's away rating, elementwise."""
    return _expected_goals(home_rating, params) - _expected_goals(away_rating, params)


def pi_changes(home: Floats, away: Floats, goal_difference: Floats, params: PiParameters) -> tuple[Floats, Floats]:
    """Changes of (home, away) rating of the home and of the away team, (n, 2) each, from ratings (n, >= 2)."""
    error = goal_difference - pi_goal_difference(home[:, _PI_HOME], away[:, _PI_AWAY], params)
    surprise = np.sign(error) * params.scale * np.log1p(np.abs(error)) / np.log(params.base)
    step = params.learning_rate * surprise
    followed = params.carry_over * step
    return np.column_stack([step, followed]), np.column_stack([-followed, -step])


def elo_change(home: Floats, away: Floats, goal_difference: Floats, k: Floats | float, advantage: float) -> Floats:
    """Points that the away team hands to the home team."""
    expected = 1.0 / (1.0 + 10.0 ** ((away - home - advantage) / 400.0))
    return k * (0.5 * (np.sign(goal_difference) + 1.0) - expected)


def margin_weight(goal_difference: Floats) -> Floats:
    """Goal index of the World Football Elo Ratings: 1 up to one goal, 1.5 for two, (11 + n) / 8 for n >= 3."""
    goals = np.abs(goal_difference)
    return np.where(goals <= 1.0, 1.0, np.where(goals == 2.0, 1.5, (11.0 + goals) / 8.0))


def _expected_goals(rating: Floats, params: PiParameters) -> Floats:
    return np.sign(rating) * (params.base ** (np.abs(rating) / params.scale) - 1.0)


class _State:
    """What is known of every team so far."""

    def __init__(self, known: History, params: RatingParameters) -> None:
        self._known, self._params = known, params
        self._start = np.array([0.0, 0.0, params.elo.start, params.elo.start])
        self._ratings = np.tile(self._start, (known.teams, 1))
        self._league = np.full(known.teams, -1, dtype=np.intp)
        self._last_day = np.full(known.teams, NEVER)
        self.played = np.zeros(known.teams, dtype=np.int64)
        self.newest = np.full(known.teams, NO_TIME)

    def ratings(self, teams: Codes, leagues: Codes, day: int) -> Floats:
        """Ratings (n, 4) of teams about to play in `leagues`; a team without a result gets those of a newcomer."""
        ratings = self._ratings[teams]
        new = self.played[teams] == 0
        for league in np.unique(leagues[new]):
            ratings[new & (leagues == league)] = self._newcomer(league, day)
        return ratings

    def learn(self, rows: Rows, day: int) -> None:
        """All results of a day, each from the ratings at its beginning."""
        known, elo = self._known, self._params.elo
        home_teams, away_teams, leagues = known.home[rows], known.away[rows], known.league[rows]
        difference = known.home_score[rows] - known.away_score[rows]
        home, away = self.ratings(home_teams, leagues, day), self.ratings(away_teams, leagues, day)
        self._ratings[home_teams], self._ratings[away_teams] = home, away
        home_pi, away_pi = pi_changes(home, away, difference, self._params.pi)
        plain = elo_change(home[:, _ELO], away[:, _ELO], difference, elo.k, elo.home_advantage)
        k_margin = elo.k_margin * margin_weight(difference)
        margin = elo_change(home[:, _ELO_MARGIN], away[:, _ELO_MARGIN], difference, k_margin, elo.home_advantage)
        # add.at, not +=: a team with two matches on one day gets both changes.
        np.add.at(self._ratings, home_teams, np.column_stack([home_pi, plain, margin]))
        np.add.at(self._ratings, away_teams, np.column_stack([away_pi, -plain, -margin]))
        for teams in (home_teams, away_teams):
            np.add.at(self.played, teams, 1)
            np.maximum.at(self.newest, teams, known.known_at[rows])
            self._league[teams], self._last_day[teams] = leagues, day

    def _newcomer(self, league: int, day: int) -> Floats:
        rule = self._params.newcomers
        peers = (self._league == league) & (self._last_day >= day - rule.window) & (self.played >= rule.matches)
        ratings = self._ratings[peers]
        if len(ratings) < rule.teams:
            return self._start
        # By Elo; the others only break ties, so that the order of rows in the input cannot.
        weakest = np.lexsort(ratings.T[[_ELO_MARGIN, _PI_AWAY, _PI_HOME, _ELO]])
        return np.asarray(ratings[weakest[: max(1, round(rule.share * len(ratings)))]].mean(axis=0))
