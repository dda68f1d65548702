"""Matches and results as aligned arrays: the shared input of ratings and form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from betting_assets.betting.timeline import NEVER, Days

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

NO_TIME = NEVER
"""An unknown time in nanoseconds since 1970: the integer value of numpy's NaT as well."""

_DAY = 86_400_000_000_000


@dataclass(frozen=True)
class History:
    """One element a match, in the order of the frame `matches`.

    A team is a name within a rating pool, so that it keeps its strength when it changes league inside the pool. Teams
    and leagues are coded as integers from zero. Times are int64 nanoseconds since 1970 UTC, NO_TIME where unknown;
    days count from 1970, NEVER where nothing happens. Scores are NaN without a result.
    """

    home: Codes
    away: Codes
    league: Codes
    teams: int
    match_day: Days
    decision_day: Days
    result_day: Days
    known_at: NDArray[np.int64]
    home_score: Floats
    away_score: Floats


def history(matches: pd.DataFrame, results: pd.DataFrame, decided_at: pd.Series[pd.Timestamp]) -> History:
    """Align `results` and `decided_at` (UTC, index of `matches`) with `matches`.

    A result is learned on the last day that ends no later than its `known_at`. ValueError where a result belongs to
    no match or to one twice, or where a decision is dated after the result of its own match was known.
    """
    if not decided_at.index.equals(matches.index):
        raise ValueError("decided_at: must carry the index of matches; build it with matches[...].map or reindex it")
    known = align(matches, results, "results")
    home_score, away_score = (
        known[column].to_numpy(np.float64, na_value=np.nan) for column in ("home_score", "away_score")
    )
    decided, known_at = _nanoseconds(decided_at), _nanoseconds(known["known_at"])
    known_at = np.where(np.isnan(home_score + away_score), NO_TIME, known_at)
    late = np.flatnonzero((decided != NO_TIME) & (known_at != NO_TIME) & (known_at <= decided))
    if len(late):
        raise ValueError(
            f"decided_at: {len(late)} decisions lie after the result of their own match, "
            f"first {matches['match_id'].iloc[late[0]]}: decide before kick-off"
        )
    teams, number_of_teams = _codes(matches["rating_pool"], pd.concat([matches["home"], matches["away"]]))
    league, _ = _codes(matches["rating_pool"], matches["league"])
    return History(
        home=teams[: len(matches)],
        away=teams[len(matches) :],
        league=league,
        teams=number_of_teams,
        match_day=_whole_days(_nanoseconds(matches["match_date"])),
        decision_day=_whole_days(decided),
        # Known at midnight after the match date: learned at the end of the match date itself.
        result_day=np.where(known_at == NO_TIME, NEVER, -(-known_at // _DAY) - 1),
        known_at=known_at,
        home_score=home_score,
        away_score=away_score,
    )


def align(matches: pd.DataFrame, facts: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of `facts` in the order of `matches`, by match_id; all missing where a match has none."""
    identifiers = pd.Index(matches["match_id"])
    if identifiers.has_duplicates:
        raise ValueError(f"matches: match_id {identifiers[identifiers.duplicated()][0]} occurs more than once")
    keys = pd.Index(facts["match_id"])
    if keys.has_duplicates:
        raise ValueError(f"{name}: match_id {keys[keys.duplicated()][0]} occurs more than once")
    if len(stray := keys.difference(identifiers)):
        raise ValueError(f"{name}: {len(stray)} rows belong to no row of matches, first {stray[0]}")
    return facts.set_index("match_id").reindex(identifiers)


def timestamps(nanoseconds: NDArray[np.int64], index: pd.Index) -> pd.Series[pd.Timestamp]:
    """UTC timestamps of int64 nanoseconds, NaT for NO_TIME."""
    return pd.Series(pd.to_datetime(nanoseconds, utc=True), index=index)


def _codes(pools: pd.Series[str], names: pd.Series[str]) -> tuple[Codes, int]:
    """Codes of (pool, name); `names` may repeat the rows of `pools` several times over."""
    pool, _ = pd.factorize(np.tile(pools.to_numpy(object), len(names) // max(len(pools), 1)))
    name, uniques = pd.factorize(names.to_numpy(object))
    codes, pairs = pd.factorize(pool * max(len(uniques), 1) + name)
    return codes, len(pairs)


def _nanoseconds(times: pd.Series[pd.Timestamp]) -> NDArray[np.int64]:
    return pd.to_datetime(times, utc=True).dt.as_unit("ns").to_numpy("datetime64[ns]").astype(np.int64)


def _whole_days(nanoseconds: NDArray[np.int64]) -> Days:
    return np.where(nanoseconds == NO_TIME, NEVER, nanoseconds // _DAY)
