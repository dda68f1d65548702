"""The markets that are modelled, as data: their selections, the line, and how a score settles them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from betting_assets.sources.records import SELECTIONS, Market

Scores = npt.NDArray[np.int64]


class UnknownMarketError(ValueError):
    """There is no such market, or it is not modelled; the message names those that are."""


@dataclass(frozen=True)
class ModelledMarket:
    """One market: `settle` maps home and away scores, each (n,), to the index of the winning selection, (n,)."""

    market: Market
    line: float
    settle: Callable[[Scores, Scores], Scores]

    @property
    def selections(self) -> tuple[str, ...]:
        return SELECTIONS[self.market]

    @property
    def market_columns(self) -> list[str]:
        """Margin-free probabilities before the close: features."""
        return [f"market_{selection}" for selection in self.selections]

    @property
    def closing_columns(self) -> list[str]:
        """Margin-free probabilities of the closing line: labels only."""
        return [f"close_{selection}" for selection in self.selections]

    @property
    def price_columns(self) -> list[str]:
        """Decimal odds before the close, of the book that `market_columns` come from."""
        return [f"market_{selection}_price" for selection in self.selections]

    @property
    def best_price_columns(self) -> list[str]:
        """Highest decimal odds before the close, of any trusted book: what edges are told against, never features."""
        return [f"market_{selection}_best_price" for selection in self.selections]

    @property
    def suspended_column(self) -> str:
        """1.0 while nobody takes bets, else 0.0; a number, because the online store reads numbers fastest."""
        return f"market_{self.market.value}_suspended"


def _three_way(home: Scores, away: Scores) -> Scores:
    return np.asarray(1 - np.sign(home - away))


def _over_two_and_a_half(home: Scores, away: Scores) -> Scores:
    return ((home + away) < 3).astype(np.int64)


MARKETS: dict[str, ModelledMarket] = {
    Market.MATCH_RESULT.value: ModelledMarket(Market.MATCH_RESULT, 0.0, _three_way),
    Market.OVER_UNDER.value: ModelledMarket(Market.OVER_UNDER, 2.5, _over_two_and_a_half),
}


def modelled_market(name: str) -> ModelledMarket:
    """The market called `name`, or an UnknownMarketError that names those that exist."""
    if name not in MARKETS:
        raise UnknownMarketError(f"market {name!r} is not modelled; choose one of {', '.join(MARKETS)}")
    return MARKETS[name]
