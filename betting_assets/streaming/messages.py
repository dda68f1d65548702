"""The messages on the topics: JSON, strict, each with the version of its schema. Keyed by match.

A new field that has a default is the same version; any other change is a new version on a new topic.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from betting_assets.sources.records import LiveResult, Market, Name, Price, Record, Slug, Tick

MAX_BYTES = 65_536
"""A longer message is a dead letter."""

Text = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f]+$")]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Offset = Annotated[int, Field(ge=0, le=2**63 - 1)]


class OddsTick(Tick):
    """A message of odds.ticks.v1."""

    schema_version: Literal[1] = 1


class MatchResult(LiveResult):
    """A message of match.results.v1."""

    schema_version: Literal[1] = 1


class Excluded(Record):
    """A bookmaker's book that was left out of a prediction; `detail` is one line.

    Reasons: suspended, stale, crossed, incomplete, palpable_error, overround_high, overround_below_one.
    """

    bookmaker: Slug
    reason: Slug
    detail: Text


class Prediction(Record):
    """A message of predictions.v1: what the service says of one market of one match after a tick.

    Lists follow SELECTIONS[market]. `probabilities` are empty where no model answered; prices and edges are empty where
    nothing can be bet on, and `withheld` says why. A prediction speaks for every tick of its match and market up to
    `tick_offset`, and that offset makes `prediction_id`: a repeated publication has the same one.
    """

    schema_version: Literal[1] = 1
    prediction_id: Text
    match_id: Slug
    market: Market
    line: Finite
    probabilities: tuple[Probability, ...]
    fair_odds: tuple[Finite, ...]
    market_probabilities: tuple[Probability, ...]
    best_prices: tuple[Price, ...]
    best_bookmakers: tuple[Slug, ...]
    edges: tuple[Finite, ...]
    withheld: Slug | None = None
    withheld_detail: Text | None = None
    excluded: tuple[Excluded, ...] = ()
    variant: Slug | None = None
    model_version: Name | None = None
    bento: Name | None = None
    tick_epoch: Offset
    tick_partition: Offset
    tick_offset: Offset
    taken_at: AwareDatetime
    """Time of the newest tick that it speaks for, as the source told it."""
    scored_at: AwareDatetime


def prediction_id(match_id: str, market: str, epoch: int, partition: int, offset: int) -> str:
    """The same for every publication of a prediction that speaks for the same ticks."""
    return f"{match_id}/{market}/{epoch}.{partition}.{offset}"
