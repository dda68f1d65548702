"""What a client is told of a match, and what is withheld from it: every rule, and which of several is told."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bentos.match_odds.contract import Prediction, Reason, Staking
from bentos.match_odds.model.champions import Champions
from bentos.match_odds.model.rows import CachedRow, ModelRow, RowAnswer, StoredRow
from bentos.match_odds.model.value import prediction, scored_prediction
from betting_assets.betting.staking import capped, kelly_stakes

READ_AT = dt.datetime(2021, 3, 5, 15, 0, tzinfo=dt.UTC)
MAX_ODDS_AGE = 3600.0
MARKET = [0.45, 0.29, 0.26]
P = [0.5, 0.28, 0.22]
PRICES = [2.2, 3.4, 3.9]
ANSWER = RowAnswer(P, "market_residual")
STAKING = Staking(kelly_fraction=0.5, max_stake=0.1)
BY_DEFAULT = ["probabilities", "fair_odds", "market_probabilities", "best_prices"]
BETS = ["edges", "stakes"]


def seconds(n: float) -> dt.timedelta:
    return dt.timedelta(seconds=n)


@pytest.fixture(scope="module")
def model(champions: Champions) -> ModelRow:
    champion = champions.of("1x2")
    strength = [0.1] * (len(champion.bundle.numbers) - 3)
    return ModelRow(champion, np.array([*strength, *MARKET]), "XX")


@pytest.fixture(scope="module")
def stored(model: ModelRow) -> StoredRow:
    times = {"match_strength": READ_AT - seconds(7200), "match_market": READ_AT - seconds(60)}
    return StoredRow("xx_a_b", model, PRICES, False, times["match_market"], times)


def told(stored: StoredRow, answer: RowAnswer = ANSWER, staking: Staking | None = STAKING, **row: Any) -> Prediction:
    return prediction(CachedRow(stored, **{"read_at": READ_AT, "age": 0.0} | row), answer, staking, MAX_ODDS_AGE)


def without_market(model: ModelRow) -> ModelRow:
    return replace(model, values=np.concatenate([model.values[:-3], [np.nan] * 3]))


def odds_of_age(stored: StoredRow, age: float) -> StoredRow:
    return replace(stored, event_times={**stored.event_times, "match_market": READ_AT - seconds(age)})


def withheld(found: Prediction) -> tuple[Reason, list[str]]:
    assert found.withheld is not None
    assert found.withheld.detail
    assert "\n" not in found.withheld.detail
    assert all(getattr(found, name) == [] for name in found.withheld.fields)
    return found.withheld.reason, found.withheld.fields


def test_at_fresh_odds_everything_that_was_asked_for_is_told(stored: StoredRow) -> None:
    found = told(stored)
    assert found.withheld is None
    assert (found.match_id, found.variant, found.probabilities) == ("xx_a_b", "market_residual", P)
    assert found.fair_odds == [1.0 / p for p in P]
    assert (found.market_probabilities, found.best_prices) == (MARKET, PRICES)
    assert found.edges == [p * price - 1.0 for p, price in zip(P, PRICES, strict=True)]
    assert found.stakes == capped(kelly_stakes(P, PRICES), 0.5, 0.1)


def test_stakes_keep_below_the_cap_that_was_asked_for(stored: StoredRow) -> None:
    found = told(stored, staking=Staking(kelly_fraction=1.0, max_stake=0.02))
    assert math.fsum(found.stakes) == pytest.approx(0.02)


def test_without_staking_there_are_prices_but_neither_edges_nor_stakes_and_nothing_is_withheld(
    stored: StoredRow,
) -> None:
    found = told(stored, staking=None)
    assert (found.best_prices, found.edges, found.stakes, found.withheld) == (PRICES, [], [], None)


def test_ages_are_told_by_the_stores_clock_and_the_caches_beside_them(stored: StoredRow) -> None:
    found = told(stored, age=0.2)
    assert found.feature_ages == {"match_strength": 7200.0, "match_market": 60.0}
    assert (found.feature_age_seconds, found.cache_age_seconds) == (60.0, 0.2)
    assert found.feature_time == READ_AT - seconds(60)


@pytest.mark.parametrize(("staking", "fields"), [(None, BY_DEFAULT), (STAKING, [*BY_DEFAULT, *BETS])])
def test_a_fault_leaves_nothing_but_the_reason_and_the_times(
    stored: StoredRow, staking: Staking | None, fields: list[str]
) -> None:
    found = told(stored, RowAnswer([], "market_residual", "feature 'month' is null"), staking)
    assert withheld(found) == (Reason.MISSING_FEATURES, fields)
    assert found.withheld is not None
    assert found.withheld.detail == "feature 'month' is null"
    assert found.variant is None
    assert found.feature_age_seconds == 60.0


def test_a_match_that_is_not_stored_has_no_times(model: ModelRow) -> None:
    row = replace(model, values=np.empty(0), fault="no features are stored")
    found = told(StoredRow("xx_a_b", row, [], False, None, {}), RowAnswer([], "", row.fault))
    assert withheld(found) == (Reason.MISSING_FEATURES, [*BY_DEFAULT, *BETS])
    assert (found.feature_time, found.feature_age_seconds, found.feature_ages) == (None, None, {})


@pytest.mark.parametrize(("staking", "fields"), [(None, ["best_prices"]), (STAKING, ["best_prices", *BETS])])
def test_a_suspended_market_has_probabilities_but_nothing_of_value(
    stored: StoredRow, staking: Staking | None, fields: list[str]
) -> None:
    found = told(replace(stored, suspended=True), staking=staking)
    assert withheld(found) == (Reason.SUSPENDED_MARKET, fields)
    assert (found.probabilities, found.market_probabilities) == (P, MARKET)


@pytest.mark.parametrize(("odds", "cache", "stale"), [(3600.0, 0.0, False), (3600.1, 0.0, True), (3599.9, 0.2, True)])
def test_odds_are_stale_when_they_and_the_cache_together_are_older_than_allowed(
    stored: StoredRow, odds: float, cache: float, stale: bool
) -> None:
    found = told(odds_of_age(stored, odds), age=cache)
    if not stale:
        assert found.withheld is None
        return
    assert withheld(found) == (Reason.STALE_ODDS, ["best_prices", *BETS])
    assert (found.probabilities, found.market_probabilities) == (P, MARKET)


def test_old_ratings_do_not_make_odds_stale(stored: StoredRow) -> None:
    times = {**stored.event_times, "match_strength": READ_AT - seconds(10 * MAX_ODDS_AGE)}
    assert told(replace(stored, event_times=times)).withheld is None


def test_without_a_row_of_odds_none_are_stale_they_are_missing(stored: StoredRow) -> None:
    times = {"match_strength": READ_AT - seconds(10)}
    bare = replace(stored, model=without_market(stored.model), best_prices=[], event_times=times)
    found = told(bare, RowAnswer(P, "fundamentals"), age=2 * MAX_ODDS_AGE)
    assert withheld(found) == (Reason.NO_ODDS, ["market_probabilities", "best_prices", *BETS])
    assert (found.variant, found.probabilities) == ("fundamentals", P)


def test_without_best_prices_the_market_is_still_told(stored: StoredRow) -> None:
    found = told(replace(stored, best_prices=[]))
    assert withheld(found) == (Reason.NO_ODDS, ["best_prices", *BETS])
    assert found.market_probabilities == MARKET


def test_a_model_without_odds_is_not_to_be_bet_on(stored: StoredRow) -> None:
    found = told(replace(stored, model=without_market(stored.model)), RowAnswer(P, "fundamentals"))
    assert withheld(found) == (Reason.NO_ODDS, ["market_probabilities", *BETS])
    assert found.best_prices == PRICES


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_the_gravest_reason_is_told_and_the_fields_are_those_that_are_empty(
    stored: StoredRow, causes: list[bool]
) -> None:
    fault, suspended, stale, no_market, no_prices, asked = causes
    row = odds_of_age(replace(stored, suspended=suspended), 2 * MAX_ODDS_AGE if stale else 1.0)
    row = replace(row, best_prices=[] if no_prices else PRICES)
    row = replace(row, model=without_market(row.model) if no_market else row.model)
    found = told(row, RowAnswer([], "", "a fault") if fault else ANSWER, STAKING if asked else None)
    holding = [fault, suspended, stale, no_market or no_prices]
    assert [*Reason] == [
        Reason.MISSING_FEATURES,
        Reason.SUSPENDED_MARKET,
        Reason.STALE_ODDS,
        Reason.NO_ODDS,
    ]
    expected = next((reason for reason, holds in zip(Reason, holding, strict=True) if holds), None)
    assert (found.withheld.reason if found.withheld else None) == expected
    wanted = [*BY_DEFAULT, *(BETS if asked else [])]
    assert (found.withheld.fields if found.withheld else []) == [name for name in wanted if not getattr(found, name)]
    assert (found.edges != []) == (found.stakes != []) == (asked and not any(holding))


def test_explicit_features_are_valued_at_the_clients_prices(model: ModelRow) -> None:
    found = scored_prediction(model, PRICES, ANSWER, STAKING)
    assert found.withheld is None
    assert (found.best_prices, found.market_probabilities) == (PRICES, MARKET)
    assert found.fair_odds == [1.0 / p for p in P]
    assert found.stakes == capped(kelly_stakes(P, PRICES), 0.5, 0.1)
    assert (found.match_id, found.feature_time, found.feature_ages, found.cache_age_seconds) == (None, None, {}, None)


def test_prices_that_the_client_did_not_give_are_not_withheld_but_stakes_on_them_are(model: ModelRow) -> None:
    assert scored_prediction(model, None, ANSWER, None).withheld is None
    assert withheld(scored_prediction(model, None, ANSWER, STAKING)) == (Reason.NO_ODDS, BETS)


def test_explicit_features_without_a_market_have_no_value(model: ModelRow) -> None:
    found = scored_prediction(without_market(model), PRICES, RowAnswer(P, "fundamentals"), STAKING)
    assert withheld(found) == (Reason.NO_ODDS, ["market_probabilities", *BETS])
