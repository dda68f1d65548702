"""Settles logged predictions against results: those that are new, and those whose result was corrected since.

What was settled by which result can be read off the outcomes themselves (the selection that won, when it was known),
so nothing else has to be remembered, and a run that was killed is made good by the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from betting_assets.betting.score import brier, log_loss, ranked_probability_score
from betting_assets.modelling.markets import MARKETS, modelled_market
from betting_assets.modelling.performance import distributions, probability_matrix
from betting_assets.warehouse.bulk import UpsertCounts
from betting_assets.warehouse.outcomes import logged_by_match, read_logged, settled_by_match, write_outcomes
from betting_assets.warehouse.predictions import MadeAt

Frame = pd.DataFrame

CHUNK = 50_000
"""Rows of the log that are settled in one transaction, but for a match that has more of its own."""

OUTCOME_COLUMNS = ["prediction_id", "match_id", "market", "outcome", "settled_at", "log_loss", "rps", "brier"]
"""Of serving.prediction_outcome."""


@dataclass(frozen=True)
class Settled:
    """`outcomes` have OUTCOME_COLUMNS; `refused` counts by reason what cannot be settled."""

    outcomes: Frame
    refused: dict[str, int]


@dataclass(frozen=True)
class Settlement:
    """What a settlement came to.

    outcomes  how many predictions have an outcome now
    written   how many outcomes it added, corrected or withdrew
    waiting   how many predictions are of matches without a result
    refused   how many predictions of matches with a result cannot be settled, by reason
    """

    outcomes: int
    written: int
    waiting: int
    refused: dict[str, int]


@dataclass(frozen=True)
class Plan:
    """Which matches have something to settle.

    changed   rows of the log by match: its outcomes were settled by another result than the one it has now, or it has
              none any more
    open      rows without an outcome by match, where there is a result
    """

    changed: dict[str, int]
    open: dict[str, int]
    waiting: int
    settled: int


def settle_new(url: str, made_at: MadeAt, chunk: int = CHUNK) -> Settlement:
    """Settle what a settlement of the whole log would settle, reading only what is new; see `Settled` and `settle`."""
    todo = plan(settled_by_match(url), logged_by_match(url))
    outcomes, written, refused = todo.settled, 0, dict[str, int]()
    for matches, unsettled in ((todo.changed, False), (todo.open, True)):
        for part in _chunks(matches, chunk):
            counts, turned_down = _settle_matches(url, part, made_at, unsettled)
            outcomes += counts.inserted - counts.deleted
            written += counts.changed
            refused = {why: refused.get(why, 0) + turned_down.get(why, 0) for why in refused | turned_down}
    return Settlement(outcomes, written, todo.waiting, refused)


def settle(logged: Frame, made_at: MadeAt) -> Settled:
    """Score the predictions whose match has a result.

    Args:
        logged: as from `warehouse.outcomes.read_logged`.
        made_at: see `performance.time_column`.
    """
    frame = logged[logged["known_at"].notna()]
    refusals = {
        "market is not modelled": ~frame["market"].isin(list(MARKETS)),
        "probabilities are not a distribution over the market": ~distributions(frame["market"], frame["probabilities"]),
        "not made before the result was known": ~(frame[made_at] <= frame["known_at"]),
    }
    refused, usable = {}, pd.Series(True, index=frame.index)
    for reason, wrong in refusals.items():
        if count := int((usable & wrong).sum()):
            refused[reason] = count
        usable &= ~wrong
    parts = [_scored(part, str(name)) for name, part in frame[usable].groupby("market")]
    outcomes = pd.concat(parts).sort_index() if parts else frame.iloc[:0]
    named = outcomes.rename(columns={"known_at": "settled_at"}).reindex(columns=OUTCOME_COLUMNS)
    return Settled(named.reset_index(drop=True), refused)


def plan(settled: Frame, logged: Frame) -> Plan:
    """What there is to do.

    Args:
        settled: as from `warehouse.outcomes.settled_by_match`, read before `logged`.
        logged: as from `warehouse.outcomes.logged_by_match`.
    """
    rows = dict(zip(logged["match_id"], logged["n"].astype(int), strict=True))
    outcomes = settled.groupby("match_id")["n"].sum()
    has_result = logged["known_at"].notna()
    changed = _settled_otherwise(settled, logged[has_result])
    open_rows = logged["n"] - logged["match_id"].map(outcomes).fillna(0).astype(int)
    pending = logged[has_result & (open_rows > 0) & ~logged["match_id"].isin(list(changed))]
    return Plan(
        changed={match: rows[match] for match in sorted(changed) if match in rows},
        open=dict(zip(pending["match_id"], open_rows[pending.index].astype(int), strict=True)),
        waiting=int(logged.loc[~has_result, "n"].sum()),
        settled=int(outcomes.sum()),
    )


def _settled_otherwise(settled: Frame, results: Frame) -> set[str]:
    """Matches with an outcome that their result, if any, would not give."""
    known = results.set_index("match_id")[["home_score", "away_score", "known_at"]]
    frame = settled.join(known, on="match_id")
    # An outcome of a market that is not modelled any more compares with nothing.
    same = (frame["settled_at"] == frame["known_at"]) & (frame["outcome"] == _winners(frame))
    return set(frame.loc[~same, "match_id"])


def _winners(frame: Frame) -> pd.Series:
    """The selection that won, -1 where no result or no rule tells."""
    won = pd.Series(-1, index=frame.index, dtype=np.int64)
    for name, part in frame[frame["known_at"].notna()].groupby("market"):
        if name in MARKETS:
            won[part.index] = _outcome(part, str(name))
    return won


def _settle_matches(
    url: str, matches: Sequence[str], made_at: MadeAt, unsettled: bool
) -> tuple[UpsertCounts, dict[str, int]]:
    logged = read_logged(url, matches, unsettled=unsettled)
    settled = settle(logged, made_at)
    without = np.setdiff1d(logged["prediction_id"], settled.outcomes["prediction_id"])
    return write_outcomes(url, settled.outcomes, without.tolist()), settled.refused


def _chunks(rows: dict[str, int], most: int) -> Iterator[list[str]]:
    """The matches in order, in groups of at most so many rows."""
    group, size = list[str](), 0
    for match, n in rows.items():
        if group and size + n > most:
            yield group
            group, size = [], 0
        group.append(match)
        size += n
    if group:
        yield group


def _scored(frame: Frame, market: str) -> Frame:
    outcome = _outcome(frame, market)
    p = probability_matrix(frame)
    return frame.assign(
        outcome=outcome,
        log_loss=log_loss(p, outcome),
        rps=ranked_probability_score(p, outcome),
        brier=brier(p, outcome),
    )


def _outcome(frame: Frame, market: str) -> np.typing.NDArray[np.int64]:
    scores = frame[["home_score", "away_score"]].to_numpy(dtype=np.int64)
    return modelled_market(market).settle(scores[:, 0], scores[:, 1])
