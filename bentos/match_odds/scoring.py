"""From rows to answers: every row is checked against its market's champion, and good rows are predicted together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bentos.match_odds.champions import Champion, Champions
from bentos.match_odds.contract import Row, RowAnswer, Value
from bentos.match_odds.errors import NotFound
from betting_assets.modelling.bundle import Bundle

SUM_TOLERANCE = 1e-6
NOT_FINITE = "the features give no finite probabilities: a value is far outside what training saw"


def score(champions: Champions, rows: Sequence[Row]) -> list[RowAnswer]:
    """One answer a row, in order. The answer to a row does not depend on the rows beside it, to the last bit."""
    answers: list[RowAnswer | None] = [None] * len(rows)
    good: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        fault = _fault(champions, row)
        if fault is None:
            good.setdefault(row.market, []).append(i)
        else:
            answers[i] = RowAnswer(error=fault)
    for market, places in good.items():
        found = _answers(champions[market], [rows[i].features for i in places])
        for i, answer in zip(places, found, strict=True):
            answers[i] = answer
    return [answer for answer in answers if answer is not None]


def _fault(champions: Champions, row: Row) -> str | None:
    try:
        bundle = champions.of(row.market).bundle
    except NotFound as error:
        return str(error)
    return feature_fault(bundle, row.features)


def feature_fault(bundle: Bundle, features: Mapping[str, Value]) -> str | None:
    """Why `bundle` cannot answer these features, in one line; None when it can."""
    expected = bundle.features
    missing = [name for name in expected if name not in features]
    if missing:
        return f"missing {_names(missing)}: send null where the value is unknown and /v1/models calls it nullable"
    if len(features) > len(expected):
        return f"unexpected {_names(sorted(set(features) - set(expected)))}: /v1/models lists what is read"
    return _value_fault(bundle, features) or _market_fault(bundle, features)


def _value_fault(bundle: Bundle, features: Mapping[str, Value]) -> str | None:
    priced = bundle.market.market_columns
    for name, value in features.items():
        if value is None:
            if name not in bundle.nullable and name not in priced:
                return f"feature {name!r} is null, but training never saw it missing"
        elif isinstance(value, str) is not (name == "league"):
            return f"feature {name!r} must be a {'text' if name == 'league' else 'number'}"
    return None


def _market_fault(bundle: Bundle, features: Mapping[str, Value]) -> str | None:
    """Margin-free probabilities are there together or not at all, lie in (0, 1) and sum to 1."""
    names = bundle.market.market_columns
    values = [value for name in names if isinstance(value := features[name], float)]
    if not values:
        return None
    if len(values) < len(names):
        return f"{', '.join(names)}: give all of them or null for all"
    if min(values) <= 0.0 or abs(sum(values) - 1.0) > SUM_TOLERANCE:
        return f"{', '.join(names)}: margin-free probabilities lie in (0, 1) and sum to 1"
    return None


def _answers(champion: Champion, features: Sequence[Mapping[str, Value]]) -> list[RowAnswer]:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        prediction = champion.bundle.predict(frame(champion.bundle, features))
        usable = np.isfinite(1.0 / prediction.probabilities)
    return [
        RowAnswer(model_version=champion.version, variant=variant, probabilities=row.tolist())
        if good.all()
        else RowAnswer(error=NOT_FINITE)
        for good, variant, row in zip(usable, prediction.variants, prediction.probabilities, strict=True)
    ]


def frame(bundle: Bundle, features: Sequence[Mapping[str, Value]]) -> pd.DataFrame:
    """The rows as the frame that `Bundle.predict` reads: float64 columns, and the league."""
    numbers = [name for name in bundle.features if name != "league"]
    cells: list[list[Any]] = [[row[name] for name in numbers] for row in features]
    values = np.array(cells, dtype=np.float64)
    leagues: list[Any] = [row["league"] for row in features]
    return pd.DataFrame(values, columns=numbers).assign(league=leagues)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"feature{'s' if len(names) > 1 else ''} {shown}{more}"
