"""A few rows and the exact probabilities that a champion gives them: proof that a Bento serves that champion."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from bentos.match_odds.contract import Features, MarketName, Message
from bentos.match_odds.model.champions import FOLDER, Champion
from bentos.match_odds.model.scoring import model_row, score
from bentos.match_odds.model.served import Served
from betting_assets.modelling.bundle import Bundle

FILE = "known_answers.json"
TOLERANCE = 1e-9
ROWS = 6


class KnownAnswer(Message):
    market: MarketName
    features: Features
    variant: str
    probabilities: list[float]


class WrongAnswerError(RuntimeError):
    """The service answers, but not as the model that it should hold."""


def known_answers(bundle: Bundle, table: pd.DataFrame, rows: int = ROWS) -> list[KnownAnswer]:
    """Rows spread over `table`, and the last one once more without its market, so that every variant is asked.

    Args:
        table: at least one row, with the columns `bundle.features`.

    Raises:
        ValueError: the model cannot answer a row of the table.
    """
    places = sorted({round(i * (len(table) - 1) / max(rows - 1, 1)) for i in range(rows)})
    features = [_features(bundle, table.iloc[place]) for place in places]
    features.append(features[-1] | dict.fromkeys(bundle.market.market_columns))
    market, champion = MarketName(bundle.market.market.value), Champion(bundle, "")
    answers = score([model_row(champion, row) for row in features])
    for answer in answers:
        if answer.error is not None:
            raise ValueError(f"no answer of {market} can be known: {answer.error}")
    return [
        KnownAnswer(market=market, features=row, variant=answer.variant, probabilities=answer.probabilities)
        for row, answer in zip(features, answers, strict=True)
    ]


def save_known_answers(answers: Iterable[KnownAnswer], folder: Path) -> None:
    (folder / FILE).write_text(json.dumps([answer.model_dump(mode="json") for answer in answers], indent=1))


def load_known_answers(folder: Path = FOLDER) -> list[KnownAnswer]:
    return [KnownAnswer.model_validate(answer) for answer in json.loads((folder / FILE).read_text())]


def check_served(served: Served, known: Sequence[KnownAnswer]) -> None:
    """Ask the models in this process for every known answer.

    Raises:
        WrongAnswerError: names the first row that differs, or the model that nothing is known of.
    """
    for market in served.champions.keys() - {answer.market.value for answer in known}:
        raise WrongAnswerError(f"there is no known answer for the champion of {market}: it cannot be checked")
    rows = [model_row(served.champions.of(answer.market), answer.features) for answer in known]
    answers = score(rows)
    for i, answer in enumerate(answers):
        if answer.error is not None:
            raise WrongAnswerError(f"known answer {i} of {known[i].market}: no answer: {answer.error}")
    check_answers(known, [asdict(answer) for answer in answers])


def check_answers(known: Sequence[KnownAnswer], answered: Sequence[Mapping[str, Any]]) -> None:
    """Compare what was answered (`Answer.predictions` as JSON) with what is known.

    Raises:
        WrongAnswerError: names the first row that differs.
    """
    for i, (expected, got) in enumerate(zip(known, answered, strict=True)):
        if expected.variant != got["variant"] or not _close(expected.probabilities, got["probabilities"]):
            raise WrongAnswerError(
                f"known answer {i} of {expected.market}: expected {expected.variant} {expected.probabilities}, "
                f"the service says {got['variant']} {got['probabilities']}: it serves another model"
            )


def _close(expected: Sequence[float], got: Sequence[float]) -> bool:
    return len(expected) == len(got) and all(
        math.isclose(p, q, rel_tol=0.0, abs_tol=TOLERANCE) for p, q in zip(expected, got, strict=True)
    )


def _features(bundle: Bundle, row: pd.Series) -> dict[str, float | str | None]:
    return {name: _value(row[name]) for name in bundle.features}


def _value(cell: Any) -> float | str | None:
    if isinstance(cell, str):
        return cell
    number = float("nan") if pd.isna(cell) else float(cell)
    return number if math.isfinite(number) else None
