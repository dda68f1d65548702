"""Models on the default simulated world, where the true probabilities are known."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_tables import tables_of

from betting_assets.modelling.evaluation import MARKET_CLOSE, MARKET_PRE, Forecasts, walk_forward
from betting_assets.modelling.variants import VariantName
from betting_assets.sources.simulator import simulate

SERVED = (VariantName.FUNDAMENTALS, VariantName.MARKET_RESIDUAL)


@pytest.fixture(scope="module")
def errors() -> dict[str, float]:
    """Mean |p - p_true| of every forecaster on the last of six seasons."""
    world = simulate()
    dataset = tables_of(world.batch).dataset()
    forecasts = walk_forward(dataset, dataset.seasons[-1:], SERVED)
    return _errors(forecasts, world.truth.set_index("match_id"))


def _errors(forecasts: Forecasts, truth) -> dict[str, float]:  # type: ignore[no-untyped-def]
    known = truth.loc[forecasts.dataset.frame["match_id"], ["p_home", "p_draw", "p_away"]].to_numpy()
    return {name: float(np.nanmean(np.abs(p - known))) for name, p in forecasts.probabilities.items()}


def test_fundamentals_come_near_the_truth_after_five_seasons(errors: dict[str, float]) -> None:
    assert errors["fundamentals"] <= 0.03


def test_market_residual_is_no_worse_than_its_market(errors: dict[str, float]) -> None:
    assert errors["market_residual"] <= errors[MARKET_PRE] + 0.001


def test_the_closing_line_knows_more_than_the_price_before_it(errors: dict[str, float]) -> None:
    assert errors[MARKET_CLOSE] < errors[MARKET_PRE]
