"""One match or row as a model reads it, and what the model says of it: what goes through the batcher."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bentos.match_odds.contract import Value
from bentos.match_odds.model.champions import Champion

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ModelRow:
    """Features of one match in the order of `Bundle.numbers`, NaN for missing; made by `scoring.model_row`.

    `fault` says in one line why the model cannot answer it.
    """

    champion: Champion
    values: Floats
    league: str
    fault: str | None = None

    @property
    def market_probabilities(self) -> list[float]:
        """Margin-free, in order of the market's selections; empty where there are none."""
        found: list[float] = self.values[-len(self.champion.bundle.market.selections) :].tolist()
        return found if all(map(math.isfinite, found)) else []

    def features(self) -> Mapping[str, Value]:
        """By name, None for missing."""
        numbers = zip(self.champion.bundle.numbers, self.values.tolist(), strict=True)
        return {name: value if math.isfinite(value) else None for name, value in numbers} | {"league": self.league}

    @cached_property
    def json(self) -> str:
        """`features` as JSON, for the prediction log; worked out once however often the match is asked for."""
        return json.dumps(self.features())


@dataclass(frozen=True)
class StoredRow:
    """One match as the online store had it. The same object as long as nothing in it changes.

    Attributes:
        model: features for one champion.
        best_prices: decimal odds in order of the selections; empty where one is missing.
        feature_time: of the newest features, UTC; None where there is no row at all.
        event_times: by feature view, UTC; a view without a row, or with an expired one, is absent.
    """

    match_id: str
    model: ModelRow
    best_prices: list[float]
    suspended: bool
    feature_time: dt.datetime | None
    event_times: Mapping[str, dt.datetime]


@dataclass(frozen=True)
class CachedRow:
    """A stored row with the moment of its reading: `read_at` by the store's clock, `age` in seconds by ours."""

    stored: StoredRow
    read_at: dt.datetime
    age: float


@dataclass(frozen=True)
class RowAnswer:
    """Probabilities in order of the selections, or in `error` why there are none."""

    probabilities: list[float]
    variant: str
    error: str | None = None
