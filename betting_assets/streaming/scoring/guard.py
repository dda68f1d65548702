"""Which books count, and whether anything may be called of value at all. Pure functions on arrays.

Nobody can take a price that is suspended or gone, and bookmakers' rules let them void bets at a palpable error: a price
that differs clearly from the general market. The general market is here the median of the books' inverse prices, which
half of the books would have to be wrong to move; the distance is taken in log odds, so that one limit suits favourites
and outsiders alike. With fewer than three books nobody can say which one is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from betting_assets.betting.consensus import EMPTY, PUBLISHED_MAXIMUM, Books, Consensus
from betting_assets.betting.odds import Booleans, Floats
from betting_assets.sources.quotes import book_flags
from betting_assets.sources.records import Market
from betting_assets.streaming.scoring.books import Quoted

FEWEST_FOR_A_MEDIAN = 3


class Fault(IntEnum):
    """Why a book does not count, the gravest first. With the last two it stands in where nothing else is left."""

    NONE = 0
    SUSPENDED = 1
    STALE = 2
    INCOMPLETE = 3
    CROSSED = 4
    PALPABLE_ERROR = 5
    OVERROUND_BELOW_ONE = 6
    OVERROUND_HIGH = 7


class Reason(StrEnum):
    """Why a market is withheld, the gravest first."""

    IN_PLAY = "in_play"
    MISSING_FEATURES = "missing_features"
    NO_MODEL = "no_model"
    SUSPENDED_MARKET = "suspended_market"
    STALE_ODDS = "stale_odds"
    NO_ODDS = "no_odds"


@dataclass(frozen=True)
class Limits:
    """`now` and `max_age` in microseconds; the distance in log odds."""

    now: int
    max_age: int
    max_distance: float


def faults(quoted: Quoted, market: str, limits: Limits) -> NDArray[np.uint8]:
    """The gravest fault of each book, (n, b)."""
    books = quoted.books
    found = np.zeros(books.bookmaker.shape, np.uint8)

    def mark(where: Booleans, fault: Fault) -> None:
        found[where & quoted.there & (found == Fault.NONE)] = fault

    mark(~quoted.is_open, Fault.SUSPENDED)
    mark(np.asarray(books.taken_at < limits.now - limits.max_age), Fault.STALE)
    mark(np.asarray(~np.isfinite(books.prices).all(axis=2)), Fault.INCOMPLETE)
    mark(np.asarray((books.prices >= quoted.lay).any(axis=2)), Fault.CROSSED)
    mark(_far_from_median(books, (found == Fault.NONE) & books.real, limits.max_distance), Fault.PALPABLE_ERROR)
    flags = book_flags(books.prices.reshape(-1, books.prices.shape[2]), Market(market), "").reshape(found.shape)
    mark(np.asarray(flags == "overround_below_one") & ~books.named(PUBLISHED_MAXIMUM), Fault.OVERROUND_BELOW_ONE)
    mark(np.asarray(flags == "overround_high"), Fault.OVERROUND_HIGH)
    return found


def counted(books: Books, found: NDArray[np.uint8]) -> Books:
    """The books that have a say."""
    gone = (found != Fault.NONE) & (found < Fault.OVERROUND_BELOW_ONE)
    return replace(books, bookmaker=np.where(gone, EMPTY, books.bookmaker), trusted=found == Fault.NONE)


def suspended(quoted: Quoted, reference: str) -> Booleans:
    """(n,): no book takes bets, or the reference takes none."""
    closed = quoted.there & ~quoted.is_open
    of_reference = (closed & quoted.books.named(reference)).any(axis=1)
    return np.asarray(of_reference | (closed == quoted.there).all(axis=1))


def withheld(
    quoted: Quoted, found: NDArray[np.uint8], agreed: Consensus, best: Floats, reference: str, in_play: Booleans
) -> list[Reason | None]:
    """Why a bet at these lines is of no value, as far as the books tell."""
    none_left = ~agreed.found
    stale = none_left & (found == Fault.STALE).any(axis=1)
    no_odds = none_left | np.isnan(best).any(axis=1)
    rules = (
        (in_play, Reason.IN_PLAY),
        (suspended(quoted, reference), Reason.SUSPENDED_MARKET),
        (stale, Reason.STALE_ODDS),
        (no_odds, Reason.NO_ODDS),
    )
    reasons: list[Reason | None] = [None] * len(in_play)
    for holds, reason in reversed(rules):
        for i in np.flatnonzero(holds).tolist():
            reasons[i] = reason
    return reasons


def _far_from_median(books: Books, usable: Booleans, most: float) -> Booleans:
    """Books of which a price is further from the median than `most`, in log odds."""
    inverse = np.where(usable[:, :, None], 1.0 / books.prices, np.nan)
    enough = usable.sum(axis=1) >= FEWEST_FOR_A_MEDIAN
    far = np.zeros(usable.shape, np.bool_)
    if enough.any():
        few = inverse[enough]
        distance = np.abs(_logit(few) - _logit(_median(few, usable[enough]))[:, None, :])
        far[enough] = (distance > most).any(axis=2)
    return far & usable


def _median(values: Floats, counted: Booleans) -> Floats:
    """Over the slots; NaN sorts last, and is not counted. As np.nanmedian, at a tenth of its cost."""
    ordered, n = np.sort(values, axis=1), counted.sum(axis=1)
    rows = np.arange(len(values))
    return np.asarray(0.5 * (ordered[rows, (n - 1) // 2] + ordered[rows, n // 2]))


def _logit(p: Floats) -> Floats:
    return np.asarray(np.log(p / (1.0 - p)))
