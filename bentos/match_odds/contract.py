"""What goes in and what comes out of the service: the types, their limits, and one line for whatever breaks them.

proto/match_odds.proto says the same for gRPC. In every list of an answer the order is that of `Answer.selections`.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from betting_assets.modelling.markets import MARKETS

MAX_ROWS = 256
MAX_FEATURES = 1000
MAX_BODY = 4 * 1024 * 1024
LONGEST_HEARTBEAT = 60.0
"""Seconds."""

MarketName = StrEnum("MarketName", {name.upper(): name for name in MARKETS})  # type: ignore[misc]
"""The markets that can be modelled; a Bento may hold champions for fewer."""

Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
MatchId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200, pattern=r"^[a-z0-9_.-]+$")]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Value = Number | None | Text
"""A feature: a finite number, null where training saw it missing, or text (the league)."""

FeatureName = Annotated[str, StringConstraints(strict=True, max_length=80, pattern=r"^[a-z][a-z0-9_]*$")]
Features = Annotated[dict[FeatureName, Value], Field(min_length=1, max_length=MAX_FEATURES)]
Price = Annotated[float, Field(strict=True, gt=1.0, le=10_000.0, allow_inf_nan=False)]
"""Decimal odds."""

Share = Annotated[float, Field(strict=True, gt=0.0, le=1.0)]


class Reason(StrEnum):
    """Why a value is withheld, the gravest first: where several hold, the first is told."""

    MISSING_FEATURES = "missing_features"
    """Not stored, expired, or null where the model needs a value: there are no probabilities."""
    SUSPENDED_MARKET = "suspended_market"
    """Nobody takes bets on it now: there are probabilities, but nothing is of value."""
    STALE_ODDS = "stale_odds"
    """The odds are older than BETTING_MAX_ODDS_AGE_SECONDS: there are probabilities, but nothing is of value."""
    NO_ODDS = "no_odds"
    """There are no market probabilities or no prices; probabilities are those of a model without odds."""


class Degraded(StrEnum):
    """What is wrong with the service itself, though it answers."""

    FEATURES_FROM_CACHE = "features_from_cache"
    """The online store is away; the features are older than the bound of the cache, see `cache_age_seconds`."""


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Staking(Message):
    """Asks for edges and stakes against the best current prices.

    Stakes are shares of the bankroll: `kelly_fraction` of the Kelly stakes for outcomes of which exactly one happens,
    scaled down so that all stakes on one match together are at most `max_stake`.
    """

    kelly_fraction: Share = 0.25
    max_stake: Share = 0.05


class PredictRequest(Message):
    """Matches by id; their features are read from the online store."""

    market: MarketName
    match_ids: Annotated[list[MatchId], Field(min_length=1, max_length=MAX_ROWS)]
    staking: Staking | None = None


class ScoreRow(Message):
    """Explicit features, exactly those that `/v1/models` lists for the market; and prices to bet against, if any.

    With `match_id` the answer is kept in the prediction log, as that of a `predict` is, and beside it `feature_time`,
    the time of the newest feature.
    """

    features: Features
    prices: list[Price] | None = None
    match_id: MatchId | None = None
    feature_time: Annotated[AwareDatetime, Field(strict=True)] | None = None

    @model_validator(mode="after")
    def _time_of_a_match(self) -> ScoreRow:
        if self.feature_time is not None and self.match_id is None:
            raise ValueError("feature_time goes with match_id: send both, or neither")
        return self


class ScoreRequest(Message):
    market: MarketName
    rows: Annotated[list[ScoreRow], Field(min_length=1, max_length=MAX_ROWS)]
    staking: Staking | None = None


class WatchRequest(Message):
    """Matches to be told of whenever their odds move, or the model changes."""

    market: MarketName
    match_ids: Annotated[list[MatchId], Field(min_length=1, max_length=MAX_ROWS)]
    staking: Staking | None = None
    heartbeat_seconds: Annotated[float, Field(ge=0.1, le=LONGEST_HEARTBEAT)] = 15.0


class Withheld(Message):
    """Why `fields` of a prediction are empty; `detail` is one line."""

    reason: Reason
    detail: str
    fields: list[str]


class Prediction(Message):
    """One match or row. A list is empty where its values are withheld or were not asked for; times are UTC.

    `fair_odds` are 1/p. `market_probabilities` are margin-free. `edges` are p · price - 1 at `best_prices`, and
    `stakes` shares of the bankroll. Ages are in seconds, by the online store's clock when the features were read: of
    the newest features, and by feature view; `cache_age_seconds` is how long ago that was.
    """

    match_id: str | None = None
    variant: str | None = None
    probabilities: list[float] = []
    fair_odds: list[float] = []
    market_probabilities: list[float] = []
    best_prices: list[float] = []
    edges: list[float] = []
    stakes: list[float] = []
    feature_time: dt.datetime | None = None
    feature_age_seconds: float | None = None
    feature_ages: dict[str, float] = {}
    cache_age_seconds: float | None = None
    withheld: Withheld | None = None


class Answer(Message):
    """All predictions of one answer are of one model."""

    market: MarketName
    selections: list[str]
    model_version: str
    bento: str
    request_id: str
    predictions: list[Prediction]
    degraded: list[Degraded] = []


class WatchEvent(Message):
    """`answer` holds the matches that changed; None in a heartbeat."""

    sent_at: dt.datetime
    answer: Answer | None = None


class ModelCard(Message):
    """What one model is and what it reads."""

    market: MarketName
    model_version: str
    selections: list[str]
    features: list[str]
    nullable: list[str]
    margin_method: str
    data_hash: str
    trained_at: dt.datetime
    training_rows: int


class Models(Message):
    bento: str
    models: list[ModelCard]


class Health(Message):
    """Whether this process may be asked; `reasons` say why not, or what is degraded."""

    ready: bool
    reasons: list[str] = []


class Error(Message):
    """One line: what, where, how to mend."""

    error: str


def reason(error: ValidationError) -> str:
    """The first fault in one line, with the place that it was found in: 'rows.3.features.home_elo: …'."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    first = min(faults, key=lambda fault: fault["type"] != "finite_number")
    value = "constrained-str" in first["loc"] or "float" in first["loc"]
    place = ".".join(str(step) for step in first["loc"] if step not in ("float", "constrained-str"))
    text = "must be a finite number, null or (the league) a text of 1 to 80 characters" if value else first["msg"]
    return " ".join(f"{place}: {text}".removeprefix(": ").split())
