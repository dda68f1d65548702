"""Feature tables from canonical frames: what is known at decision time, and nothing that is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from simulated_tables import Tables, tables_of

from betting_assets.betting.odds import MarginMethod
from betting_assets.modelling.feature_tables import decision_times, first_quotes, match_market
from betting_assets.modelling.markets import MARKETS, modelled_market
from betting_assets.sources.batch import Batch


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


BOOKS = pd.DataFrame(
    {
        "match_id": ["a", "a", "a", "b"],
        "phase": ["pre_close", "pre_close", "close", "close"],
        "taken_at": [
            utc("2023-08-11 15:00"),
            utc("2023-08-10 09:00"),
            utc("2023-08-12 14:00"),
            utc("2023-08-12 16:00"),
        ],
    }
)
MATCHES = pd.DataFrame(
    {"match_id": ["b", "a"], "match_date": pd.to_datetime(["2023-08-12", "2023-08-12"])}, index=[7, 3]
)


def test_the_decision_time_is_the_earliest_price_before_the_close() -> None:
    times = decision_times(MATCHES, first_quotes(BOOKS))
    assert times[3] == utc("2023-08-10 09:00")
    assert list(times.index) == [7, 3]


def test_a_match_without_a_price_before_the_close_is_decided_at_the_midnight_before() -> None:
    assert decision_times(MATCHES, first_quotes(BOOKS))[7] == utc("2023-08-12 00:00")


def test_without_any_price_every_match_has_a_decision_time() -> None:
    times = decision_times(MATCHES, first_quotes(BOOKS.iloc[:0]))
    assert (times == utc("2023-08-12")).all()
    assert times.dtype == pd.DatetimeTZDtype("ns", "UTC")


def test_no_feature_is_later_than_any_price_that_it_is_bet_against(tables: Tables) -> None:
    early = tables.batch.books.query("phase == 'pre_close'").groupby("match_id")["taken_at"].min()
    first = tables.strength["match_id"].map(early)
    assert (tables.strength["event_timestamp"] <= first).all()
    assert (tables.strength["last_input_at"].dropna() <= first[tables.strength["last_input_at"].notna()]).all()


def test_no_column_of_a_closing_price_reaches_a_feature_table(tables: Tables) -> None:
    closing = {column for spec in MARKETS.values() for column in spec.closing_columns}
    assert closing <= set(tables.closing.columns)
    assert not closing & {*tables.strength.columns, *tables.prices.columns}
    assert not [name for name in (*tables.strength, *tables.prices) if "close" in name]


def test_changing_every_closing_price_changes_no_feature(tables: Tables) -> None:
    books = tables.batch.books
    closing = (books["phase"] == "close").to_numpy()
    prices = [[4.0] * len(p) if late else p for p, late in zip(books["prices"], closing, strict=True)]
    changed = tables_of(replace(tables.batch, books=books.assign(prices=prices)))
    assert_frame_equal(changed.strength, tables.strength)
    assert_frame_equal(changed.prices, tables.prices)
    assert not changed.closing.equals(tables.closing)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_permuting_later_results_changes_no_earlier_feature_row(tables: Tables, share: float) -> None:
    cut = tables.strength["event_timestamp"].quantile(share)
    changed = tables_of(_permuted_after(tables.batch, cut))
    before = tables.strength["event_timestamp"] <= cut
    assert_frame_equal(changed.strength[before], tables.strength[before])
    assert_frame_equal(changed.prices, tables.prices)
    assert not changed.strength.equals(tables.strength)


def _permuted_after(batch: Batch, cut: pd.Timestamp) -> Batch:
    """Scores and statistics of matches that were not known at `cut` change places among themselves."""
    rng = np.random.default_rng(0)
    results, statistics = batch.results.copy(), batch.statistics.copy()
    later = np.flatnonzero(results["known_at"] > cut)
    scores = ["home_score", "away_score"]
    results.loc[results.index[later], scores] = results[scores].to_numpy()[rng.permutation(later)]
    unknown = np.flatnonzero(statistics["match_id"].isin(set(results["match_id"].iloc[later])))
    counts = [name for name in statistics if name != "match_id"]
    shuffled = statistics[counts].iloc[rng.permutation(unknown)].set_index(statistics.index[unknown])
    statistics.loc[statistics.index[unknown], counts] = shuffled
    return replace(batch, results=results, statistics=statistics)


def test_every_match_has_one_row_with_the_goal_model_beside_ratings_and_form(tables: Tables) -> None:
    assert tables.strength["match_id"].tolist() == tables.batch.matches["match_id"].tolist()
    assert {"elo_difference", "home_goals_for_short", "goal_model_home", "league"} <= set(tables.strength)


def test_market_probabilities_sum_to_one_in_every_market(tables: Tables) -> None:
    for spec in MARKETS.values():
        assert tables.prices[spec.market_columns].dropna().sum(axis=1).to_numpy() == pytest.approx(1.0)


def test_a_best_price_is_as_good_as_that_of_the_book_which_stands_for_the_market(tables: Tables) -> None:
    """Where that is a bookmaker that may be trusted: an average is no offer, and an error is not taken up."""
    for spec in MARKETS.values():
        trusted = tables.batch.books.query("bookmaker == 'pinnacle' and phase == 'pre_close' and flag.isna()")
        matches = trusted.loc[trusted["market"] == spec.market.value, "match_id"]
        rows = tables.prices[tables.prices["match_id"].isin(matches)]
        assert len(rows) > 500
        assert (rows[spec.best_price_columns].to_numpy() >= rows[spec.price_columns].to_numpy()).all()


def test_no_best_price_was_taken_after_its_row(tables: Tables) -> None:
    """A better price that comes too late is as good as none; one that comes in time is the best."""
    books = tables.batch.books
    chosen = (books["phase"] == "pre_close") & (books["bookmaker"] == "old-crown") & books["flag"].isna()
    better = books.assign(prices=[[p * 1.5 for p in prices] for prices in books["prices"]]).where(chosen, books)
    too_late = better.assign(taken_at=books["taken_at"] + chosen * pd.Timedelta(days=1))
    found, late, without = (
        match_market(changed, reference="pinnacle", method=MarginMethod.POWER)
        for changed in (better, too_late, books[~chosen])
    )
    for names in (spec.best_price_columns for spec in MARKETS.values()):
        assert_frame_equal(late[names], without[names])
        assert (found[names] > without[names]).to_numpy().mean() > 0.9


def test_what_tells_the_value_of_a_bet_is_no_feature_of_a_model(tables: Tables) -> None:
    for market, spec in MARKETS.items():
        value = {*spec.best_price_columns, spec.suspended_column}
        assert value <= set(tables.prices)
        dataset = tables.dataset(market)
        assert not value & {*dataset.frame, *dataset.strength}
        assert not value & set(tables.closing)


def test_books_tell_of_no_suspension_so_every_row_says_that_bets_are_taken(tables: Tables) -> None:
    for spec in MARKETS.values():
        assert tables.prices[spec.suspended_column].dtype == "float64"
        assert (tables.prices[spec.suspended_column] == 0.0).all()


def test_a_score_settles_each_market() -> None:
    home, away = np.array([2, 1, 0, 3]), np.array([0, 1, 2, 1])
    assert modelled_market("1x2").settle(home, away).tolist() == [0, 1, 2, 0]
    assert modelled_market("over_under").settle(home, away).tolist() == [1, 1, 1, 0]


def test_an_unknown_market_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'corners' is not modelled; choose one of 1x2, over_under"):
        modelled_market("corners")
