"""What makes a book of prices untrustworthy. Flagged books are kept: dropping them would hide the source's errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from betting_assets.sources.bookmakers import MARKET_MAXIMUM
from betting_assets.sources.records import Market, Price

HIGHEST_BOOKSUM: dict[Market, float] = {
    Market.MATCH_RESULT: 1.20,
    Market.OVER_UNDER: 1.15,
    Market.ASIAN_HANDICAP: 1.15,
}
"""Sum of 1/price above which a book is flagged. Three selections carry more margin than two; the widest ordinary
books of small leagues stay below (measured on 72 files: 99.9 % of books)."""


_LIMITS = TypeAdapter(Price).json_schema()


def usable(prices: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which numbers are decimal odds, by the limits of the record `Price`."""
    return np.asarray((prices > _LIMITS["exclusiveMinimum"]) & (prices <= _LIMITS["maximum"]))


def book_flags(prices: NDArray[np.float64], market: Market, bookmaker: str) -> NDArray[np.object_]:
    """A flag or None for every row of prices (n, k; NaN where there is none).

    `incomplete`: a selection has no price. `overround_below_one`: the prices of a single bookmaker would lose money
    on every outcome, so one of them is wrong (the maximum over bookmakers is near or below one by nature).
    `overround_high`: the sum of 1/price is above HIGHEST_BOOKSUM.
    """
    booksum = (1.0 / prices).sum(axis=1)
    flags = np.full(len(prices), None, dtype=object)
    flags[booksum > HIGHEST_BOOKSUM[market]] = "overround_high"
    if bookmaker != MARKET_MAXIMUM:
        flags[booksum < 1.0] = "overround_below_one"
    flags[np.isnan(booksum)] = "incomplete"
    return flags
