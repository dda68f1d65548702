"""Rows are scored together, but never influence each other."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invented_models import invented_bundle

from bentos.match_odds.contract import Value
from bentos.match_odds.model.champions import Champion, Champions
from bentos.match_odds.model.rows import ModelRow, RowAnswer
from bentos.match_odds.model.scoring import model_row, score
from betting_assets.modelling.bundle import Bundle
from betting_assets.modelling.markets import MARKETS
from betting_assets.modelling.variants import VariantName

Trained = dict[str, tuple[Bundle, pd.DataFrame]]
Features = dict[str, Value]


def features(trained: Trained, market: str, place: int, priced: bool = True, **changes: Value) -> Features:
    bundle, table = trained[market]
    cells = table.iloc[place]
    found: Features = {name: None if pd.isna(cells[name]) else cells[name] for name in bundle.features}
    if not priced:
        found |= dict.fromkeys(bundle.market.market_columns)
    return found | changes


def without(good: Features, name: str) -> Features:
    return {key: value for key, value in good.items() if key != name}


def answer(champions: Champions, market: str, given: Features) -> RowAnswer:
    return score([model_row(champions[market], given)])[0]


PICKS = st.lists(
    st.tuples(st.sampled_from(sorted(MARKETS)), st.integers(0, 899), st.booleans(), st.booleans()),
    min_size=1,
    max_size=64,
)


@settings(max_examples=25, deadline=None)
@given(picks=PICKS)
def test_an_answer_is_equal_to_the_bit_alone_and_beside_any_other_rows(
    trained: Trained, champions: Champions, picks: list[tuple[str, int, bool, bool]]
) -> None:
    rows: list[ModelRow] = []
    for market, place, priced, broken in picks:
        given = features(trained, market, place, priced)
        rows.append(model_row(champions[market], without(given, "month") if broken else given))
    assert score(rows) == [score([one])[0] for one in rows]


def test_a_priced_row_is_answered_as_the_bundle_does(trained: Trained, champions: Champions) -> None:
    bundle, table = trained["1x2"]
    rows = [model_row(champions["1x2"], features(trained, "1x2", place)) for place in range(64)]
    expected = bundle.predict(table.head(64)).probabilities.tolist()
    assert [one.probabilities for one in score(rows)] == expected


def test_a_row_without_prices_is_answered_by_fundamentals(trained: Trained, champions: Champions) -> None:
    bundle, table = trained["over_under"]
    expected = bundle.predict(table.iloc[[5]], VariantName.FUNDAMENTALS).probabilities[0].tolist()
    found = answer(champions, "over_under", features(trained, "over_under", 5, priced=False))
    assert (found.variant, found.probabilities) == ("fundamentals", expected)


def test_rows_of_two_models_of_one_market_are_answered_by_their_own(trained: Trained, champions: Champions) -> None:
    other = Champion(invented_bundle("1x2", seed=9)[0], "99")
    given = features(trained, "1x2", 3)
    rows = [model_row(champion, given) for champion in (champions["1x2"], other, champions["1x2"])]
    first, second, third = score(rows)
    assert first == third != second
    assert second == score([rows[1]])[0]


def test_a_row_tells_its_features_as_they_were_given(trained: Trained, champions: Champions) -> None:
    given = features(trained, "1x2", 7, priced=False)
    row = model_row(champions["1x2"], given)
    assert row.features() == given
    assert json.loads(row.json) == given
    assert row.market_probabilities == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"elo_difference": None}, "'elo_difference' is null, but training never saw it missing"),
        ({"elo_difference": "strong"}, "'elo_difference' must be a number"),
        ({"league": 3.0}, "'league' must be a text"),
        ({"league": None}, "'league' is null"),
        ({"referee": 1.0}, "unexpected feature 'referee'"),
        ({"market_home": None}, "give all of them or null for all"),
        ({"market_home": 0.9}, "lie in (0, 1) and sum to 1"),
        ({"market_home": -0.2, "market_draw": 0.6, "market_away": 0.6}, "lie in (0, 1) and sum to 1"),
    ],
)
def test_features_that_the_model_cannot_take_are_refused_by_name(
    trained: Trained, champions: Champions, changes: Features, reason: str
) -> None:
    found = answer(champions, "1x2", features(trained, "1x2", 0, **changes))
    assert found.probabilities == []
    assert reason in str(found.error)


def test_a_missing_feature_is_named(trained: Trained, champions: Champions) -> None:
    found = answer(champions, "1x2", without(features(trained, "1x2", 0), "pi_goal_difference"))
    assert "missing feature 'pi_goal_difference'" in str(found.error)


def test_numbers_far_outside_training_never_give_probabilities_that_are_not_finite(
    trained: Trained, champions: Champions
) -> None:
    absurd = features(trained, "1x2", 0, priced=False, elo_difference=1e308, pi_goal_difference=-1e308)
    rows = [model_row(champions["1x2"], given) for given in (absurd, features(trained, "1x2", 1))]
    answers = score(rows)
    assert "far outside" in str(answers[0].error)
    assert answers[1] == score(rows[1:])[0]
