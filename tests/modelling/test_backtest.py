"""Paper bets: stakes, yield and closing-line value of a season small enough to settle by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from betting_assets.modelling.backtest import flat_stakes
from betting_assets.modelling.dataset import Dataset
from betting_assets.modelling.evaluation import Forecasts
from betting_assets.modelling.markets import modelled_market

SPEC = modelled_market("1x2")

PRICES = np.array([[2.0, 4.0, 4.0], [1.5, 4.0, 7.0], [3.0, 3.0, 2.5], [2.0, 4.0, 4.0]])
FORECAST = np.array([[0.60, 0.2, 0.2], [0.6, 0.30, 0.1], [0.2, 0.3, 0.5], [0.5, 0.25, 0.25]])
"""Edges above 3 %: home of the first (0.20), draw of the second (0.20), away of the third (0.25), none of the last."""
CLOSING = np.array([[0.55, 0.25, 0.2], [0.65, 0.22, 0.13], [np.nan] * 3, [0.5, 0.25, 0.25]])
OUTCOMES = [0, 0, 2, 1]


def season(forecast: np.ndarray = FORECAST, closing: np.ndarray = CLOSING) -> Forecasts:
    frame = pd.DataFrame(
        {
            "match_id": ["a", "b", "c", "d"],
            "season": "2021",
            "match_date": pd.to_datetime(["2020-09-12", "2020-09-13", "2020-09-19", "2020-09-20"]),
            "outcome": OUTCOMES,
        }
    ).assign(
        **dict(zip(SPEC.price_columns, PRICES.T, strict=True)),
        **dict(zip(SPEC.closing_columns, closing.T, strict=True)),
    )
    frame["event_timestamp"] = frame["match_date"].dt.tz_localize("UTC")
    return Forecasts(Dataset(SPEC, frame, (), {}), {"model": forecast})


def test_yield_and_closing_line_value_are_those_of_the_hand_computation() -> None:
    bets = flat_stakes(season(), "model")
    assert bets["n"] == 3
    # Won at 2.0, lost, won at 2.5: (1 - 1 + 1.5) / 3.
    assert bets["yield"]["mean"] == pytest.approx(0.5)
    assert bets["yield"]["n"] == 3
    # 2.0 x 0.55 - 1 = 0.10 and 4.0 x 0.22 - 1 = -0.12; the third bet has no closing line.
    assert bets["clv"]["mean"] == pytest.approx((0.10 - 0.12) / 2)
    assert bets["clv"]["n"] == 2
    assert bets["clv"]["lo"] == pytest.approx(-0.12)
    assert bets["clv"]["hi"] == pytest.approx(0.10)


def test_a_higher_edge_is_asked_for_strictly() -> None:
    assert flat_stakes(season(), "model", min_edge=0.2 + 1e-9)["n"] == 1
    assert flat_stakes(season(), "model", min_edge=-2.0)["n"] == 12


def test_two_selections_of_one_match_may_be_bet() -> None:
    sure = FORECAST.copy()
    sure[3] = [0.4, 0.3, 0.3]  # edges -0.2, 0.2, 0.2
    assert flat_stakes(season(sure), "model")["n"] == 5


def test_no_edge_no_bets() -> None:
    assert flat_stakes(season(0.9 / PRICES), "model") == {"n": 0}


def test_a_match_without_forecast_is_not_bet_on() -> None:
    gap = FORECAST.copy()
    gap[0] = np.nan
    assert flat_stakes(season(gap), "model")["n"] == 2


def test_without_any_closing_line_there_is_a_yield_and_no_value() -> None:
    bets = flat_stakes(season(closing=np.full((4, 3), np.nan)), "model")
    assert "clv" not in bets
    assert bets["yield"]["n"] == 3


def test_the_market_never_bets_against_itself(forecasts: Forecasts) -> None:
    assert flat_stakes(forecasts, "market_pre", min_edge=0.0)["n"] == 0
