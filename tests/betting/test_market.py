"""Market consensus: whose price stands for the market, and what happens when books are missing or wrong."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betting_assets.betting.market import market_consensus
from betting_assets.betting.odds import MarginMethod, remove_margin

AT = pd.Timestamp("2023-08-11 15:00", tz="UTC")


def book(match="m1", bookmaker="pinnacle", prices=(2.0, 3.5, 4.0), flag=None, taken_at=AT, **changes):
    row = {"match_id": match, "bookmaker": bookmaker, "market": "1x2", "line": 0.0, "phase": "pre_close"}
    return row | {"prices": list(prices), "taken_at": taken_at, "flag": flag} | changes


def consensus(*rows, market="1x2", line=0.0, selections=("home", "draw", "away"), **options):
    columns = ["match_id", "bookmaker", "market", "line", "phase", "prices", "taken_at", "flag"]
    frame = pd.DataFrame(list(rows), columns=columns).astype({"flag": object, "line": float})
    frame["taken_at"] = pd.to_datetime(frame["taken_at"], utc=True)
    how = {"phase": "pre_close", "prefix": "market_"} | options
    return market_consensus(frame, market=market, line=line, selections=selections, **how)


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
