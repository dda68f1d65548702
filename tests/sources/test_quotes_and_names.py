"""The limits of prices agree with the models, and look-alike team names are reported, never merged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from betting_assets.sources.quotes import book_flags, usable
from betting_assets.sources.records import Market, Price
from betting_assets.sources.team_names import canonical_name, near_misses

PRICE = TypeAdapter(Price)


@given(st.one_of(st.floats(), st.floats(0.9, 1.1), st.sampled_from([1.0, np.nextafter(1, 2), 1001.0, 1001.01])))
def test_the_quick_check_of_prices_and_the_model_agree(price: float) -> None:
    try:
        accepted = bool(PRICE.validate_python(price))
    except ValidationError:
        accepted = False
    assert bool(usable(np.array([price]))[0]) == accepted


def test_flags_know_the_market_and_the_kind_of_book() -> None:
    two_way = np.array([[1.7, 1.7]])  # sum 1.176: dear for two selections
    three_way = np.array([[2.0, 3.5, 2.56]])  # sum 1.176: usual for three
    assert book_flags(two_way, Market.OVER_UNDER, "bet365")[0] == "overround_high"
    assert book_flags(three_way, Market.MATCH_RESULT, "bet365")[0] is None
    assert book_flags(np.array([[2.1, np.nan]]), Market.OVER_UNDER, "bet365")[0] == "incomplete"
    assert book_flags(np.array([[2.1, 2.1]]), Market.OVER_UNDER, "bet365")[0] == "overround_below_one"
    assert book_flags(np.array([[2.1, 2.1]]), Market.OVER_UNDER, "market-maximum")[0] is None


def played(*matches: tuple[str, str, str, str]) -> pd.DataFrame:
    table = pd.DataFrame(matches, columns=["rating_pool", "match_date", "home", "away"])
    return table.assign(match_date=pd.to_datetime(table["match_date"]))


def test_two_names_that_look_alike_are_reported() -> None:
    matches = played(("x", "2020-08-01", "Ashford Town", "Birch"), ("x", "2020-08-08", "Birch", "Ashford Towne"))
    assert len(near_misses(matches)) == 1
    assert "'Ashford Town' (1 matches) and 'Ashford Towne' (1 matches)" in near_misses(matches)[0]


@pytest.mark.parametrize(
    "matches",
    [
        (("x", "2020-08-01", "Ashford Town", "Ashford Towns"),),
        (("x", "2020-08-01", "Ashford Town", "Birch"), ("x", "2020-08-01", "Cairn", "Ashford Towns")),
        (("x", "2020-08-01", "Ashford Town", "Birch"), ("y", "2020-08-08", "Ashford Towns", "Cairn")),
        (("x", "2020-08-01", "Ashford", "Birch"), ("x", "2020-08-08", "Ashford II", "Birch")),
    ],
    ids=["they meet", "they play on one day", "in different pools", "a reserve team"],
)
def test_two_teams_that_must_be_two_are_not_reported(matches: tuple[tuple[str, str, str, str], ...]) -> None:
    assert near_misses(played(*matches)) == []


def test_a_known_variant_becomes_the_usual_name_in_its_pool_only() -> None:
    assert canonical_name("england", "Nottingham  Forest") == "Nott'm Forest"
    assert canonical_name("elsewhere", "Nottingham Forest") == "Nottingham Forest"
