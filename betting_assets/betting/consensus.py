"""The market's consensus and best prices as one numpy kernel: the batch and the stream share it, to the last bit.

Books of one line of one market lie in an array of matches × slots × selections. A slot holds one bookmaker's book;
which slot does not matter but for rounding: sums go over the slots in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from betting_assets.betting.odds import Booleans, Floats, MarginMethod, remove_margin

PUBLISHED_AVERAGE = "market-average"
PUBLISHED_MAXIMUM = "market-maximum"
PSEUDO_BOOKS = (PUBLISHED_AVERAGE, PUBLISHED_MAXIMUM)
COMPUTED_AVERAGE = "computed-average"

Integers = NDArray[np.int64]
EMPTY = -1
"""A slot without a book."""

NO_TIME = np.iinfo(np.int64).min
LAST_RESORT = 3
"""Added to the rank of a book that is not trusted, which puts it behind all that are."""

NONE = 2 * LAST_RESORT


@dataclass(frozen=True)
class Books:
    """m matches with up to b >= 1 books of k selections.

    Attributes:
        names: of the bookmakers.
        bookmaker: (m, b), places in `names`, EMPTY where a slot is free.
        prices: (m, b, k) decimal odds, NaN where there is none; an incomplete book is passed over.
        taken_at: (m, b), times as integers of any unit.
        trusted: (m, b); a book that is not is counted, and stands for the market only where nothing else is left.
    """

    names: Sequence[str]
    bookmaker: Integers
    prices: Floats
    taken_at: Integers
    trusted: Booleans

    def named(self, name: str) -> Booleans:
        """Where the books of one bookmaker are."""
        return np.asarray(self.bookmaker == (self.names.index(name) if name in self.names else EMPTY - 1))

    @cached_property
    def complete(self) -> Booleans:
        """Where there is a book with a price for every selection."""
        return np.asarray((self.bookmaker != EMPTY) & np.isfinite(self.prices).all(axis=2))

    @cached_property
    def real(self) -> Booleans:
        """Complete books of bookmakers, which the published average and maximum are not."""
        return self.complete & ~self.named(PUBLISHED_AVERAGE) & ~self.named(PUBLISHED_MAXIMUM)


@dataclass(frozen=True)
class Consensus:
    """What stands for the market of each match; NaN, 0 and NO_TIME where nothing does.

    Attributes:
        found: (m,), whether there is a consensus.
        book: (m,), name of the book that it is of, None where there is none.
        probabilities, prices: (m, k), margin-free, and the decimal odds that they were made of.
        overround, dispersion: (m,), of that book; of the first selection's implied probability over the bookmakers.
        books: (m,), bookmakers that quote.
        fallback: (m,), the reference was missing, or the margin method was undefined on its book.
        taken_at: (m,), when it was known.
    """

    found: Booleans
    book: NDArray[np.object_]
    probabilities: Floats
    prices: Floats
    overround: Floats
    dispersion: Floats
    books: Integers
    fallback: Booleans
    taken_at: Integers


def consensus(books: Books, reference: str, method: MarginMethod = MarginMethod.POWER) -> Consensus:
    """The most preferred trusted book of each match: the reference, the published average, the average computed here;
    one that is not trusted only where nothing else is left.
    """
    real = books.real
    rank, slot = _preferred(books, reference)
    rows = np.arange(len(slot))
    prices, taken_at = books.prices[rows, slot], books.taken_at[rows, slot]
    names = np.array([*books.names, COMPUTED_AVERAGE, None], dtype=object)
    name = books.bookmaker[rows, slot]

    trusted = real & books.trusted
    averaged = np.flatnonzero((rank > _RANKS[COMPUTED_AVERAGE]) & trusted.any(axis=1))
    if len(averaged):
        prices[averaged] = _mean(books.prices[averaged], trusted[averaged])
        taken_at[averaged] = np.where(trusted[averaged], books.taken_at[averaged], NO_TIME).max(axis=1)
        name[averaged] = len(names) - 2
        rank[averaged] = _RANKS[COMPUTED_AVERAGE]
    found = rank < NONE
    prices[~found], taken_at[~found], name[~found] = np.nan, NO_TIME, len(names) - 1

    fair = remove_margin(prices[found], method)
    probabilities, fell_back = np.full(prices.shape, np.nan), np.zeros(len(found), np.bool_)
    probabilities[found], fell_back[found] = fair.probabilities, fair.fell_back
    book = names[name]
    return Consensus(
        found=found,
        book=book,
        probabilities=probabilities,
        prices=prices,
        overround=(1.0 / prices).sum(axis=1) - 1.0,
        dispersion=_standard_deviation(1.0 / books.prices[:, :, 0], real),
        books=real.sum(axis=1),
        fallback=np.asarray(found & ((book != reference) | fell_back), dtype=np.bool_),
        taken_at=taken_at,
    )


def best_prices(books: Books, known: Booleans) -> Floats:
    """The highest price of each selection, (m, k), NaN where nobody quotes; see `market.best_prices`.

    Args:
        known: (m, b), which books may be bet on.
    """
    usable = books.complete & known & books.trusted & ~books.named(PUBLISHED_AVERAGE)
    published = books.named(PUBLISHED_MAXIMUM)
    of_bookmakers = _highest(books.prices, usable & ~published)
    return np.where(np.isnan(of_bookmakers), _highest(books.prices, usable & published), of_bookmakers)


def best_slots(books: Books, known: Booleans, best: Floats) -> Integers:
    """Which slot quotes each of the best prices, (m, k), the first of equals; EMPTY where nobody does."""
    usable = books.complete & known & books.trusted & ~books.named(PUBLISHED_AVERAGE)
    quotes = usable[:, :, None] & (books.prices == best[:, None, :])
    return np.where(quotes.any(axis=1), quotes.argmax(axis=1), EMPTY)


_RANKS = {PUBLISHED_AVERAGE: 1, COMPUTED_AVERAGE: 2}


def _preferred(books: Books, reference: str) -> tuple[Integers, Integers]:
    """Rank and slot of the most preferred book of each match, without the average that is computed here."""
    complete = books.complete
    rank = np.full(complete.shape, NONE)
    for name, place in {reference: 0, **_RANKS}.items():
        rank[books.named(name) & complete] = place
    rank[complete & ~books.trusted & (rank < NONE)] += LAST_RESORT
    slot = rank.argmin(axis=1)
    return rank[np.arange(len(slot)), slot], slot


def _highest(prices: Floats, usable: Booleans) -> Floats:
    highest = np.where(usable[:, :, None], prices, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(highest), highest, np.nan)


def _mean(prices: Floats, counted: Booleans) -> Floats:
    """Over the slots, with the running compensation of Kahan (1965), as pandas does it."""
    total = np.zeros(prices.shape[::2])
    lost = np.zeros_like(total)
    for slot in range(prices.shape[1]):
        counts = counted[:, slot, None]
        value = np.where(counts, prices[:, slot], 0.0) - lost
        new = total + value
        lost = np.where(counts, new - total - value, lost)
        total = np.where(counts, new, total)
    return np.asarray(total / counted.sum(axis=1)[:, None])


def _standard_deviation(values: Floats, counted: Booleans) -> Floats:
    """Over the slots, n - 1 degrees of freedom, NaN below two; by Welford's recurrence (1962), as in pandas."""
    mean, squares, n = np.zeros(len(values)), np.zeros(len(values)), np.zeros(len(values))
    for slot in range(values.shape[1]):
        here = np.flatnonzero(counted[:, slot])
        value, before = values[here, slot], mean[here]
        n[here] += 1.0
        after = before + (value - before) / n[here]
        squares[here] += (value - after) * (value - before)
        mean[here] = after
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 1.0, np.sqrt(squares / (n - 1.0)), np.nan)
