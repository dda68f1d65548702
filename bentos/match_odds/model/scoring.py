"""From rows to probabilities: every row is checked against its model, and good rows are predicted together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bentos.match_odds.contract import Value
from bentos.match_odds.model.champions import Champion
from bentos.match_odds.model.rows import Floats, ModelRow, RowAnswer
from betting_assets.modelling.bundle import Bundle

SUM_TOLERANCE = 1e-6
NOT_FINITE = "the features give no finite probabilities: a value is far outside what training saw"


def score(rows: Sequence[ModelRow]) -> list[RowAnswer]:
    """One answer a row, in order. The answer to a row does not depend on the rows beside it, to the last bit."""
    answers: list[RowAnswer | None] = [None] * len(rows)
    good: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        if row.fault is None:
            good.setdefault(id(row.champion), []).append(i)
        else:
            answers[i] = RowAnswer([], "", row.fault)
    for places in good.values():
        for i, answer in zip(places, _answers([rows[i] for i in places]), strict=True):
            answers[i] = answer
    return [answer for answer in answers if answer is not None]


def model_row(champion: Champion, features: Mapping[str, Value]) -> ModelRow:
    """Explicit features as the model reads them; what is wrong with them is in `fault`."""
    bundle = champion.bundle
    fault = _names_fault(bundle, features) or _type_fault(features)
    if fault is not None:
        return ModelRow(champion, np.empty(0), "", fault)
    values = np.array([features[name] for name in bundle.numbers], dtype=np.float64)
    league = features["league"]
    return ModelRow(champion, values, str(league), row_fault(bundle, values, None if league is None else str(league)))


def row_fault(bundle: Bundle, values: Floats, league: str | None) -> str | None:
    """Why `bundle` cannot answer a row, in one line; None when it can.

    Args:
        values: in the order of `Bundle.numbers`, NaN for missing.
    """
    if league is None:
        return "feature 'league' is null, but training never saw it missing"
    k = len(bundle.market.selections)
    if np.isnan(values[:-k]).any():
        for name, value in zip(bundle.numbers[:-k], values.tolist(), strict=False):
            if value != value and name not in bundle.nullable:
                return f"feature {name!r} is null, but training never saw it missing"
    return _market_fault(bundle, values[-k:].tolist())


def _names_fault(bundle: Bundle, features: Mapping[str, Value]) -> str | None:
    missing = [name for name in bundle.features if name not in features]
    if missing:
        return f"missing {_names(missing)}: send null where the value is unknown and /v1/models calls it nullable"
    if len(features) > len(bundle.features):
        return f"unexpected {_names(sorted(set(features) - set(bundle.features)))}: /v1/models lists what is read"
    return None


def _type_fault(features: Mapping[str, Value]) -> str | None:
    for name, value in features.items():
        if value is not None and isinstance(value, str) is not (name == "league"):
            return f"feature {name!r} must be a {'text' if name == 'league' else 'number'}"
    return None


def _market_fault(bundle: Bundle, probabilities: Sequence[float]) -> str | None:
    """Margin-free probabilities are there together or not at all, lie in (0, 1) and sum to 1."""
    given = [p for p in probabilities if p == p]
    if not given:
        return None
    names = ", ".join(bundle.market.market_columns)
    if len(given) < len(probabilities):
        return f"{names}: give all of them or null for all"
    if min(given) <= 0.0 or abs(math.fsum(given) - 1.0) > SUM_TOLERANCE:
        return f"{names}: margin-free probabilities lie in (0, 1) and sum to 1"
    return None


def _answers(rows: Sequence[ModelRow]) -> list[RowAnswer]:
    """Of rows of one model."""
    values = np.array([row.values for row in rows])
    leagues = np.array([row.league for row in rows], dtype=object)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        prediction = rows[0].champion.bundle.predict_values(values, leagues)
        usable = np.asarray(np.isfinite(1.0 / prediction.probabilities).all(axis=1)).tolist()
    return [
        RowAnswer(probabilities, variant) if good else RowAnswer([], variant, NOT_FINITE)
        for good, variant, probabilities in zip(
            usable, prediction.variants, prediction.probabilities.tolist(), strict=True
        )
    ]


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"feature{'s' if len(names) > 1 else ''} {shown}{more}"
