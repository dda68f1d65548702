"""What a market says and what it pays: the consensus, and the best prices, as they stood when a bet could be placed.

The consensus is the margin-free probabilities of a reference book, the sharpest one at hand (Pinnacle by default).
Where it has no usable price, the average over the bookmakers takes its place, first as the source publishes it, else
computed here from the single books. The maths is in `consensus`; here are the frames of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.betting import consensus as kernel
from betting_assets.betting.consensus import EMPTY, NO_TIME, Books
from betting_assets.betting.odds import MarginMethod


def prices_matrix(books: pd.DataFrame, selections: int) -> npt.NDArray[np.float64]:
    """The list column `prices` as an (n, selections) array, NaN where a selection has no price."""
    if books.empty:
        return np.empty((0, selections))
    return np.array(books["prices"].tolist(), dtype=np.float64).reshape(len(books), selections)


def market_consensus(
    books: pd.DataFrame,
    *,
    market: str,
    line: float,
    phase: str,
    selections: Sequence[str],
    prefix: str,
    reference: str = "pinnacle",
    method: MarginMethod = MarginMethod.POWER,
) -> pd.DataFrame:
    """One row a match: consensus probabilities of one line of one market in one phase.

    Args:
        books: frame of books (see sources.records.Book); incomplete books are passed over.
        prefix: goes before every column, e.g. `market_` gives `market_home`.

    Returns:
        Frame indexed by match_id with `taken_at`, `{prefix}{selection}` (probabilities, rows sum to 1),
        `{prefix}{first}_price` … (decimal odds of the book used), `{prefix}{market}_overround`,
        `{prefix}{market}_books` (real bookmakers quoting), `{prefix}{market}_dispersion` (standard deviation over the
        bookmakers of the first selection's implied probability), `{prefix}{market}_book` and
        `{prefix}{market}_fallback` (the reference was missing, or the method was undefined on its book).
    """
    padded = _padded(_chosen(books, market, line, phase), selections)
    found = kernel.consensus(padded.books, reference, method)
    columns = {"taken_at": padded.times(found.taken_at)} | consensus_columns(found, market, selections, prefix)
    return pd.DataFrame(columns, index=padded.matches)[found.found]


def best_prices(
    books: pd.DataFrame,
    *,
    market: str,
    line: float,
    phase: str,
    selections: Sequence[str],
    prefix: str,
    until: pd.Series,
) -> pd.DataFrame:
    """The highest decimal odds of each selection: what a bet on it would have been paid at.

    Only trusted books count: a flagged one may hold a palpable error, and an error is what a maximum finds. For the
    same reason the published maximum, whose single books nobody can check, is used only where no bookmaker is left.

    Args:
        until: UTC times by match_id; prices taken later were not known yet and are passed over.

    Returns:
        Frame with the index of `until` and the columns `{prefix}{selection}_best_price`, NaN where nobody quotes.
    """
    padded = _padded(_chosen(books, market, line, phase), selections)
    limit = pd.DatetimeIndex(padded.matches.map(until.to_dict()), tz="UTC").as_unit(padded.unit).asi8
    known = padded.books.taken_at <= limit[:, None]
    columns = best_price_columns(kernel.best_prices(padded.books, known), selections, prefix)
    highest = pd.DataFrame(columns, index=padded.matches)
    return highest.reindex(index=until.index)


def consensus_columns(
    found: kernel.Consensus, market: str, selections: Sequence[str], prefix: str
) -> dict[str, npt.NDArray[Any]]:
    """The columns of `market_consensus` but its time, for every match, with a consensus or without."""
    return {
        **{f"{prefix}{name}": found.probabilities[:, i] for i, name in enumerate(selections)},
        **{f"{prefix}{name}_price": found.prices[:, i] for i, name in enumerate(selections)},
        f"{prefix}{market}_overround": found.overround,
        f"{prefix}{market}_book": found.book,
        f"{prefix}{market}_fallback": found.fallback,
        f"{prefix}{market}_books": found.books,
        f"{prefix}{market}_dispersion": found.dispersion,
    }


def best_price_columns(
    best: npt.NDArray[np.float64], selections: Sequence[str], prefix: str
) -> dict[str, npt.NDArray[np.float64]]:
    """The columns of `best_prices`."""
    return {f"{prefix}{name}_best_price": best[:, i] for i, name in enumerate(selections)}


@dataclass(frozen=True)
class _Padded:
    """Books as the kernel takes them: a row a match, in the order of their ids; slots in the order of the frame."""

    matches: pd.Index
    books: Books
    unit: Literal["s", "ms", "us", "ns"]

    def times(self, numbers: npt.NDArray[np.int64]) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(numbers.view(f"datetime64[{self.unit}]")).tz_localize("UTC")


def _chosen(books: pd.DataFrame, market: str, line: float, phase: str) -> pd.DataFrame:
    return books[(books["market"] == market) & (books["line"] == line) & (books["phase"] == phase)]


def _padded(frame: pd.DataFrame, selections: Sequence[str]) -> _Padded:
    """Only complete books: the others have no say."""
    prices = prices_matrix(frame, len(selections))
    complete = np.flatnonzero(np.isfinite(prices).all(axis=1))
    frame, prices = frame.iloc[complete], prices[complete]
    row, matches = pd.factorize(frame["match_id"], sort=True)
    slot = frame.groupby(row).cumcount().to_numpy()
    bookmaker, names = pd.factorize(frame["bookmaker"])
    times = pd.DatetimeIndex(pd.to_datetime(frame["taken_at"], utc=True))
    shape = (len(matches), int(slot.max(initial=0)) + 1)
    books = Books(
        names=names.tolist(),
        bookmaker=np.full(shape, EMPTY),
        prices=np.full((*shape, len(selections)), np.nan),
        taken_at=np.full(shape, NO_TIME),
        trusted=np.zeros(shape, np.bool_),
    )
    books.bookmaker[row, slot] = bookmaker
    books.prices[row, slot] = prices
    books.taken_at[row, slot] = times.asi8
    books.trusted[row, slot] = frame["flag"].isna()
    return _Padded(pd.Index(matches, name="match_id"), books, times.unit)
