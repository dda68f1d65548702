"""Bookmakers: a market opinion near the truth, each book's own error, favourite-longshot bias and margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CLOSE_ERROR = 0.05
"""Standard deviation of the closing opinion's error in log goal intensity."""

EARLY_ERROR = 0.07
"""What the earlier opinion adds to it: the closing line knows more."""

_LOWEST, _HIGHEST = 1.01, 501.0
_BOOK_GONE_WRONG = 1 / 2000


@dataclass(frozen=True)
class Bookmaker:
    """`margin` is booksum − 1; `error` the deviation of its own opinion in log odds; `bias` in [0, 1) flattens its
    probabilities, so that long shots pay too little (favourite-longshot bias)."""

    slug: str
    margin: float
    error: float
    bias: float


PINNACLE = Bookmaker("pinnacle", margin=0.025, error=0.01, bias=0.01)

BOOKMAKERS = (
    PINNACLE,
    Bookmaker("harbour-bet", margin=0.045, error=0.025, bias=0.03),
    Bookmaker("north-star", margin=0.055, error=0.03, bias=0.04),
    Bookmaker("copper-coin", margin=0.065, error=0.035, bias=0.05),
    Bookmaker("old-crown", margin=0.08, error=0.04, bias=0.07),
)
"""The sharp book and four others with margins up to 8 %."""


def opinions(
    home: Floats, away: Floats, rng: np.random.Generator
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """The market's goal intensities (home, away) early and at the close; the early ones are the close plus noise."""
    errors = rng.normal(0, CLOSE_ERROR, (2, len(home)))
    noise = rng.normal(0, EARLY_ERROR, (2, len(home)))
    close = home * np.exp(errors[0]), away * np.exp(errors[1])
    return (close[0] * np.exp(noise[0]), close[1] * np.exp(noise[1])), close


def quote(probabilities: Floats, bookmakers: Sequence[Bookmaker], rng: np.random.Generator) -> Floats:
    """Decimal odds (n, bookmakers, k) on opinions (n, k), rounded to two digits."""
    error, bias, margin = (
        np.array([getattr(book, name) for book in bookmakers])[None, :, None] for name in ("error", "bias", "margin")
    )
    shape = (len(probabilities), len(bookmakers), probabilities.shape[1])
    opinion = np.log(probabilities)[:, None, :] * (1 - bias) + error * rng.normal(size=shape)
    implied = np.exp(opinion)
    booksum = 1 + margin * rng.uniform(0.9, 1.1, (*shape[:2], 1))
    odds = implied.sum(axis=2, keepdims=True) / (implied * booksum)
    return np.asarray(np.round(np.clip(odds, _LOWEST, _HIGHEST), 2))


def with_market(odds: Floats) -> Floats:
    """The odds (n, bookmakers, k) followed by two pseudo books: their average and their maximum."""
    average = np.round(odds.mean(axis=1, keepdims=True), 2)
    return np.concatenate([odds, average, odds.max(axis=1, keepdims=True)], axis=1)


def with_mistakes(odds: Floats, rng: np.random.Generator) -> Floats:
    """A copy in which one book in two thousand is wrong: a price too short, too long, or missing."""
    wrong = odds.reshape(-1, odds.shape[-1]).copy()
    rows = np.flatnonzero(rng.random(len(wrong)) < _BOOK_GONE_WRONG)
    columns = rng.integers(0, wrong.shape[1], len(rows))
    factors = rng.choice([0.6, 1.8, np.nan], len(rows))
    wrong[rows, columns] = np.maximum(np.round(wrong[rows, columns] * factors, 2), _LOWEST)
    return wrong.reshape(odds.shape)
