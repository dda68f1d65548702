"""Recent form of both teams as it stood when each match was decided: exponentially weighted means of what they did.

The weight of a match halves with every `half_life` further matches of the team (pandas' `ewm(adjust=True,
ignore_na=True)`, with all matches of one day counting as one step). A missing count leaves its mean unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from betting_assets.betting.history import NO_TIME, Codes, Floats, History, align, history, timestamps
from betting_assets.betting.timeline import NEVER, Rows, timeline

_MEANS = (
    "goals_for",
    "goals_against",
    "shots_for",
    "shots_against",
    "shots_on_target_for",
    "shots_on_target_against",
    "points",
)
_AT_HOME, _AWAY = len(_MEANS), len(_MEANS) + 1
_STATISTICS = ("home_shots", "away_shots", "home_shots_on_target", "away_shots_on_target")


@dataclass(frozen=True)
class FormParameters:
    """Half-lives in matches of the team."""

    short: float = 5.0
    long: float = 20.0


DEFAULTS = FormParameters()


def team_form(
    matches: pd.DataFrame,
    results: pd.DataFrame,
    statistics: pd.DataFrame,
    decided_at: pd.Series[pd.Timestamp],
    params: FormParameters = DEFAULTS,
) -> pd.DataFrame:
    """Form of both teams of each match from the results known at `decided_at` (UTC, index of `matches`).

    One row a match, index of `matches`: match_id; for each horizon (_short, _long) and side (home_, away_) the means
    a match of goals_for, goals_against, shots_for, shots_against, shots_on_target_for, shots_on_target_against and
    points; home_goal_difference_at_home and away_goal_difference_away (each team at the venue that it now plays at);
    shots_on_target_difference and points_difference (home minus away; shots on target net of those allowed);
    home_goals_product and away_goals_product (goals scored by the side × conceded by its opponent);
    then home_/away_days_since_match (since the last match with a known result) and last_input_at (`known_at` of the
    newest result of either team). NaN before a team's first match, and throughout where `decided_at` is NaT.
    Raises ValueError on inconsistent input, see `history`.
    """
    known = history(matches, results, decided_at)
    state = _State(known, align(matches, statistics, "statistics"), params)
    shape = (len(matches), 2, len(_MEANS) + 2)
    home, away = np.full(shape, np.nan), np.full(shape, np.nan)
    rest = np.full((len(matches), 2), np.nan)
    newest = np.full(len(matches), NO_TIME)
    for day in timeline(known.decision_day, known.result_day):
        if len(rows := day.reads):
            home[rows], away[rows] = state.means(known.home[rows]), state.means(known.away[rows])
            rest[rows, 0] = state.days_since_match(known.home[rows], known.match_day[rows])
            rest[rows, 1] = state.days_since_match(known.away[rows], known.match_day[rows])
            newest[rows] = np.maximum(state.newest[known.home[rows]], state.newest[known.away[rows]])
        if len(day.updates):
            state.learn(day.updates)
    columns: dict[str, object] = {"match_id": matches["match_id"]}
    for i, horizon in enumerate(("short", "long")):
        columns |= _columns(home[:, i], away[:, i], horizon)
    columns |= {"home_days_since_match": rest[:, 0], "away_days_since_match": rest[:, 1]}
    return pd.DataFrame(columns, index=matches.index).assign(last_input_at=timestamps(newest, matches.index))


def _columns(home: Floats, away: Floats, horizon: str) -> dict[str, Floats]:
    """Named columns of one horizon from the state (n, means) of both sides."""
    sides = {f"home_{name}": home[:, i] for i, name in enumerate(_MEANS)}
    sides |= {f"away_{name}": away[:, i] for i, name in enumerate(_MEANS)}
    net_home = sides["home_shots_on_target_for"] - sides["home_shots_on_target_against"]
    net_away = sides["away_shots_on_target_for"] - sides["away_shots_on_target_against"]
    sides |= {
        "home_goal_difference_at_home": home[:, _AT_HOME],
        "away_goal_difference_away": away[:, _AWAY],
        "shots_on_target_difference": net_home - net_away,
        "points_difference": sides["home_points"] - sides["away_points"],
        "home_goals_product": sides["home_goals_for"] * sides["away_goals_against"],
        "away_goals_product": sides["away_goals_for"] * sides["home_goals_against"],
    }
    return {f"{name}_{horizon}": values for name, values in sides.items()}


class _State:
    """Weighted sums and weights of every team so far, each (teams, 2 horizons, statistics)."""

    def __init__(self, known: History, statistics: pd.DataFrame, params: FormParameters) -> None:
        self._known = known
        self._home, self._away = _observations(known, statistics)
        self._decay = 0.5 ** (1.0 / np.array([params.short, params.long]))[None, :, None]
        self._sums = np.zeros((known.teams, 2, self._home.shape[1]))
        self._weights = np.zeros_like(self._sums)
        self._last_match = np.full(known.teams, NEVER)
        self.newest = np.full(known.teams, NO_TIME)

    def means(self, teams: Codes) -> Floats:
        """(n, 2, statistics), NaN where nothing was seen."""
        weights = self._weights[teams]
        return np.divide(self._sums[teams], weights, out=np.full_like(weights, np.nan), where=weights > 0.0)

    def days_since_match(self, teams: Codes, match_day: NDArray[np.int64]) -> Floats:
        last = self._last_match[teams]
        return np.where(last == NEVER, np.nan, (match_day - last).astype(np.float64))

    def learn(self, rows: Rows) -> None:
        """All results of a day, each team's matches as one step."""
        known = self._known
        teams = np.concatenate([known.home[rows], known.away[rows]])
        values = np.concatenate([self._home[rows], self._away[rows]])
        seen = np.isfinite(values)
        unique, position = np.unique(teams, return_inverse=True)
        counts, sums = np.zeros((len(unique), values.shape[1])), np.zeros((len(unique), values.shape[1]))
        np.add.at(counts, position, seen)
        np.add.at(sums, position, np.where(seen, values, 0.0))
        keep = np.where(counts[:, None, :] > 0.0, self._decay, 1.0)
        self._sums[unique] = self._sums[unique] * keep + sums[:, None, :]
        self._weights[unique] = self._weights[unique] * keep + counts[:, None, :]
        np.maximum.at(self._last_match, teams, np.tile(known.match_day[rows], 2))
        np.maximum.at(self.newest, teams, np.tile(known.known_at[rows], 2))


def _observations(known: History, statistics: pd.DataFrame) -> tuple[Floats, Floats]:
    """What home and away team did in each match, (n, statistics) each; NaN where unknown."""
    counts = statistics.reindex(columns=_STATISTICS).apply(pd.to_numeric).to_numpy(np.float64, na_value=np.nan)
    home_shots, away_shots, home_on_target, away_on_target = counts.T
    difference = known.home_score - known.away_score
    points = np.where(np.isnan(difference), np.nan, 3.0 * (difference > 0) + (difference == 0))
    conceded = np.where(np.isnan(difference), np.nan, 3.0 * (difference < 0) + (difference == 0))
    missing = np.full_like(difference, np.nan)
    goals, shots, on_target = (
        (known.home_score, known.away_score),
        (home_shots, away_shots),
        (home_on_target, away_on_target),
    )
    home = [*goals, *shots, *on_target, points, difference, missing]
    away = [*goals[::-1], *shots[::-1], *on_target[::-1], conceded, missing, -difference]
    return np.column_stack(home), np.column_stack(away)
