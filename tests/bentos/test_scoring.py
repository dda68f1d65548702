"""Rows are scored together, but never influence each other."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.match_odds.champions import Champions
from bentos.match_odds.contract import MarketName, Row
from bentos.match_odds.scoring import frame, score
from betting_assets.modelling.bundle import Bundle
from betting_assets.modelling.markets import MARKETS

Trained = dict[str, tuple[Bundle, pd.DataFrame]]


def row(trained: Trained, market: str, place: int, priced: bool = True, **changes: object) -> Row:
    bundle, table = trained[market]
    cells = table.iloc[place]
    features = {name: None if pd.isna(cells[name]) else cells[name] for name in bundle.features}
    if not priced:
        features |= dict.fromkeys(bundle.market.market_columns)
    return Row(market=MarketName(market), features=features | changes)


def without(good: Row, name: str) -> Row:
    return Row(market=good.market, features={k: v for k, v in good.features.items() if k != name})


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
    rows = [
        without(row(trained, market, place), "month") if broken else row(trained, market, place, priced)
        for market, place, priced, broken in picks
    ]
    together = score(champions, rows)
    alone = [score(champions, [one])[0] for one in rows]
    assert together == alone


def test_a_priced_row_is_answered_as_the_bundle_does(trained: Trained, champions: Champions) -> None:
    bundle, table = trained["1x2"]
    rows = [row(trained, "1x2", place) for place in range(64)]
    expected = bundle.predict(table.head(64)).probabilities.tolist()
    assert [answer.probabilities for answer in score(champions, rows)] == expected


def test_a_row_without_prices_is_answered_by_fundamentals(trained: Trained, champions: Champions) -> None:
    bundle, _ = trained["over_under"]
    unpriced = row(trained, "over_under", 5, priced=False)
    expected = bundle.predict(frame(bundle, [unpriced.features])).probabilities[0].tolist()
    answer = score(champions, [unpriced])[0]
    assert (answer.variant, answer.probabilities) == ("fundamentals", expected)


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
    trained: Trained, champions: Champions, changes: dict[str, object], reason: str
) -> None:
    answer = score(champions, [row(trained, "1x2", 0, **changes)])[0]
    assert answer.probabilities == []
    assert reason in str(answer.error)


def test_a_missing_feature_is_named(trained: Trained, champions: Champions) -> None:
    answer = score(champions, [without(row(trained, "1x2", 0), "pi_goal_difference")])[0]
    assert "missing feature 'pi_goal_difference'" in str(answer.error)


def test_numbers_far_outside_training_never_give_probabilities_that_are_not_finite(
    trained: Trained, champions: Champions
) -> None:
    absurd = row(trained, "1x2", 0, priced=False, elo_difference=1e308, pi_goal_difference=-1e308)
    good = row(trained, "1x2", 1)
    answers = score(champions, [absurd, good])
    assert "far outside" in str(answers[0].error)
    assert answers[1] == score(champions, [good])[0]


def test_a_market_without_a_champion_is_named(trained: Trained, champions: Champions) -> None:
    only = Champions({"1x2": champions["1x2"]})
    answer = score(only, [row(trained, "over_under", 0)])[0]
    assert "no champion for market" in str(answer.error)
