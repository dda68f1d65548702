"""The newest books, whatever the order of the ticks; and the feature row, the same as the batch makes of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from betting_assets.betting.market import best_prices
from betting_assets.betting.odds import MarginMethod
from betting_assets.modelling.feature_tables import match_market
from betting_assets.modelling.markets import MARKETS
from betting_assets.streaming.scoring.books import At, Book, Line, Match, Names, moment, quoted
from betting_assets.streaming.scoring.guard import Limits, Reason
from betting_assets.streaming.scoring.views import feature_columns, market_views, newest

NOW = 1_800_000_000_000_000
MAKERS = ["pinnacle", "market-average", "market-maximum", "bet365", "bwin", "zz"]
LOOSE = Limits(NOW, 10**15, 100.0)
"""Nothing is stale, and no price far from a median: those books the batch does not have."""


class NewestBooks(RuleBasedStateMachine):
    """Ticks in any order against a model that remembers all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.offset = Names(), 0
        self.line = Line("over_under", self.names)
        self.seen: dict[str, list[Book]] = {}

    @rule(maker=st.sampled_from(MAKERS), at=st.integers(0, 4), sequence=st.integers(0, 2), price=st.floats(1.1, 9.0))
    def tick(self, maker: str, at: int, sequence: int, price: float) -> None:
        book = Book(maker, (price, 2.0), (), "open", False, NOW + at, sequence, At(1, 0, self.offset))
        newest = max((one.age_key for one in self.seen.get(maker, [])), default=(0, 0))
        assert self.line.apply(book) == (book.age_key > newest)
        self.seen.setdefault(maker, []).append(book)
        self.offset += 1

    @invariant()
    def the_first_of_the_newest_ticks_is_the_book(self) -> None:
        for maker, books in self.seen.items():
            newest = max(one.age_key for one in books)
            assert self.line.books[maker] is next(one for one in books if one.age_key == newest)
        if self.seen:
            assert self.line.last == At(1, 0, self.offset - 1)

    @invariant()
    def the_arrays_say_the_same(self) -> None:
        side_by_side = quoted([self.line], "over_under", self.names)
        told = {
            self.names.all[number]: tuple(prices)
            for number, prices in zip(
                side_by_side.books.bookmaker[0], side_by_side.books.prices[0].tolist(), strict=True
            )
            if number >= 0
        }
        assert told == {maker: book.prices for maker, book in self.line.books.items()}


TestNewestBooks = NewestBooks.TestCase
TestNewestBooks.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


def books_of(market: str) -> st.SearchStrategy[list[Book]]:
    k = len(MARKETS[market].selections)
    one = st.builds(
        Book,
        bookmaker=st.sampled_from(MAKERS),
        prices=st.lists(st.floats(1.02, 100.0), min_size=k, max_size=k).map(tuple),
        lay=st.just(()),
        trading=st.just("open"),
        in_play=st.just(False),
        taken_at=st.integers(NOW - 5, NOW),
        sequence=st.just(0),
        at=st.just(At(1, 0, 0)),
    )
    return st.lists(one, max_size=6, unique_by=lambda book: book.bookmaker)


matches = st.lists(st.fixed_dictionaries({market: books_of(market) for market in MARKETS}), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(matches, st.sampled_from(list(MarginMethod)), st.sampled_from(["pinnacle", "bet365"]))
def test_any_set_of_books_gives_the_row_that_the_batch_gives(given_matches, method, reference):
    names = Names()
    held = [Match(names, books) for books in given_matches]
    views = market_views(held, names, LOOSE, reference, method)
    columns = feature_columns(views)
    stream = pd.DataFrame(columns, index=[f"m{i}" for i in range(len(held))])
    frame = _as_the_batch_has_them(given_matches)
    batch = match_market(frame, reference=reference, method=method).set_index("match_id")
    times = pd.Series({f"m{i}": moment(time) for i, time in enumerate(newest(views))}, dtype="datetime64[us, UTC]")
    assert (batch["event_timestamp"] <= times[batch.index]).all()
    for (
        spec
    ) in MARKETS.values():  # the row of the stream is as late as its newest book, and knows every price till then
        how = {"market": spec.market.value, "line": spec.line, "phase": "pre_close", "selections": spec.selections}
        batch[spec.best_price_columns] = best_prices(frame, prefix="market_", until=times, **how)
    assert set(stream.columns) == set(batch.columns) - {"event_timestamp"}
    for name in stream.columns:
        if name.endswith("_suspended"):
            assert (stream[name] == 0.0).all()
            continue
        one, other = stream.loc[batch.index, name].astype(object), batch[name].astype(object)
        assert (one.isna() == other.isna()).all(), name
        there = one.notna()
        if name in {column for spec in MARKETS.values() for column in spec.market_columns}:
            # The solver refines the books of a block together: the last bits depend on the books beside it.
            assert np.allclose(one[there].astype(float), other[there].astype(float), rtol=0, atol=1e-12), name
        else:
            assert one[there].tolist() == other[there].tolist(), name


def _as_the_batch_has_them(given_matches):
    from betting_assets.sources.quotes import book_flags

    rows = []
    for i, markets in enumerate(given_matches):
        for market, books in markets.items():
            for book in sorted(books, key=lambda one: one.bookmaker):
                flag = book_flags(np.array([book.prices]), MARKETS[market].market, book.bookmaker)[0]
                rows.append((f"m{i}", book.bookmaker, market, MARKETS[market].line, list(book.prices), book, flag))
    frame = pd.DataFrame(rows, columns=["match_id", "bookmaker", "market", "line", "prices", "book", "flag"])
    taken = pd.to_datetime([moment(book.taken_at) for book in frame.pop("book")], utc=True)
    return frame.assign(phase="pre_close", taken_at=pd.DatetimeIndex(taken).as_unit("us")).astype({"flag": object})


def test_times_survive_the_arrays_to_the_microsecond():
    names = Names()
    for taken_at in (946_684_800_000_001, NOW + 7, 4_102_444_799_999_999):
        line = Line("1x2", names, [Book("a", (2.0, 3.0, 4.0), (), "open", False, taken_at, 0, At(1, 0, 0))])
        assert quoted([line], "1x2", names).newest.tolist() == [taken_at]


@pytest.mark.parametrize("market", list(MARKETS))
def test_a_match_is_in_play_in_every_market_as_soon_as_one_book_says_so(market):
    names, told = Names(), Book("a", (2.0, 3.0, 4.0), (), "open", True, NOW, 0, At(1, 0, 0))
    before = told._replace(in_play=False)
    held = [Match(names, {"1x2": [before]}), Match(names, {"1x2": [before, told._replace(bookmaker="b")]})]
    reasons = market_views(held, names, LOOSE, "pinnacle", MarginMethod.POWER)[market].reasons
    assert [reason is Reason.IN_PLAY for reason in reasons] == [False, True]


@pytest.mark.parametrize("market", list(MARKETS))
def test_without_books_nothing_is_said(market):
    names = Names()
    view = market_views([Match(names, {})], names, LOOSE, "pinnacle", MarginMethod.POWER)[market]
    assert not view.agreed.found[0]
    assert not view.suspended[0]
    assert np.isnan(view.best).all()
