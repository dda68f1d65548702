"""Margin removal: the rules every method keeps, and reference values of each."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from betting_assets.betting.odds import MarginMethod, overround, remove_margin

METHODS = list(MarginMethod)
books = st.integers(2, 6).flatmap(lambda k: arrays(np.float64, (3, k), elements=st.floats(1.001, 1001.0)))

# Computed with public implementations: penaltyblog's, and for Shin also that of Matt Berk's package `shin`.
REFERENCE = {
    (2.7, 2.3, 4.4): {
        MarginMethod.MULTIPLICATIVE: (0.3587380362, 0.4211272598, 0.2201347040),
        MarginMethod.ADDITIVE: (0.3595618016, 0.4239740399, 0.2164641585),
        MarginMethod.POWER: (0.3591710999, 0.4237307530, 0.2170981472),
        MarginMethod.SHIN: (0.3593439196, 0.4232438482, 0.2174122322),
        MarginMethod.ODDS_RATIO: (0.3588103621, 0.4225614222, 0.2186282157),
    },
    (1.05, 17.0, 41.0): {
        MarginMethod.MULTIPLICATIVE: (0.9196463913, 0.0568016889, 0.0235519198),
        MarginMethod.ADDITIVE: (0.9405160438, 0.0469586208, 0.0125253353),
        MarginMethod.POWER: (0.9459058954, 0.0395826634, 0.0145114412),
        MarginMethod.SHIN: (0.9352069149, 0.0488741249, 0.0159189602),
        MarginMethod.ODDS_RATIO: (0.9371650091, 0.0445328305, 0.0183021604),
    },
    (1.87, 2.05): {
        MarginMethod.MULTIPLICATIVE: (0.5229591837, 0.4770408163),
        MarginMethod.ADDITIVE: (0.5234772401, 0.4765227599),
        MarginMethod.POWER: (0.5237229700, 0.4762770300),
        MarginMethod.SHIN: (0.5234772401, 0.4765227599),
        MarginMethod.ODDS_RATIO: (0.5234892260, 0.4765107740),
    },
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("book", REFERENCE)
def test_each_method_gives_its_reference_values(book, method):
    np.testing.assert_allclose(remove_margin([book], method).probabilities[0], REFERENCE[book][method], atol=2e-10)


@pytest.mark.parametrize("method", METHODS)
@given(prices=books)
def test_probabilities_are_a_distribution_for_any_book(method, prices):
    fair = remove_margin(prices, method).probabilities
    np.testing.assert_allclose(fair.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    assert (fair > 0.0).all()
    assert (fair < 1.0).all()


@pytest.mark.parametrize("method", METHODS)
@given(prices=books)
def test_a_lower_price_means_a_higher_probability(method, prices):
    fair = remove_margin(prices, method).probabilities
    for row, book in zip(fair, prices, strict=True):
        assert (np.diff(row[np.argsort(book)]) <= 1e-15).all()


@pytest.mark.parametrize("method", METHODS)
@given(prices=books, order=st.randoms(use_true_random=False))
def test_the_order_of_selections_does_not_matter(method, prices, order):
    permutation = list(range(prices.shape[1]))
    order.shuffle(permutation)
    once = remove_margin(prices, method).probabilities[:, permutation]
    np.testing.assert_allclose(once, remove_margin(prices[:, permutation], method).probabilities, rtol=1e-9)


@given(weights=arrays(np.float64, 4, elements=st.floats(0.01, 1.0)))
def test_all_methods_agree_on_a_fair_book(weights):
    truth = weights / weights.sum()
    for method in METHODS:
        np.testing.assert_allclose(remove_margin([1.0 / truth], method).probabilities[0], truth, atol=1e-9)


@given(prices=arrays(np.float64, (1, 3), elements=st.floats(1.05, 100.0)))
def test_power_takes_more_from_long_shots_than_multiplicative(prices):
    assume(overround(prices)[0] > 0.001 and prices.max() / prices.min() > 1.01)
    power, multiplicative = (remove_margin(prices, m).probabilities[0] for m in ("power", "multiplicative"))
    assert power[prices[0].argmax()] < multiplicative[prices[0].argmax()]
    assert power[prices[0].argmin()] > multiplicative[prices[0].argmin()]


def test_shin_is_undefined_below_a_fair_book_and_falls_back_to_power():
    under, over = [3.2, 3.4, 3.1], [2.7, 2.3, 4.4]
    fair = remove_margin([under, over], MarginMethod.SHIN)
    assert fair.fell_back.tolist() == [True, False]
    np.testing.assert_array_equal(fair.probabilities[0], remove_margin([under]).probabilities[0])
    np.testing.assert_allclose(fair.probabilities[1], REFERENCE[tuple(over)][MarginMethod.SHIN], atol=2e-10)


def test_additive_never_yields_a_negative_probability():
    fair = remove_margin([[1.01, 30.0, 101.0], [1.05, 17.0, 41.0]], MarginMethod.ADDITIVE)
    assert fair.fell_back.tolist() == [True, False]
    assert (fair.probabilities > 0.0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.0, 0.0, -2.0])
def test_a_book_with_an_unusable_price_has_no_probabilities_and_spoils_no_other(bad):
    fair = remove_margin([[2.0, bad, 4.0], [2.7, 2.3, 4.4]])
    assert np.isnan(fair.probabilities[0]).all()
    assert np.isnan(fair.overround[0])
    assert not fair.fell_back[0]
    np.testing.assert_array_equal(fair.probabilities[1], remove_margin([[2.7, 2.3, 4.4]]).probabilities[0])


def test_overround_is_the_booksum_minus_one():
    np.testing.assert_allclose(
        overround([[2.0, 2.0], [1.6, 2.0], [4.0, 2.0], [2.0, np.nan]]), [0, 0.125, -0.25, np.nan]
    )


@given(rows=st.integers(0, 3))
def test_a_result_does_not_depend_on_the_other_books_in_the_call(rows):
    book = [1.33, 5.81, 9.62]
    crowd = np.random.default_rng(1).uniform(1.2, 30.0, (20_000 * rows, 3))
    together = remove_margin(np.vstack([crowd, [book]]))
    np.testing.assert_allclose(together.probabilities[-1], remove_margin([book]).probabilities[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (2, 1), (2, 3, 2)])
def test_anything_but_a_table_of_books_is_refused(shape):
    with pytest.raises(ValueError, match="one row a book"):
        remove_margin(np.full(shape, 2.0))
