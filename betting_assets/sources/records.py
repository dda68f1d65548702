"""The canonical records: what every source yields and everything behind the border may rely on.

All prices are decimal odds, all times are UTC. Nothing here assumes football or three outcomes: a market names its
own selections, a result holds two scores, and statistics that only football has stay in a record of their own.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

MAX_PRICE = 1001.0
"""The highest price any exchange quotes; above it a number is an error of the feed."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$")]
Slug = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[a-z0-9_.-]+$")]
Price = Annotated[float, Field(gt=1.0, le=MAX_PRICE, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=200)]


class Market(StrEnum):
    """Markets known from the first day; `SELECTIONS` gives the outcomes of each, in their fixed order."""

    MATCH_RESULT = "1x2"
    OVER_UNDER = "over_under"
    ASIAN_HANDICAP = "asian_handicap"


SELECTIONS: dict[Market, tuple[str, ...]] = {
    Market.MATCH_RESULT: ("home", "draw", "away"),
    Market.OVER_UNDER: ("over", "under"),
    Market.ASIAN_HANDICAP: ("home", "away"),
}


class Phase(StrEnum):
    """When a price was taken: while one can still bet on it, or the last one before the start (closing line)."""

    PRE_CLOSE = "pre_close"
    CLOSE = "close"


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Match(Record):
    """A fixture. `rating_pool` names the leagues whose teams' ratings are comparable (one country's pyramid)."""

    match_id: Slug
    sport: Slug
    league: Name
    season: Name
    rating_pool: Name
    match_date: dt.date
    kickoff: AwareDatetime | None
    home: Name
    away: Name

    @model_validator(mode="after")
    def _two_different_sides(self) -> Match:
        if self.home == self.away:
            raise ValueError(f"home and away are the same team: {self.home}")
        return self


class Result(Record):
    """The final score. `known_at` is the first moment at which a feature may use it: midnight after the match date."""

    match_id: Slug
    home_score: Count
    away_score: Count
    known_at: AwareDatetime


class FootballStatistics(Record):
    """Counts that football sources add to a result; missing ones (awarded matches) stay None, never zero."""

    match_id: Slug
    home_shots: Count | None = None
    away_shots: Count | None = None
    home_shots_on_target: Count | None = None
    away_shots_on_target: Count | None = None
    home_corners: Count | None = None
    away_corners: Count | None = None
    home_yellow_cards: Count | None = None
    away_yellow_cards: Count | None = None
    home_red_cards: Count | None = None
    away_red_cards: Count | None = None


class Quote(Record):
    """One price for one selection of one line of one market by one bookmaker at one time."""

    match_id: Slug
    bookmaker: Slug
    market: Market
    line: float
    selection: Slug
    phase: Phase
    price: Price
    taken_at: AwareDatetime


class Book(Record):
    """All quotes of one bookmaker for one line at one time: the unit in which a margin exists, and is stored.

    `prices` follow SELECTIONS[market]; a selection without a usable price is None. `flag` says why a complete book
    should not be trusted (`overround_high`, `overround_below_one`, `incomplete`); flagged books are kept.
    """

    match_id: Slug
    bookmaker: Slug
    market: Market
    line: float
    phase: Phase
    prices: tuple[Price | None, ...]
    taken_at: AwareDatetime
    flag: Slug | None = None

    @model_validator(mode="after")
    def _one_price_a_selection(self) -> Book:
        if len(self.prices) != len(SELECTIONS[self.market]):
            raise ValueError(
                f"{self.market} has {len(SELECTIONS[self.market])} selections, got {len(self.prices)} prices"
            )
        return self

    def quotes(self) -> list[Quote]:
        """The single quotes of this book, one for each selection with a price."""
        shared = self.model_dump(include={"match_id", "bookmaker", "line", "taken_at"})
        return [
            Quote(**shared, market=self.market, phase=self.phase, selection=selection, price=price)
            for selection, price in zip(SELECTIONS[self.market], self.prices, strict=True)
            if price is not None
        ]


Sequence = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""Numbers what one source says about one thing; of two sayings of one time the higher number is the later."""


class Trading(StrEnum):
    """Whether bets are taken on a line of a market."""

    OPEN = "open"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class Fixture(Record):
    """What a stream tells of a match that the platform may not know yet; all of it but the id, see `Match`."""

    sport: Slug
    league: Name
    season: Name
    home: Name
    away: Name
    match_date: dt.date
    kickoff: AwareDatetime | None


class Tick(Record):
    """One bookmaker's whole book of one line of one market at one moment, as a stream tells it.

    `prices` follow SELECTIONS[market]; None where a selection has no price. `lay` are the prices at which an exchange
    takes bets against a selection; None for bookmakers. `taken_at` and then `sequence` order the ticks of one book.
    """

    match_id: Slug
    bookmaker: Slug
    market: Market
    line: Annotated[float, Field(ge=-100, le=500, allow_inf_nan=False)]
    prices: Annotated[tuple[Price | None, ...], Field(max_length=3)]
    lay: Annotated[tuple[Price | None, ...], Field(max_length=3)] | None = None
    trading: Trading = Trading.OPEN
    in_play: bool = False
    taken_at: AwareDatetime
    sequence: Sequence
    source: Slug
    fixture: Fixture | None = None

    @model_validator(mode="after")
    def _one_price_a_selection(self) -> Tick:
        n = len(SELECTIONS[self.market])
        if len(self.prices) != n or (self.lay is not None and len(self.lay) != n):
            raise ValueError(f"{self.market} has {n} selections: give {n} prices, null where there is none")
        if self.trading is Trading.OPEN and all(price is None for price in self.prices):
            raise ValueError("an open book has at least one price")
        return self


class ResultStatus(StrEnum):
    """`void`: abandoned or annulled, there is no score that bets are settled by."""

    FINAL = "final"
    VOID = "void"


class LiveResult(Record):
    """A result as a stream tells it; a later one (`finished_at`, `sequence`) of the same match corrects it."""

    match_id: Slug
    status: ResultStatus = ResultStatus.FINAL
    home_score: Count | None
    away_score: Count | None
    statistics: dict[Slug, Count] = Field(default_factory=dict, max_length=40)
    """Columns of FootballStatistics by name; missing ones are unknown."""
    finished_at: AwareDatetime
    sequence: Sequence
    source: Slug
    fixture: Fixture | None = None

    @model_validator(mode="after")
    def _a_final_result_has_a_score(self) -> LiveResult:
        if (self.home_score is None or self.away_score is None) != (self.status is ResultStatus.VOID):
            raise ValueError("a final result has both scores, a void one has none")
        return self


class Rejected(Record):
    """A row that could not be used: where it stands, why, and what it said (cut to 500 characters)."""

    file: str
    line: int
    reason: str
    content: str


def slug(text: str) -> str:
    """Lower-case ASCII with single dashes, for keys: 'King’s Lynn' → 'kings-lynn'."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower().replace("'", "")).strip("-")


def match_id(league: str, match_date: dt.date, home: str, away: str) -> str:
    """Deterministic key of a fixture; the date belongs to it, because a pairing can meet four times a season."""
    return f"{slug(league)}_{match_date:%Y-%m-%d}_{slug(home)}_{slug(away)}"
