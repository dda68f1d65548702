"""Which books count, by rule and by property; arrays are built from books as ticks would leave them."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betting_assets.betting.consensus import best_prices, consensus
from betting_assets.streaming.scoring.books import NAN, At, Book, Line, Match, Names, quoted
from betting_assets.streaming.scoring.guard import Fault, Limits, Reason, counted, faults, suspended, withheld

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
LIMITS = Limits(NOW, 3600 * SECOND, 0.35)
FAIR = (2.1, 3.4, 3.9)


def book(name="pinnacle", prices=FAIR, lay=(), trading="open", in_play=False, taken_at=NOW, sequence=0):
    return Book(name, prices, lay, trading, in_play, taken_at, sequence, At(1, 0, 0))


def judged(*books, market="1x2", limits=LIMITS):
    names = Names()
    lines = quoted([Line(market, names, books)], market, names)
    found = faults(lines, market, limits)
    return {names.all[lines.books.bookmaker[0, i]]: Fault(found[0, i]) for i in range(len(books))}


def reason(*books, reference="pinnacle"):
    names = Names()
    match = Match(names, {"1x2": books})
    lines = quoted([match.lines["1x2"]], "1x2", names)
    found = faults(lines, "1x2", LIMITS)
    left = counted(lines.books, found)
    best = best_prices(left, left.trusted)
    return withheld(lines, found, consensus(left, reference), best, reference, lines.in_play.any(axis=1))[0]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, Fault.NONE),
        ({"trading": "suspended"}, Fault.SUSPENDED),
        ({"trading": "closed"}, Fault.SUSPENDED),
        ({"taken_at": NOW - 3600 * SECOND}, Fault.NONE),
        ({"taken_at": NOW - 3600 * SECOND - 1}, Fault.STALE),
        ({"prices": (2.1, NAN, 3.9)}, Fault.INCOMPLETE),
        ({"lay": (2.12, 3.5, 4.0)}, Fault.NONE),
        ({"lay": (2.12, NAN, NAN)}, Fault.NONE),
        ({"lay": (2.1, 3.5, 4.0)}, Fault.CROSSED),
        ({"lay": (2.12, 3.3, 4.0)}, Fault.CROSSED),
        ({"prices": (3.1, 3.4, 3.9)}, Fault.OVERROUND_BELOW_ONE),
        ({"prices": (1.5, 2.5, 3.0)}, Fault.OVERROUND_HIGH),
        ({"trading": "suspended", "prices": (NAN, NAN, NAN)}, Fault.SUSPENDED),
    ],
)
def test_each_fault_is_found_and_the_gravest_is_told(changes, fault):
    assert judged(book(**changes)) == {"pinnacle": fault}


def test_a_price_far_from_the_median_is_an_error_only_where_three_books_can_tell():
    error = book("typo", (21.0, 3.4, 3.9))
    assert judged(book(), error)["typo"] is Fault.OVERROUND_BELOW_ONE
    assert judged(book(), book("a"), error)["typo"] is Fault.PALPABLE_ERROR
    assert judged(book(), book("a", trading="suspended"), error)["typo"] is Fault.OVERROUND_BELOW_ONE


def test_what_is_published_over_all_bookmakers_is_no_bookmaker_of_the_median():
    pseudo = book("market-average"), book("market-maximum", (2.3, 3.7, 4.4))
    assert judged(book(), *pseudo, book("typo", (2.9, 3.0, 3.3)))["typo"] is Fault.OVERROUND_BELOW_ONE
    assert judged(*pseudo)["market-maximum"] is Fault.NONE  # below one by nature


prices = st.lists(st.floats(1.02, 200.0), min_size=3, max_size=3).map(tuple)
books = st.lists(
    st.builds(
        book,
        name=st.sampled_from(["pinnacle", "a", "b", "c", "d", "e"]),
        prices=prices,
        lay=st.just(()) | prices,
        trading=st.sampled_from(["open", "open", "open", "suspended", "closed"]),
        taken_at=st.integers(NOW - 7200 * SECOND, NOW),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda one: one.bookmaker,
)


def logit(p):
    return math.log(p / (1 - p))


@given(books)
def test_the_guard_says_what_the_rule_says_in_plain_words(given_books):
    found = judged(*given_books)
    usable = []
    for one in given_books:
        if one.trading != "open":
            expected = Fault.SUSPENDED
        elif one.taken_at < NOW - LIMITS.max_age:
            expected = Fault.STALE
        elif any(back >= lay for back, lay in zip(one.prices, one.lay, strict=False)):
            expected = Fault.CROSSED
        else:
            usable.append(one)
            continue
        assert found[one.bookmaker] is expected
    for one in usable:
        medians = [statistics.median(1 / other.prices[i] for other in usable) for i in range(3)]
        distance = max(abs(logit(1 / price) - logit(median)) for price, median in zip(one.prices, medians, strict=True))
        if abs(distance - LIMITS.max_distance) < 1e-9:
            continue
        is_error = len(usable) >= 3 and distance > LIMITS.max_distance
        assert (found[one.bookmaker] is Fault.PALPABLE_ERROR) == is_error


@given(books)
def test_nothing_of_a_book_that_does_not_count_is_of_value(given_books):
    names = Names()
    lines = quoted([Line("1x2", names, given_books)], "1x2", names)
    found = faults(lines, "1x2", LIMITS)
    left = counted(lines.books, found)
    best = best_prices(left, left.trusted)[0]
    good = [one.prices for one in given_books if judged(*given_books)[one.bookmaker] is Fault.NONE]
    assert best.tolist() == np.max(good, axis=0).tolist() if good else np.isnan(best).all()


@pytest.mark.parametrize(
    ("given_books", "expected"),
    [
        ([book(), book("a")], None),
        ([book("a")], None),
        ([book(), book("a", in_play=True)], Reason.IN_PLAY),
        ([book(trading="suspended"), book("a")], Reason.SUSPENDED_MARKET),
        ([book(), book("a", trading="suspended")], None),
        ([book("a", trading="closed"), book("b", trading="suspended")], Reason.SUSPENDED_MARKET),
        ([book(taken_at=0), book("a", taken_at=0)], Reason.STALE_ODDS),
        ([book(taken_at=0), book("a")], None),
        ([book(prices=(2.1, NAN, 3.9))], Reason.NO_ODDS),
        ([book(prices=(1.5, 2.5, 3.0))], Reason.NO_ODDS),
        ([book(in_play=True, trading="suspended", taken_at=0)], Reason.IN_PLAY),
    ],
)
def test_the_gravest_reason_withholds_a_market(given_books, expected):
    assert reason(*given_books) is expected


def test_the_reference_is_a_setting():
    given_books = [book(), book("a", trading="suspended")]
    assert reason(*given_books, reference="a") is Reason.SUSPENDED_MARKET


def test_lines_of_different_length_do_not_touch_each_other():
    names = Names()
    lines = [
        Line("1x2", names, [book()]),
        Line("1x2", names),
        Line("1x2", names, [book("a", trading="closed"), book()]),
    ]
    together = quoted(lines, "1x2", names)
    found = faults(together, "1x2", LIMITS)
    assert found.tolist() == [[0, 0], [0, 0], [int(Fault.SUSPENDED), 0]]
    assert suspended(together, "pinnacle").tolist() == [False, True, False]
