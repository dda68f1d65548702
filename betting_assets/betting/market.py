"""What a market says and what it pays: the consensus, and the best prices, as they stood when a bet could be placed.

The consensus is the margin-free probabilities of a reference book, the sharpest one at hand (Pinnacle by default).
Where it has no usable price, the average over the bookmakers takes its place, first as the source publishes it, else
computed here from the single books.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.betting.odds import MarginMethod, remove_margin

PUBLISHED_AVERAGE = "market-average"
PUBLISHED_MAXIMUM = "market-maximum"
PSEUDO_BOOKS = (PUBLISHED_AVERAGE, PUBLISHED_MAXIMUM)
COMPUTED_AVERAGE = "computed-average"


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
    frame = _complete_books(books, market, line, phase, selections)
    real = frame[~frame["bookmaker"].isin(PSEUDO_BOOKS)]
    best = _preferred_book(pd.concat([frame, _computed_average(real, selections)]), reference)
    fair = remove_margin(best[list(selections)].to_numpy(), method)
    columns: dict[str, object] = {"taken_at": pd.DatetimeIndex(pd.to_datetime(best["taken_at"], utc=True))}
    columns |= {f"{prefix}{name}": fair.probabilities[:, i] for i, name in enumerate(selections)}
    columns |= {f"{prefix}{name}_price": best[name].to_numpy() for name in selections}
    columns[f"{prefix}{market}_overround"] = (1.0 / best[list(selections)].to_numpy()).sum(axis=1) - 1.0
    columns[f"{prefix}{market}_book"] = best["bookmaker"].to_numpy()
    columns[f"{prefix}{market}_fallback"] = (best["bookmaker"] != reference).to_numpy() | fair.fell_back
    result = pd.DataFrame(columns, index=pd.Index(best["match_id"], name="match_id"))
    spread = (1.0 / real[selections[0]]).groupby(real["match_id"]).agg(["size", "std"])
    result[f"{prefix}{market}_books"] = spread["size"].reindex(result.index).fillna(0).astype("int64")
    result[f"{prefix}{market}_dispersion"] = spread["std"].reindex(result.index)
    return result


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
    frame = _complete_books(books, market, line, phase, selections)
    known = (frame["taken_at"] <= frame["match_id"].map(until)).to_numpy()
    frame = frame[known & frame["trusted"].to_numpy() & (frame["bookmaker"] != PUBLISHED_AVERAGE).to_numpy()]
    published = (frame["bookmaker"] == PUBLISHED_MAXIMUM).to_numpy()
    highest = _highest(frame[~published], selections).combine_first(_highest(frame[published], selections))
    columns = {name: f"{prefix}{name}_best_price" for name in selections}
    return highest.reindex(index=until.index, columns=list(selections)).rename(columns=columns)


def _highest(frame: pd.DataFrame, selections: Sequence[str]) -> pd.DataFrame:
    highest: pd.DataFrame = frame.groupby("match_id")[list(selections)].max()
    return highest


def _complete_books(
    books: pd.DataFrame, market: str, line: float, phase: str, selections: Sequence[str]
) -> pd.DataFrame:
    """Books with a price for every selection: a column each, with match_id, bookmaker, taken_at and whether trusted."""
    chosen = books[(books["market"] == market) & (books["line"] == line) & (books["phase"] == phase)]
    prices = prices_matrix(chosen, len(selections))
    complete = np.flatnonzero(np.isfinite(prices).all(axis=1))
    chosen, prices = chosen.iloc[complete], prices[complete]
    return pd.DataFrame(prices, columns=list(selections)).assign(
        match_id=chosen["match_id"].to_numpy(),
        bookmaker=chosen["bookmaker"].to_numpy(),
        taken_at=chosen["taken_at"].array,
        trusted=chosen["flag"].isna().to_numpy(),
    )


def _computed_average(real: pd.DataFrame, selections: Sequence[str]) -> pd.DataFrame:
    """Mean decimal odds over the trusted bookmakers: the last resort, known once the last of them has quoted."""
    trusted = real[real["trusted"]]
    groups = trusted.groupby("match_id", sort=False)
    average: pd.DataFrame = groups[list(selections)].mean()
    average["taken_at"] = groups["taken_at"].max()
    return average.reset_index().assign(bookmaker=COMPUTED_AVERAGE, trusted=True)


def _preferred_book(frame: pd.DataFrame, reference: str) -> pd.DataFrame:
    """The most preferred trusted book of each match; a flagged one only where nothing else is left."""
    order = {reference: 0, PUBLISHED_AVERAGE: 1, COMPUTED_AVERAGE: 2}
    candidates = frame[frame["bookmaker"].isin(list(order))]
    rank = candidates["bookmaker"].map(order) + np.where(candidates["trusted"], 0, len(order))
    ordered = candidates.assign(rank=rank).sort_values(["match_id", "rank"], kind="stable")
    return ordered.drop_duplicates("match_id").drop(columns="rank").reset_index(drop=True)
