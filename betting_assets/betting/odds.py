"""From decimal prices to probabilities without the bookmaker's margin.

The booksum is the sum of a book's inverse prices; its overround is the booksum minus one: 0.05 is a book that asks
5 % above fair prices, 0.0 a fair one, and below zero are books on which one can bet every selection at a profit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

BLOCK = 16_384
"""Books solved at once: a block of three-way books and its temporaries stay near the processor."""

TOLERANCE = 1e-13
"""How far the probabilities of a book may sum from one before the last, exact normalization."""

MAX_STEPS = 200

SMALLEST = float(np.finfo(np.float64).tiny)
"""Floor of a probability: absurd books (two favourites at 1.001) would underflow to zero, an infinite log-loss."""


class MarginMethod(StrEnum):
    """The distinct ways to take the margin out of a book (others in use are one of these under another name).

    multiplicative  p = q / sum(q), with q = 1 / price: every selection carries the same share of the margin
    additive        p = q - overround / k; the same as "differential margin weighting" (Buchdahl 2015)
    power           p = q ** k (Vovk and Zhdanov 2009; Clarke, Kovalchik and Ingram 2017)
    shin            Shin (1992, 1993), in the form of Jullien and Salanié (1994)
    odds_ratio      p = 1 / (1 + c (price - 1)) (Cheung 2015); the same as the "logarithmic" method
    """

    MULTIPLICATIVE = "multiplicative"
    ADDITIVE = "additive"
    POWER = "power"
    SHIN = "shin"
    ODDS_RATIO = "odds_ratio"


FALLBACK = MarginMethod.POWER
"""What a book gets where the method asked for is undefined: power is defined for every book."""


@dataclass(frozen=True)
class MarginFree:
    """Probabilities of n books with k selections each.

    probabilities  (n, k), rows sum to one; NaN in the whole row when any price is missing or not above 1
    overround      (n,), sum of inverse prices minus one; NaN likewise
    fell_back      (n,), True where the method was undefined and FALLBACK was used instead
    """

    probabilities: Floats
    overround: Floats
    fell_back: Booleans


def overround(prices: ArrayLike) -> Floats:
    """Sum of inverse prices minus one, (n, k) -> (n,); NaN where a price is missing or not above 1."""
    books = _books(prices)
    return _booksum(books, _complete(books)) - 1.0


def remove_margin(prices: ArrayLike, method: MarginMethod | str = MarginMethod.POWER) -> MarginFree:
    """Margin-free probabilities of (n, k) decimal prices, k >= 2; see MarginMethod and MarginFree.

    Shin's method is undefined for an overround below zero, the additive one where it turns a long shot's probability
    negative; those books get the power method and are flagged. ValueError if `prices` has not two dimensions.
    """
    method, books = MarginMethod(method), _books(prices)
    complete = _complete(books)
    sums = _booksum(books, complete)
    probabilities = np.full(books.shape, np.nan)
    fell_back = np.zeros(len(books), dtype=np.bool_)
    for first in range(0, len(books), BLOCK):
        block = slice(first, first + BLOCK)
        usable = np.flatnonzero(complete[block]) + first
        if len(usable) == 0:
            continue
        selections = np.ascontiguousarray(books[usable].T)
        solved, undefined = _solve_block(selections, sums[usable], method)
        probabilities[usable] = solved.T
        fell_back[usable] = undefined
    return MarginFree(probabilities, sums - 1.0, fell_back)


def _books(prices: ArrayLike) -> Floats:
    books = np.asarray(prices, dtype=np.float64)
    if books.ndim != 2 or books.shape[1] < 2:
        raise ValueError(f"prices: need one row a book and at least two selections, (n, k >= 2), got {books.shape}")
    return books


def _complete(books: Floats) -> Booleans:
    return np.asarray((np.isfinite(books) & (books > 1.0)).all(axis=1))


def _booksum(books: Floats, complete: Booleans) -> Floats:
    sums = np.full(len(books), np.nan)
    sums[complete] = (1.0 / books[complete]).sum(axis=1)
    return sums


def _solve_block(prices: Floats, sums: Floats, method: MarginMethod) -> tuple[Floats, Booleans]:
    """Probabilities (k, n) of complete books given column-major, and where the fallback was used."""
    solved, defined = _SOLVERS[method](prices, sums)
    undefined = ~defined
    if undefined.any():
        solved[:, undefined] = _SOLVERS[FALLBACK](prices[:, undefined], sums[undefined])[0]
    solved = np.maximum(solved, SMALLEST)
    return solved / solved.sum(axis=0), undefined


def _multiplicative(prices: Floats, sums: Floats) -> tuple[Floats, Booleans]:
    return 1.0 / (prices * sums), np.ones(len(sums), dtype=np.bool_)


def _additive(prices: Floats, sums: Floats) -> tuple[Floats, Booleans]:
    probabilities = 1.0 / prices - (sums - 1.0) / len(prices)
    return probabilities, np.asarray((probabilities > 0.0).all(axis=0))


def _power(prices: Floats, sums: Floats) -> tuple[Floats, Booleans]:
    """Solve sum(q ** k) = 1 for k. Its logarithm is convex in k, so that Newton's method cannot run away."""
    logs = -np.log(prices)

    def at(k: Floats) -> tuple[Floats, Floats]:
        probabilities = np.exp(logs * k)
        return probabilities, (probabilities * logs).sum(axis=0)

    # At these bounds the least (most) likely selection alone has probability 1/n, so the sum is above (below) one.
    even = -np.log(len(prices))
    low, high = even / logs.min(axis=0), even / logs.max(axis=0)
    # The first step from k = 1 needs no exponentials, because there q ** k is the inverse price itself.
    start = 1.0 - np.log(sums) * sums / (logs / prices).sum(axis=0)
    return _solve(at, low, high, start), np.ones(len(sums), dtype=np.bool_)


