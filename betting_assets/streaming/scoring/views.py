"""What the books say of matches now: market by market, and as rows of the feature view match_market."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from betting_assets.betting.consensus import Books, Consensus, Integers, best_prices, best_slots, consensus
from betting_assets.betting.market import best_price_columns, consensus_columns
from betting_assets.betting.odds import Booleans, Floats, MarginMethod
from betting_assets.modelling.markets import MARKETS
from betting_assets.streaming.scoring.books import Match, Names, Quoted, quoted
from betting_assets.streaming.scoring.guard import (
    Limits,
    Reason,
    counted,
    faults,
    suspended,
    withheld,
)

PREFIX = "market_"


@dataclass(frozen=True)
class MarketView:
    """One market of n matches; arrays follow the order of the matches.

    Attributes:
        quoted, faults: all books, and why some of them do not count.
        counted: the books that do.
        agreed: the consensus of those.
        best, best_slot: (n, k), the highest prices, and whose they are.
        reasons: why nothing is of value, as far as the books tell.
    """

    quoted: Quoted
    faults: NDArray[np.uint8]
    counted: Books
    agreed: Consensus
    best: Floats
    best_slot: Integers
    suspended: Booleans
    reasons: list[Reason | None]

    @cached_property
    def is_faulty(self) -> list[bool]:
        """By match, whether any book does not count."""
        told: list[bool] = np.asarray(self.faults.any(axis=1)).tolist()
        return told


def market_views(
    matches: Sequence[Match], names: Names, limits: Limits, reference: str, method: MarginMethod
) -> dict[str, MarketView]:
    """Every modelled market of these matches."""
    books = {market: quoted([match.lines[market] for match in matches], market, names) for market in MARKETS}
    in_play = _in_play(list(books.values()))
    return {market: _view(of_market, market, limits, reference, method, in_play) for market, of_market in books.items()}


def _in_play(books: Sequence[Quoted]) -> Booleans:
    """Whether any book of any market says so: many bookmakers never do."""
    said: Booleans = np.array([of_market.in_play.any(axis=1) for of_market in books])
    return np.asarray(said.any(axis=0))


def newest(views: Mapping[str, MarketView]) -> list[int]:
    """Time of the newest book of each match, microseconds since 1970."""
    times: Integers = np.array([view.quoted.newest for view in views.values()])
    latest: list[int] = np.asarray(times.max(axis=0)).tolist()
    return latest


def _view(
    all_books: Quoted,
    market: str,
    limits: Limits,
    reference: str,
    method: MarginMethod,
    in_play: Booleans,
) -> MarketView:
    found = faults(all_books, market, limits)
    books = counted(all_books.books, found)
    agreed, best = consensus(books, reference, method), best_prices(books, books.trusted)
    return MarketView(
        quoted=all_books,
        faults=found,
        counted=books,
        agreed=agreed,
        best=best,
        best_slot=best_slots(books, books.trusted, best),
        suspended=suspended(all_books, reference) & all_books.there.any(axis=1),
        reasons=withheld(all_books, found, agreed, best, reference, in_play),
    )


def feature_names() -> tuple[str, ...]:
    """Of the view match_market, in the order of `feature_columns`."""
    return tuple(feature_columns(market_views([], Names(), Limits(0, 0, 0.0), "", MarginMethod.POWER)))


def feature_columns(views: Mapping[str, MarketView]) -> dict[str, NDArray[Any]]:
    """The features of the view match_market by name, as `feature_tables.match_market` makes them of the same books.

    The row's time is another: that of the newest book, whether it counts or not. The time of the consensus could go
    back, when a late book of the reference takes the place of an average or a suspension takes the reference away,
    and the online store would keep the row before.
    """
    columns: dict[str, NDArray[Any]] = {}
    for market, view in views.items():
        spec, found = MARKETS[market], view.agreed.found
        told = consensus_columns(view.agreed, market, spec.selections, PREFIX)
        for name, column in told.items():
            if column.dtype in (np.bool_, np.int64, np.float64):
                columns[name] = np.where(found, column, np.nan)
            else:
                columns[name] = column
        columns |= best_price_columns(view.best, spec.selections, PREFIX)
        columns[spec.suspended_column] = view.suspended.astype(np.float64)
    return columns
