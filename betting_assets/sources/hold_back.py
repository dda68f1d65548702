"""Turns the newest played matches into upcoming ones, so that an input without fixtures has something to predict."""

from __future__ import annotations

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


def hold_back_last_match_day(batch: Batch) -> tuple[Batch, list[str]]:
    """The batch as it stood before every league's last match day, and the ids of the matches of that day.

    These matches lose their result, statistics and closing books and become upcoming. Where the input has fixtures of
    its own, nothing is held back and the list is empty.
    """
    if batch.matches.empty or upcoming(batch):
        return batch, []
    played = batch.matches[batch.matches["match_id"].isin(batch.results["match_id"])]
    last_day = played["match_date"] == played.groupby("league")["match_date"].transform("max")
    held = played.loc[last_day, "match_id"].tolist()
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