def _odds_ratio(prices: Floats, sums: Floats) -> tuple[Floats, Booleans]:
    """Solve sum(1 / (1 + c f)) = 1 for c, where f = price - 1 are the odds against."""
    against = prices - 1.0

    def at(c: Floats) -> tuple[Floats, Floats]:
        probabilities = 1.0 / (1.0 + against * c)
        return probabilities, -(probabilities * probabilities * against).sum(axis=0)

    even = len(prices) - 1.0
    low, high = even / against.max(axis=0), even / against.min(axis=0)
    return _solve(at, low, high, np.ones_like(sums)), np.ones(len(sums), dtype=np.bool_)


def _shin(prices: Floats, sums: Floats) -> tuple[Floats, Booleans]:
    """Solve for the share z of insiders, 0 <= z < 1; there is none for a booksum below one."""
    defined = sums >= 1.0
    squares = 1.0 / (prices[:, defined] ** 2 * sums[defined])

    def at(z: Floats) -> tuple[Floats, Floats]:
        # p = (root - z) / (2 (1 - z)), multiplied by (root + z) / (root + z): without its cancellation.
        root = np.sqrt(z * z + 4.0 * (1.0 - z) * squares)
        probabilities = 2.0 * squares / (root + z)
        return probabilities, -(probabilities * (1.0 + (z - 2.0 * squares) / root) / (root + z)).sum(axis=0)

    zero = np.zeros(squares.shape[1])
    solved = np.full(prices.shape, np.nan)
    if zero.size:
        solved[:, defined] = _solve(at, zero, np.ones_like(zero), zero)
    return solved, defined


_SOLVERS: dict[MarginMethod, Callable[[Floats, Floats], tuple[Floats, Booleans]]] = {
    MarginMethod.MULTIPLICATIVE: _multiplicative,
    MarginMethod.ADDITIVE: _additive,
    MarginMethod.POWER: _power,
    MarginMethod.SHIN: _shin,
    MarginMethod.ODDS_RATIO: _odds_ratio,
}


def _solve(at: Callable[[Floats], tuple[Floats, Floats]], low: Floats, high: Floats, start: Floats) -> Floats:
    """The probabilities (k, n) at the parameter (n,) at which they sum to one.

    `at` gives the probabilities and the slope of their sum, which falls with the parameter and passes one within
    [low, high]. Newton steps on the logarithm of the sum, with a bisection where a step would leave the bracket or
    fails to halve the one before: the bracket shrinks to nothing in any case.
    """
    parameter = np.clip(start, low, high)
    last = np.abs(high - low)
    for _ in range(MAX_STEPS):
        probabilities, slope = at(parameter)
        total = probabilities.sum(axis=0)
        unsolved = np.abs(total - 1.0) > TOLERANCE
        if not unsolved.any():
            return probabilities
        above = total > 1.0
        low, high = np.where(above, parameter, low), np.where(above, high, parameter)
        step = np.log(total) * total / slope
        proposed = parameter - step
        bisect = unsolved & ((proposed < low) | (proposed > high) | (2.0 * np.abs(step) > last))
        proposed = np.where(bisect, 0.5 * (low + high), proposed)
        last = np.abs(proposed - parameter)
        parameter = proposed
    worst = int(np.abs(total - 1.0).argmax())
    raise ArithmeticError(f"margin removal: no solution for a book after {MAX_STEPS} steps, sum {total[worst]!r}")
