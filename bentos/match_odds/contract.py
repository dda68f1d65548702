"""What goes in and what comes out of the service: the types, their limits, and one line for whatever breaks them."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from betting_assets.modelling.markets import MARKETS

MAX_ROWS = 256
MAX_BATCH = 64
MAX_FEATURES = 1000
MAX_BODY = 4 * 1024 * 1024

MarketName = StrEnum("MarketName", {name.upper(): name for name in MARKETS})  # type: ignore[misc]
"""The markets that can be modelled; a Bento may hold champions for fewer."""

Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
MatchId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200, pattern=r"^[a-z0-9_.-]+$")]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Value = Number | None | Text
"""A feature: a finite number, null where training saw it missing, or text (the league)."""

FeatureName = Annotated[str, StringConstraints(strict=True, max_length=80, pattern=r"^[a-z][a-z0-9_]*$")]
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Features = Annotated[dict[FeatureName, Value], Field(min_length=1, max_length=MAX_FEATURES)]


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class PredictRequest(Message):
    """Matches by id; their features are read from the online store."""

    market: MarketName
    match_ids: Annotated[list[MatchId], Field(min_length=1, max_length=MAX_ROWS)]


class ScoreRequest(Message):
    """Explicit features, one object a row, exactly those that `/v1/models` lists for the market."""

    market: MarketName
    rows: Annotated[list[Features], Field(min_length=1, max_length=MAX_ROWS)]


class Row(Message):
    """One row for the batcher: it carries its market, so that rows of all markets share one queue.

    A row that names a match is written to the prediction log, with its request.
    """

    market: MarketName
    features: Features
    match_id: MatchId | None = None
    feature_time: AwareDatetime | None = None
    feature_ages: dict[FeatureName, Seconds] = {}
    feature_read_at: AwareDatetime | None = None
    request_id: Text | None = None


class BatchRequest(Message):
    """Rows of any market."""

    rows: Annotated[list[Row], Field(min_length=1, max_length=MAX_ROWS)]


class RowAnswer(Message):
    """The answer to one row, or in `error` why there is none: a bad row never spoils the others of its batch."""

    model_version: str | None = None
    variant: str | None = None
    probabilities: list[float] = []
    error: str | None = None


class Prediction(Message):
    """Probabilities and fair decimal odds (1/p) in order of `Answer.selections`; times are UTC.

    Ages are in seconds, by the online store's clock at the read: of the newest features, and by feature view.
    """

    match_id: str | None
    variant: str
    probabilities: list[float]
    fair_odds: list[float]
    feature_time: dt.datetime | None
    feature_age_seconds: float | None
    feature_ages: dict[str, float] = {}


class Answer(Message):
    market: MarketName
    selections: list[str]
    model_version: str
    bento: str
    predictions: list[Prediction]


class ModelCard(Message):
    """What one champion is and what it reads."""

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
