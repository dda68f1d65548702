"""The prices of one file, column group by column group, as the frame of books."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from betting_assets.sources import times
from betting_assets.sources.batch import frame
from betting_assets.sources.cells import Acceptable, Mask, matrix, numbers
from betting_assets.sources.layout import BookColumns, Layout
from betting_assets.sources.quotes import book_flags, usable
from betting_assets.sources.records import Book, Market, Phase
from betting_assets.sources.rejections import Rejections
from betting_assets.sources.rows import MatchRow
from betting_assets.sources.validation import faults

_MARKETS = list(Market)
_PHASES = list(Phase)
_MARKET_OF = {market.value: market for market in Market}
_PHASE_OF = {phase.value: phase for phase in Phase}
_WIDEST_HANDICAP = 10.0


class _Part(NamedTuple):
    """The books of one column group: rows of `matches` that have one, their prices (n, k), lines and flags."""

    group: BookColumns
    match: NDArray[np.intp]
    prices: NDArray[np.float64]
    line: NDArray[np.float64]
    flag: NDArray[np.object_]


def build_books(
    rows: Sequence[MatchRow], matches: pd.DataFrame, layout: Layout, rejections: Rejections
) -> pd.DataFrame:
    """Books of every match, in order of matches, then market, bookmaker, phase and line."""
    price_columns = {column for book in layout.books for column in book.columns if column is not None}
    line_columns = {book.line_column for book in layout.books if book.line_column is not None}
    prices = _read(rows, layout, price_columns, usable, "price", rejections)
    lines = _read(rows, layout, line_columns, _is_line, "handicap line", rejections)
    parts = [part for book in layout.books if (part := _part(book, rows, prices, lines, rejections)) is not None]
    if not parts:
        return frame("books")
    return _assemble(parts, rows, matches, rejections)


def moments(series: pd.Series[pd.Timestamp]) -> list[dt.datetime | None]:
    """Python datetimes with time zone, as the models want them; NaT becomes None."""
    return [None if pd.isna(moment) else moment for moment in pd.DatetimeIndex(series).to_pydatetime()]


def _is_line(values: NDArray[np.float64]) -> Mask:
    quarters = values * 4
    return np.asarray((np.abs(values) <= _WIDEST_HANDICAP) & (np.floor(quarters) == quarters))


def _read(
    rows: Sequence[MatchRow],
    layout: Layout,
    wanted: set[int],
    acceptable: Acceptable,
    what: str,
    rejections: Rejections,
) -> dict[int, NDArray[np.float64]]:
    """Column → its numbers, NaN where there is none; garbage is noted."""
    columns = sorted(wanted)
    cells = matrix([row.row.cells for row in rows], columns)
    values, garbage = numbers(cells, len(columns), acceptable)
    for number, position in np.argwhere(garbage).tolist():
        name, text = layout.names[columns[position]], cells[number][position]
        rejections.add(rows[number].row, f"cell: {name} = {text!r} is no {what}")
    return {column: values[:, position] for position, column in enumerate(columns)}


def _part(
    group: BookColumns,
    rows: Sequence[MatchRow],
    prices: dict[int, NDArray[np.float64]],
    lines: dict[int, NDArray[np.float64]],
    rejections: Rejections,
) -> _Part | None:
    missing = np.full(len(rows), np.nan)
    table = np.column_stack([missing if column is None else prices[column] for column in group.columns])
    if group.line is not None:
        line = np.full(len(rows), group.line)
    else:
        line = missing if group.line_column is None else lines[group.line_column] + 0.0  # no negative zero
    priced = ~np.isnan(table).all(axis=1)
    for number in np.flatnonzero(priced & np.isnan(line)).tolist():
        rejections.add(rows[number].row, f"cell: {group.bookmaker} {group.market} {group.phase}: prices without a line")
    match = np.flatnonzero(priced & ~np.isnan(line))
    if not len(match):
        return None
    return _Part(group, match, table[match], line[match], book_flags(table[match], group.market, group.bookmaker))


def _assemble(
    parts: list[_Part], rows: Sequence[MatchRow], matches: pd.DataFrame, rejections: Rejections
) -> pd.DataFrame:
    sizes = [len(part.match) for part in parts]
    slugs = sorted({part.group.bookmaker for part in parts})

    def each(values: list[int]) -> NDArray[np.int_]:
        return np.repeat(np.array(values), sizes)

    match = np.concatenate([part.match for part in parts])
    line = np.concatenate([part.line for part in parts])
    flag = np.concatenate([part.flag for part in parts])
    market = each([_MARKETS.index(part.group.market) for part in parts])
    book = each([slugs.index(part.group.bookmaker) for part in parts])
    phase = each([_PHASES.index(part.group.phase) for part in parts])
    rank = each([part.group.rank for part in parts])
    keys = np.array([match, market, book, phase, line])
    order = np.lexsort((rank, flag == "incomplete", *keys[::-1]))
    fresh = np.append(True, (np.diff(keys[:, order]) != 0).any(axis=0))  # one book a key: complete, then by rank
    order = order[fresh]

    prices = [price for part in parts for price in part.prices.tolist()]
    pre_close = times.pre_close_taken_at(matches["match_date"], matches["kickoff"])
    close = times.close_taken_at(matches["match_date"], matches["kickoff"])
    closing = phase[order] == _PHASES.index(Phase.CLOSE)
    numbers_ = match[order]
    columns: dict[str, Any] = {
        "match_id": matches["match_id"].to_numpy()[numbers_],
        "bookmaker": np.array(slugs, dtype=object)[book[order]],
        "market": np.array([str(m) for m in _MARKETS], dtype=object)[market[order]],
        "line": line[order],
        "phase": np.array([str(p) for p in _PHASES], dtype=object)[phase[order]],
        "prices": [prices[number] for number in order],
        "taken_at": close.iloc[numbers_].where(closing, pre_close.iloc[numbers_]).reset_index(drop=True),
        "flag": flag[order],
    }
    return _guarded(frame("books", columns), [rows[number] for number in numbers_], rejections)


def _guarded(books: pd.DataFrame, rows: list[MatchRow], rejections: Rejections) -> pd.DataFrame:
    """The books that their model accepts; the others are noted.

    Half a million books through the model take longer than reading them, so it sees one book of every kind, and all
    of them when it objects to one. What a kind does not cover is safe by construction: the match passed its own
    model, the times come with their zone, and `usable` has the price limits of the model.
    """
    kinds = books.drop_duplicates(["bookmaker", "market", "line", "phase", "flag"])
    if not faults(Book, records(kinds)):
        return books
    found = faults(Book, records(books))
    for fault in found:
        rejections.add(rows[fault.row].row, f"cell: {books['bookmaker'].iat[fault.row]}: {fault.reason}")
    return books.drop(index=[fault.row for fault in found]).reset_index(drop=True)


def records(books: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame of books as the model takes them."""
    taken_at = pd.DatetimeIndex(books["taken_at"]).to_pydatetime()
    return [
        {
            "match_id": match_id,
            "bookmaker": bookmaker,
            "market": _MARKET_OF[market],
            "line": line,
            "phase": _PHASE_OF[phase],
            "prices": tuple(prices) if flag != "incomplete" else tuple(None if p != p else p for p in prices),
            "taken_at": moment,
            "flag": flag,
        }
        for match_id, bookmaker, market, line, phase, prices, moment, flag in zip(
            *(books[name].tolist() for name in ("match_id", "bookmaker", "market", "line", "phase", "prices")),
            taken_at,
            books["flag"].tolist(),
            strict=True,
        )
    ]
