"""Kelly stakes against numerical optimization, and what holds for every book."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize

from betting_assets.betting.staking import capped, edges, kelly_stakes

NAN = float("nan")


@st.composite
def books(draw, least=1.02, most=60.0, gaps=True):
    """Probabilities and prices of two to eight outcomes; some prices missing."""
    n = draw(st.integers(2, 8))
    weights = draw(st.lists(st.floats(0.01, 1.0), min_size=n, max_size=n))
    price = st.floats(least, most)
    prices = draw(st.lists(st.one_of(price, st.just(NAN)) if gaps else price, min_size=n, max_size=n))
    return [weight / sum(weights) for weight in weights], prices


@st.composite
def plausible_books(draw):
    """Books that ask for a margin of 0 to 20 % on probabilities near those of the bettor; some prices missing."""
    p, _ = draw(books())
    noise = draw(st.lists(st.floats(0.6, 1.6), min_size=len(p), max_size=len(p)))
    margin = draw(st.floats(1.0, 1.2))
    bookmaker = [x * e for x, e in zip(p, noise, strict=True)]
    prices = [max(sum(bookmaker) / (margin * q), 1.001) for q in bookmaker]
    missing = draw(st.lists(st.booleans(), min_size=len(p), max_size=len(p)))
    return p, [NAN if gone else price for gone, price in zip(missing, prices, strict=True)]


def growth(stakes, p, prices):
    """Expected logarithm of the bankroll, minus infinity where ruin is possible."""
    payout = np.where(np.isfinite(prices), np.nan_to_num(prices), 0.0) * stakes
    wealth = 1.0 - np.sum(stakes) + payout
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(wealth > 0.0, np.log(wealth), -np.inf)
    return float(np.sum(np.where(np.asarray(p) > 0.0, np.asarray(p) * logs, 0.0)))


def optimum(p, prices):
    """The best expected logarithm that scipy finds from several starts, and its stakes."""
    open_ = np.isfinite(prices)

    def loss(x):
        return -growth(np.where(open_, x, 0.0), p, prices)

    starts = [np.full(len(p), 0.01), np.where(open_, p, 0.0) * 0.5, np.where(open_, p, 0.0) * 0.95]
    limits = [{"type": "ineq", "fun": lambda x: 1.0 - 1e-9 - np.sum(x)}]
    bounds = [(0.0, 1.0) if o else (0.0, 0.0) for o in open_]
    found = [
        minimize(loss, s, method="SLSQP", bounds=bounds, constraints=limits, options={"ftol": 1e-14, "maxiter": 500})
        for s in starts
    ]
    best = min((f for f in found if math.isfinite(f.fun)), key=lambda f: f.fun)
    return -best.fun, best.x


KNOWN = {
    "one edge": ([0.5, 0.3, 0.2], [2.2, 3.0, 4.0]),
    "an edge and a hedge": ([0.55, 0.27, 0.18], [2.1, 3.65, 4.0]),
    "two edges": ([0.4, 0.35, 0.25], [2.8, 3.1, 3.0]),
    "two outcomes": ([0.53, 0.47], [2.0, 1.9]),
    "the edge has no price": ([0.6, 0.25, 0.15], [NAN, 4.2, 6.0]),
    "a hedge has no price": ([0.6, 0.25, 0.15], [2.0, NAN, 6.5]),
    "an arbitrage": ([0.5, 0.3, 0.2], [2.3, 3.6, 6.0]),
    "an arbitrage with a long shot": ([0.9, 0.09, 0.01], [3.3, 3.3, 3.3]),
    "many outcomes": ([0.3, 0.25, 0.2, 0.1, 0.1, 0.05], [3.6, 3.7, 5.5, 9.0, 12.0, 15.0]),
}


@pytest.mark.parametrize("case", list(KNOWN))
def test_the_stakes_are_those_that_numerical_optimization_finds(case):
    p, prices = KNOWN[case]
    stakes = kelly_stakes(p, prices)
    best, found = optimum(p, prices)
    assert growth(stakes, p, prices) == pytest.approx(best, abs=1e-7)
    assert stakes == pytest.approx(found, abs=2e-3)
    assert sum(stakes) > 0.0


@given(st.one_of(plausible_books(), books()))
def test_numerical_optimization_finds_nothing_better(book):
    p, prices = book
    best, _ = optimum(p, prices)
    ours = growth(kelly_stakes(p, prices), p, prices)
    assert ours >= best - 1e-9
    assert ours >= -1e-15  # the logarithm of a sum that rounding leaves just below one


@given(st.one_of(plausible_books(), books()))
def test_moving_a_little_from_one_stake_to_another_or_to_the_purse_gains_nothing(book):
    """The conditions of Karush, Kuhn and Tucker, which make a maximum of a concave function."""
    p, prices = book
    stakes = np.array(kelly_stakes(p, prices))
    payouts = np.where(np.isfinite(prices), np.nan_to_num(prices), 0.0)
    wealth = 1.0 - stakes.sum() + stakes * payouts
    assume(wealth.min() > 1e-6)
    gain = np.asarray(p) * payouts / wealth - np.sum(np.asarray(p) / wealth)
    multiplier = 0.0 if stakes.sum() < 1.0 - 1e-9 else max(gain.max(), 0.0)  # of the bound that is all there is
    assert (gain[np.isfinite(prices)] < multiplier + 1e-6).all()
    assert gain[stakes > 0.0] == pytest.approx(multiplier, abs=1e-6)


@given(st.floats(0.01, 0.99), st.floats(1.02, 50.0))
def test_one_open_outcome_gets_the_formula_of_kelly(p, price):
    expected = max((p * price - 1.0) / (price - 1.0), 0.0)
    assert kelly_stakes([p, 1.0 - p], [price, NAN]) == pytest.approx([expected, 0.0], abs=1e-12)


@given(plausible_books())
def test_without_any_edge_nothing_is_bet(book):
    p, prices = book
    without = [price if q * price <= 1.0 else NAN for q, price in zip(p, prices, strict=True)]
    assert kelly_stakes(p, without) == [0.0] * len(p)


@given(st.one_of(plausible_books(), books(least=1.001)))
def test_stakes_are_never_negative_nor_more_than_there_is(book):
    p, prices = book
    stakes = kelly_stakes(p, prices)
    assert min(stakes) >= 0.0
    assert math.fsum(stakes) <= 1.0 + 1e-12
    assert all(stake == 0.0 for stake, price in zip(stakes, prices, strict=True) if price != price)


@given(books(gaps=False))
def test_on_an_arbitrage_all_is_bet_in_proportion_to_the_probabilities(book):
    p, prices = book
    booksum = sum(1.0 / price for price in prices)
    raised = [price * booksum * 1.05 for price in prices]
    assert kelly_stakes(p, raised) == pytest.approx(p, abs=1e-9)


@given(st.one_of(plausible_books(), books()), st.randoms())
def test_the_order_of_the_outcomes_does_not_matter(book, random):
    p, prices = book
    order = list(range(len(p)))
    random.shuffle(order)
    shuffled = kelly_stakes([p[i] for i in order], [prices[i] for i in order])
    assert shuffled == pytest.approx([kelly_stakes(p, prices)[i] for i in order], abs=1e-9)


@pytest.mark.parametrize("price", [NAN, math.inf, 1.0, 0.0, -2.0])
def test_what_is_no_price_gets_no_stake(price):
    assert kelly_stakes([0.7, 0.3], [price, 1.2]) == [0.0, 0.0]


def test_a_certain_outcome_takes_all_and_an_impossible_one_nothing():
    assert kelly_stakes([1.0, 0.0], [1.5, 100.0]) == [1.0, 0.0]


def test_an_outcome_with_a_negative_edge_can_be_a_hedge():
    p, prices = KNOWN["an edge and a hedge"]
    assert edges(p, prices)[1] < 0.0 < kelly_stakes(p, prices)[1]


@given(
    st.lists(st.floats(0.0, 0.3), min_size=2, max_size=3), st.floats(0.0, 1.0, exclude_min=True), st.floats(1e-6, 1.0)
)
def test_capped_stakes_are_a_fraction_that_stays_below_the_cap(stakes, fraction, cap):
    result = capped(stakes, fraction, cap)
    total = fraction * sum(stakes)
    assert math.fsum(result) == pytest.approx(min(total, cap), abs=1e-12)
    wanted = [fraction * stake * (cap / total if total > cap else 1.0) for stake in stakes]
    assert result == pytest.approx(wanted, abs=1e-12)


def test_an_edge_is_the_expected_profit_of_a_unit():
    assert edges([0.5, 0.3], [2.2, 3.0]) == pytest.approx([0.1, -0.1])
    assert math.isnan(edges([0.5, 0.5], [NAN, 2.0])[0])


def test_lists_of_unequal_length_are_refused():
    for function in (edges, kelly_stakes):
        with pytest.raises(ValueError, match="shorter"):
            function([0.5, 0.3, 0.2], [2.0, 3.0])
