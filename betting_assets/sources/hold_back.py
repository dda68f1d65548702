"""Turns the newest played matches into upcoming ones, so that an input without fixtures has something to predict."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

import pandas as pd

from betting_assets.sources.batch import Batch
from betting_assets.sources.records import Phase


def upcoming(batch: Batch) -> list[str]:
    """Ids of the fixtures still to come: matches without a result, not older than the newest result of their league.

    An older match without a result was postponed or abandoned; it is no fixture.
    """
    played = batch.matches["match_id"].isin(batch.results["match_id"])
    newest = batch.matches["match_date"].where(played).groupby(batch.matches["league"]).transform("max")
    to_come = ~played & ~(batch.matches["match_date"] < newest)
    return batch.matches.loc[to_come, "match_id"].tolist()


def match_days_from_the_end(played: pd.DataFrame) -> pd.Series[int]:
    """For every match the number of match days that its league has after it, 0 for the last; index as given.

    A league's last match day is its last date. Each one before is a round: the dates, going back, on which no team
    plays a second time.
    """
    numbers: dict[int, int] = {}
    for _, league in played.groupby("league"):
        newest_first = league.sort_values("match_date", ascending=False)
        rows = zip(newest_first.index, *(newest_first[name] for name in ("match_date", "home", "away")), strict=True)
        day, seen = 0, set[str]()
        for position, (_, same_date) in enumerate(groupby(rows, key=itemgetter(1))):
            matches = list(same_date)
            teams = {team for match in matches for team in match[2:]}
            if position == 1 or seen & teams:
                day, seen = day + 1, set()
            seen |= teams
            numbers.update({match[0]: day for match in matches})
    return pd.Series(numbers, dtype="int64").reindex(played.index)


def hold_back_last_match_day(batch: Batch) -> tuple[Batch, list[str]]:
    """`hold_back_last_match_days` for one day."""
    return hold_back_last_match_days(batch, 1)


def hold_back_last_match_days(batch: Batch, days: int) -> tuple[Batch, list[str]]:
    """The batch as it stood before every league's last match days, and the ids of the matches of those days.

    These matches lose their result, statistics and closing books and become upcoming. Where the input has fixtures of
    its own, nothing is held back and the list is empty.
    """
    if days < 1:
        raise ValueError(f"days must be at least 1, got {days}")
    if batch.matches.empty or upcoming(batch):
        return batch, []
    played = batch.matches[batch.matches["match_id"].isin(batch.results["match_id"])]
    held = played.loc[match_days_from_the_end(played) < days, "match_id"].tolist()
    hidden = batch.books["match_id"].isin(held) & (batch.books["phase"] == Phase.CLOSE)
    without = Batch(
        batch.matches,
        batch.results[~batch.results["match_id"].isin(held)].reset_index(drop=True),
        batch.statistics[~batch.statistics["match_id"].isin(held)].reset_index(drop=True),
        batch.books[~hidden].reset_index(drop=True),
        batch.rejected,
        batch.warnings,
    )
    return without, held
