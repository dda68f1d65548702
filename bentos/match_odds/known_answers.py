"""A few rows and the exact probabilities that a champion gives them: proof that a Bento serves that champion."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bentos.match_odds.champions import FOLDER
from bentos.match_odds.contract import Features, MarketName, Message, Row
from bentos.match_odds.scoring import frame
from betting_assets.modelling.bundle import Bundle

FILE = "known_answers.json"
TOLERANCE = 1e-9
ROWS = 6


class KnownAnswer(Message):
    market: MarketName
    features: Features
    variant: str
    probabilities: list[float]

    def row(self) -> Row:
        return Row.model_construct(market=self.market, features=self.features)


class WrongAnswerError(RuntimeError):
    """The service answers, but not as the model that it should hold."""


def known_answers(bundle: Bundle, table: pd.DataFrame, rows: int = ROWS) -> list[KnownAnswer]:
    """Rows spread over `table`, and the last one once more without its market, so that every variant is asked.

    Args:
        table: at least one row, with the columns `bundle.features`.
    """
    places = sorted({round(i * (len(table) - 1) / max(rows - 1, 1)) for i in range(rows)})
    features = [_features(bundle, table.iloc[place]) for place in places]
    features.append(features[-1] | dict.fromkeys(bundle.market.market_columns))
    prediction = bundle.predict(frame(bundle, features))
    return [
        KnownAnswer(
            market=MarketName(bundle.market.market.value), features=row, variant=variant, probabilities=probabilities
        )
        for row, variant, probabilities in zip(
            features, prediction.variants, prediction.probabilities.tolist(), strict=True
        )
    ]


def save_known_answers(answers: Iterable[KnownAnswer], folder: Path) -> None:
    (folder / FILE).write_text(json.dumps([answer.model_dump(mode="json") for answer in answers], indent=1))


def load_known_answers(folder: Path = FOLDER) -> list[KnownAnswer]:
    return [KnownAnswer.model_validate(answer) for answer in json.loads((folder / FILE).read_text())]


def check_answers(known: Sequence[KnownAnswer], answered: Sequence[Mapping[str, Any]]) -> None:
    """Compare what the service answered (`Answer.predictions` as JSON) with what is known.

    Raises:
        WrongAnswerError: names the first row that differs.
    """
    for i, (expected, got) in enumerate(zip(known, answered, strict=True)):
        close = all(
            math.isclose(p, q, rel_tol=0.0, abs_tol=TOLERANCE)
            for p, q in zip(expected.probabilities, got["probabilities"], strict=True)
        )
        if not close or expected.variant != got["variant"]:
            raise WrongAnswerError(
                f"known answer {i} of {expected.market}: expected {expected.variant} {expected.probabilities}, "
                f"the service says {got['variant']} {got['probabilities']}: it serves another model"
            )


def _features(bundle: Bundle, row: pd.Series) -> dict[str, float | str | None]:
    return {name: _value(row[name]) for name in bundle.features}


def _value(cell: Any) -> float | str | None:
    if isinstance(cell, str):
        return cell
    number = float("nan") if pd.isna(cell) else float(cell)
    return number if math.isfinite(number) else None
