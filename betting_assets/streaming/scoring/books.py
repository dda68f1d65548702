"""The scorer's state: the newest book of every bookmaker on every modelled line, as arrays ready for the kernel."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from betting_assets.betting.consensus import EMPTY, Books, Integers
from betting_assets.betting.odds import Booleans, Floats
from betting_assets.modelling.markets import MARKETS
from betting_assets.sources.records import Tick, Trading

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)
NAN = float("nan")
LINES = {name: spec.line for name, spec in MARKETS.items()}
WIDTH = {name: len(spec.selections) for name, spec in MARKETS.items()}


class At(NamedTuple):
    """Where a tick stood on its topic."""

    epoch: int
    partition: int
    offset: int


class Book(NamedTuple):
    """A bookmaker's book as its newest tick told it; prices are NaN where there is none, `lay` is empty without any."""

    bookmaker: str
    prices: tuple[float, ...]
    lay: tuple[float, ...]
    trading: str
    in_play: bool
    taken_at: int
    sequence: int
    at: At

    @property
    def age_key(self) -> tuple[int, int]:
        """Orders the ticks of one book; `taken_at` is in microseconds since 1970."""
        return self.taken_at, self.sequence


def book_of(tick: Tick, at: At) -> Book:
    return Book(
        tick.bookmaker,
        _numbers(tick.prices),
        () if tick.lay is None else _numbers(tick.lay),
        tick.trading.value,
        tick.in_play,
        microseconds(tick.taken_at),
        tick.sequence,
        at,
    )


def microseconds(time: dt.datetime) -> int:
    return (time - EPOCH) // MICROSECOND


def moment(micros: int) -> dt.datetime:
    return EPOCH + dt.timedelta(microseconds=micros)


def _numbers(prices: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(NAN if price is None else price for price in prices)


class Names:
    """Bookmakers and their numbers; a process meets at most some hundreds."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._number: dict[str, int] = {}

    def number(self, name: str) -> int:
        found = self._number.get(name)
        if found is None:
            found = self._number[name] = len(self.all)
            self.all.append(name)
        return found


class Line:
    """The books of the modelled line of one market of one match.

    Attributes:
        books: by bookmaker.
        last: of the ticks applied, the one furthest on the topic; None: only books that were loaded.
    """

    __slots__ = ("_block", "_names", "_slots", "_width", "books", "last")

    def __init__(self, market: str, names: Names, books: Iterable[Book] = ()) -> None:
        self.books: dict[str, Book] = {}
        self.last: At | None = None
        self._names = names
        self._width = WIDTH[market]
        self._slots: dict[str, int] = {}
        self._block = np.empty((0, 2 * self._width + 4))
        for book in books:
            self._put(book)

    def apply(self, book: Book) -> bool:
        """Whether it is newer than what was known; an older or equal one changes no book."""
        if self.last is None or (book.at.epoch, book.at.offset) > (self.last.epoch, self.last.offset):
            self.last = book.at
        known = self.books.get(book.bookmaker)
        if known is not None and book.age_key <= known.age_key:
            return False
        self._put(book)
        return True

    @property
    def block(self) -> Floats:
        """A row a book, by name of the bookmaker: prices, lay, number, time, whether open, whether in play.

        Times as floats are exact until the year 2255.
        """
        return self._block

    def _put(self, book: Book) -> None:
        self.books[book.bookmaker] = book
        if book.bookmaker not in self._slots:
            self._slots = {name: slot for slot, name in enumerate(sorted(self.books))}
            self._block = np.array([self._row(self.books[name]) for name in self._slots])
        else:
            self._block[self._slots[book.bookmaker]] = self._row(book)

    def _row(self, book: Book) -> tuple[float, ...]:
        lay = book.lay or (NAN,) * self._width
        is_open = book.trading == Trading.OPEN.value
        return (*book.prices, *lay, self._names.number(book.bookmaker), book.taken_at, is_open, book.in_play)


@dataclass(frozen=True)
class Quoted:
    """The books of n lines of one market, padded to b slots.

    Attributes:
        books: as the kernel takes them, all of them trusted.
        lay: (n, b, k), NaN where there is none.
        is_open, in_play: (n, b).
    """

    books: Books
    lay: Floats
    is_open: Booleans
    in_play: Booleans

    @cached_property
    def there(self) -> Booleans:
        return np.asarray(self.books.bookmaker != EMPTY)

    @cached_property
    def newest(self) -> Integers:
        """(n,), time of the newest book of each line."""
        return np.asarray(np.where(self.there, self.books.taken_at, 0).max(axis=1))


def quoted(lines: Sequence[Line], market: str, names: Names) -> Quoted:
    """Lines side by side."""
    k, most = WIDTH[market], max((len(line.books) for line in lines), default=1) or 1
    block = np.full((len(lines), most, 2 * k + 4), NAN)
    block[:, :, 2 * k] = EMPTY
    block[:, :, 2 * k + 1 :] = 0.0
    for row, line in zip(block, lines, strict=True):
        row[: len(line.books)] = line.block
    bookmaker, taken_at = block[:, :, 2 * k].astype(np.int64), block[:, :, 2 * k + 1].astype(np.int64)
    books = Books(names.all, bookmaker, block[:, :, :k], taken_at, np.ones(bookmaker.shape, np.bool_))
    return Quoted(books, block[:, :, k : 2 * k], block[:, :, 2 * k + 2] > 0, block[:, :, 2 * k + 3] > 0)


class Match:
    """The lines of one match, by market.

    `logged`: by market, when the prediction log last got an answer, microseconds since 1970.
    """

    __slots__ = ("lines", "logged")

    def __init__(self, names: Names, books: Mapping[str, Sequence[Book]]) -> None:
        self.logged: dict[str, int] = {}
        self.lines = {market: Line(market, names, books.get(market, ())) for market in MARKETS}


def is_modelled(tick: Tick) -> bool:
    """Whether there may be a model for the tick's line."""
    return LINES.get(tick.market.value, math.nan) == tick.line
