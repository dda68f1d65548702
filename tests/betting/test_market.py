"""Whose price stands for the market, which is the best one, and what happens when books are missing or wrong."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betting_assets.betting.market import best_prices, market_consensus
from betting_assets.betting.odds import MarginMethod, remove_margin

AT = pd.Timestamp("2023-08-11 15:00", tz="UTC")


def book(match="m1", bookmaker="pinnacle", prices=(2.0, 3.5, 4.0), flag=None, taken_at=AT, **changes):
    row = {"match_id": match, "bookmaker": bookmaker, "market": "1x2", "line": 0.0, "phase": "pre_close"}
    return row | {"prices": list(prices), "taken_at": taken_at, "flag": flag} | changes


def frame_of(*rows):
    columns = ["match_id", "bookmaker", "market", "line", "phase", "prices", "taken_at", "flag"]
    frame = pd.DataFrame(list(rows), columns=columns).astype({"flag": object, "line": float})
    return frame.assign(taken_at=pd.to_datetime(frame["taken_at"], utc=True))


def consensus(*rows, market="1x2", line=0.0, selections=("home", "draw", "away"), **options):
    how = {"phase": "pre_close", "prefix": "market_"} | options
    return market_consensus(frame_of(*rows), market=market, line=line, selections=selections, **how)


def test_the_reference_book_is_preferred():
    row = consensus(
        book(bookmaker="market-average", prices=(1.9, 3.3, 3.8)), book(), book(bookmaker="bet365", prices=(1.8, 3.2, 4))
    ).loc["m1"]
    assert row["market_1x2_book"] == "pinnacle"
    assert not row["market_1x2_fallback"]
    fair = remove_margin(np.array([[2.0, 3.5, 4.0]]), MarginMethod.POWER).probabilities[0]
    assert row[["market_home", "market_draw", "market_away"]].to_list() == pytest.approx(fair.tolist())
    assert row[["market_home_price", "market_draw_price", "market_away_price"]].to_list() == [2.0, 3.5, 4.0]
    assert row["market_1x2_overround"] == pytest.approx(1 / 2 + 1 / 3.5 + 1 / 4 - 1)
    assert row["market_1x2_books"] == 2
    assert row["market_1x2_dispersion"] == pytest.approx(np.std([1 / 2, 1 / 1.8], ddof=1))


def test_the_reference_book_is_a_setting():
    rows = book(), book(bookmaker="bet365", prices=(1.8, 3.2, 4.0))
    assert consensus(*rows, reference="bet365").loc["m1", "market_home_price"] == 1.8


def test_the_published_average_stands_in_for_a_missing_reference():
    row = consensus(
        book(bookmaker="bet365", prices=(1.8, 3.2, 4.0)), book(bookmaker="market-average", prices=(1.9, 3.3, 3.8))
    ).loc["m1"]
    assert (row["market_1x2_book"], row["market_1x2_fallback"]) == ("market-average", True)


def test_the_average_is_computed_from_trusted_books_as_the_last_resort():
    later = AT + pd.Timedelta(hours=2)
    row = consensus(
        book(bookmaker="bet365", prices=(1.8, 3.2, 4.0)),
        book(bookmaker="bwin", prices=(2.0, 3.4, 4.2), taken_at=later),
        book(bookmaker="typo", prices=(20.0, 3.4, 4.2), flag="overround_below_one"),
        book(bookmaker="market-maximum", prices=(2.2, 3.6, 4.4)),
    ).loc["m1"]
    assert row["market_1x2_book"] == "computed-average"
    prices = row[["market_home_price", "market_draw_price", "market_away_price"]].to_list()
    assert prices == pytest.approx([1.9, 3.3, 4.1])
    assert row["taken_at"] == later  # an average is known when its last price is


def test_a_flagged_reference_is_used_only_when_nothing_else_is_left():
    flagged = book(prices=(1.2, 3.5, 4.0), flag="overround_high")
    with_other = consensus(flagged, book(bookmaker="bet365", prices=(1.8, 3.2, 4.0))).loc["m1"]
    assert with_other["market_1x2_book"] == "computed-average"
    assert consensus(flagged).loc["m1", "market_1x2_book"] == "pinnacle"


def test_incomplete_books_are_passed_over():
    table = consensus(
        book(prices=(2.0, float("nan"), 4.0)),
        book(bookmaker="bet365", prices=(1.8, 3.2, 4.0)),
        book("m2", prices=(2.0, 3.5, float("nan"))),
    )
    assert list(table.index) == ["m1"]
    assert table.loc["m1", "market_1x2_book"] == "computed-average"


def test_only_the_asked_market_line_and_phase_are_seen():
    table = consensus(book(phase="close"), book("m2", line=1.0), book("m3", market="over_under", prices=(1.9, 1.9)))
    assert table.empty


def test_a_market_of_two_selections():
    rows = [
        book(market="over_under", line=2.5, prices=(1.9, 1.9)),
        book(market="over_under", line=3.5, prices=(3, 1.4)),
    ]
    table = consensus(*rows, market="over_under", line=2.5, selections=("over", "under"))
    assert table.loc["m1", ["market_over", "market_under"]].to_list() == pytest.approx([0.5, 0.5])


def test_without_books_the_columns_keep_their_dtypes():
    empty, full = consensus(), consensus(book(), book(bookmaker="bet365"))
    assert empty.empty
    assert list(empty.columns) == list(full.columns)
    numbers = [name for name in full if full[name].dtype.kind in "fib" and name != "market_1x2_fallback"]
    assert {name: empty[name].dtype for name in numbers} == {name: full[name].dtype for name in numbers}
    assert str(empty["taken_at"].dtype) == "datetime64[ns, UTC]"
    assert empty["market_1x2_fallback"].dtype == bool


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["m1", "m2", "m3"]),
            st.sampled_from(["pinnacle", "market-average", "bet365", "bwin"]),
            st.lists(st.floats(1.02, 100.0), min_size=3, max_size=3),
            st.sampled_from([None, "overround_high"]),
        ),
        min_size=1,
        max_size=12,
        unique_by=lambda row: row[:2],
    ),
    st.sampled_from(list(MarginMethod)),
)
def test_probabilities_sum_to_one_and_every_match_appears_once(quotes, method):
    table = consensus(*[book(match, maker, prices, flag) for match, maker, prices, flag in quotes], method=method)
    assert table.index.is_unique
    real_or_average = {m for m, maker, _, flag in quotes if maker in ("pinnacle", "market-average") or flag is None}
    assert set(table.index) == real_or_average
    sums = table[["market_home", "market_draw", "market_away"]].sum(axis=1)
    assert sums.to_numpy() == pytest.approx(1.0, abs=1e-12)


LATER = AT + pd.Timedelta(hours=2)
BEST = ["market_home_best_price", "market_draw_best_price", "market_away_best_price"]


def best(*rows, until=None, market="1x2", line=0.0, selections=("home", "draw", "away")):
    times = pd.Series({"m1": AT} if until is None else until, dtype="datetime64[ns, UTC]")
    how = {"phase": "pre_close", "prefix": "market_", "until": times}
    return best_prices(frame_of(*rows), market=market, line=line, selections=selections, **how)


def test_the_best_price_of_each_selection_may_be_of_another_book():
    row = best(book(prices=(2.0, 3.5, 4.0)), book(bookmaker="bet365", prices=(1.9, 3.7, 4.1))).loc["m1"]
    assert row[BEST].to_list() == [2.0, 3.7, 4.1]


def test_a_palpable_error_is_no_best_price():
    error = book(bookmaker="typo", prices=(20.0, 3.5, 4.0), flag="overround_below_one")
    assert best(book(), error).loc["m1", BEST].to_list() == [2.0, 3.5, 4.0]
    assert best(error).loc["m1", BEST].isna().all()


def test_the_published_maximum_counts_only_where_no_bookmaker_is_left():
    maximum = book(bookmaker="market-maximum", prices=(2.2, 9.9, 4.4))
    assert best(book(), maximum).loc["m1", BEST].to_list() == [2.0, 3.5, 4.0]
    flagged = book(bookmaker="typo", prices=(20.0, 3.5, 4.0), flag="overround_below_one")
    assert best(flagged, maximum).loc["m1", BEST].to_list() == [2.2, 9.9, 4.4]


def test_the_published_average_is_no_price_that_anybody_pays():
    assert best(book(bookmaker="market-average")).loc["m1", BEST].isna().all()


def test_a_price_taken_after_the_decision_is_not_the_best():
    late = book(bookmaker="bet365", prices=(2.5, 3.7, 4.5), taken_at=LATER)
    assert best(book(), late).loc["m1", BEST].to_list() == [2.0, 3.5, 4.0]
    assert best(book(), late, until={"m1": LATER}).loc["m1", BEST].to_list() == [2.5, 3.7, 4.5]


def test_best_prices_are_of_the_asked_market_line_and_phase():
    strange = book(phase="close"), book(line=1.0), book(market="over_under", prices=(1.9, 1.9))
    assert best(*strange).loc["m1", BEST].isna().all()
    rows = [book(market="over_under", line=line, prices=(price, 1.8)) for line, price in ((2.5, 1.9), (3.5, 3.0))]
    assert best(*rows, market="over_under", line=2.5, selections=("over", "under")).loc["m1"].to_list() == [1.9, 1.8]


def test_best_prices_have_a_row_for_each_match_that_is_asked_for_and_no_other():
    table = best(book(), book("m2"), until={"m3": AT, "m1": AT})
    assert table.index.to_list() == ["m3", "m1"]
    assert table.loc["m3"].isna().all()
    assert (best(until={"m1": AT}).dtypes == "float64").all()
    assert best(until={}).empty


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["pinnacle", "bet365", "bwin", "market-average", "market-maximum"]),
            st.lists(st.floats(1.02, 100.0), min_size=3, max_size=3),
            st.sampled_from([None, "overround_below_one"]),
            st.sampled_from([AT, LATER]),
        ),
        max_size=5,
        unique_by=lambda row: row[0],
    )
)
def test_a_best_price_is_quoted_and_no_trusted_bookmaker_quotes_a_higher_one(quotes):
    found = best(*[book(bookmaker=maker, prices=p, flag=flag, taken_at=at) for maker, p, flag, at in quotes]).loc["m1"]
    usable = {maker: p for maker, p, flag, at in quotes if flag is None and at <= AT and maker != "market-average"}
    real = [prices for maker, prices in usable.items() if maker != "market-maximum"]
    allowed = real or list(usable.values())
    assert found.isna().all() == (not allowed)
    if allowed:
        assert found.to_list() == np.max(allowed, axis=0).tolist()
