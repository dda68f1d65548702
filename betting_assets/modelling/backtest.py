"""Paper bets on out-of-sample forecasts, judged by closing-line value. Yield is shown, and proves nothing alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from betting_assets.betting.score import paired_difference
from betting_assets.modelling.evaluation import Forecasts

MIN_EDGE = 0.03
"""Bet one unit where probability x price - 1 is above this."""


def flat_stakes(forecasts: Forecasts, name: str, min_edge: float = MIN_EDGE, seed: int = 0) -> dict[str, Any]:
    """Bet one unit on every selection with an edge at the price before the close.

    Returns:
        n bets, `yield` and `clv` as {mean, lo, hi, n} per unit staked (date-block bootstrap). Closing-line value is
        price x margin-free closing probability - 1: what the bet was worth at the close.
    """
    dataset = forecasts.dataset
    prices = dataset.frame[dataset.market.price_columns].to_numpy(dtype=np.float64)
    edge = forecasts.probabilities[name] * prices - 1.0
    rows, selections = np.nonzero(np.nan_to_num(edge, nan=-1.0) > min_edge)
    if len(rows) == 0:
        return {"n": 0}
    won = dataset.outcomes[rows] == selections
    profit = np.where(won, prices[rows, selections], 0.0) - 1.0
    value = dataset.closing_probabilities[rows, selections] * prices[rows, selections] - 1.0
    dates, priced = dataset.dates[rows], np.isfinite(value)
    result: dict[str, Any] = {"n": len(rows), "yield": _mean_interval(profit, dates, seed)}
    if priced.any():
        result["clv"] = _mean_interval(value[priced], dates[priced], seed)
    return result


def _mean_interval(values: Any, dates: Any, seed: int) -> dict[str, float]:
    interval = paired_difference(values, np.zeros_like(values), dates, seed=seed)
    return {"mean": interval.mean, "lo": interval.lo, "hi": interval.hi, "n": interval.n}
