"""How good the settled predictions were, judged against the market on the same matches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.betting.score import (
    Interval,
    expected_calibration_error,
    log_loss,
    paired_difference,
    simulated_ece_band,
)
from betting_assets.modelling.markets import MARKETS, ModelledMarket, modelled_market
from betting_assets.warehouse.predictions import MadeAt

Floats = npt.NDArray[np.float64]
Frame = pd.DataFrame

FEWEST_MATCHES = 100
"""Below this luck decides: no verdict."""

DUST = 1e-6
"""Nats: a model that repeats the market differs from it by rounding, always in one direction."""

DATE_ONLY_START = pd.Timedelta(hours=12)
"""Taken as the start when only the date is known: prices before the close are collected by noon as well."""

REPORT_COLUMNS = (
    "market",
    "model_version",
    "role",
    "n",
    "log_loss",
    "rps",
    "brier",
    "ece",
    "ece_lo",
    "ece_hi",
    "n_vs_market",
    "diff",
    "diff_lo",
    "diff_hi",
    "verdict",
)

GROUPED = ["market", "model_version", "role"]


def time_column(replay: bool) -> MadeAt:
    """The column that tells when a prediction was made. In a replay old matches are served as upcoming: the clock on
    the wall says nothing, the time of the features does."""
    return "feature_time" if replay else "predicted_at"


def performance(outcomes: Frame, market: Frame, seed: int = 0) -> Frame:
    """How good predictions were: one row a market, model version and role.

    A challenger's were seen by nobody, and are of fewer matches than the champion's: `shadow_evidence` compares the
    two on the same requests.

    Args:
        outcomes: as from `warehouse.outcomes.read_counting_outcomes`.
        market: table of `feature_tables.match_market`: margin-free probabilities before the close by match_id.

    Returns:
        market, model_version, role, n, log_loss, rps, brier, ece, ece_lo, ece_hi (95 % of perfectly calibrated
        forecasters), n_vs_market, diff, diff_lo, diff_hi (log-loss minus the market's, date-block bootstrap;
        negative is better), and verdict: `too few`, `worse than market`, `miscalibrated`, `better than market` or
        `in band`.
    """
    rows = [
        _judge(str(name), str(version), str(role), part, market, seed)
        for (name, version, role), part in outcomes.groupby(GROUPED)
    ]
    return pd.DataFrame(rows, columns=list(REPORT_COLUMNS))


def distributions(markets: pd.Series, probabilities: pd.Series) -> pd.Series[bool]:
    """Whether the probabilities of a row are one for each selection of its market, not negative, and sum to 1."""
    sizes = markets.map({name: len(spec.selections) for name, spec in MARKETS.items()})
    fits = [
        len(p) == size and bool(np.all(np.asarray(p) >= 0.0)) and abs(float(np.sum(p)) - 1.0) < 1e-6
        for p, size in zip(probabilities, sizes, strict=True)
    ]
    return pd.Series(fits, index=markets.index, dtype=bool)


def probability_matrix(frame: Frame) -> Floats:
    """The column `probabilities` of rows of one market as (rows, selections)."""
    return np.array(frame["probabilities"].tolist(), dtype=np.float64)


def _judge(name: str, version: str, role: str, outcomes: Frame, market: Frame, seed: int) -> dict[str, Any]:
    p, happened = probability_matrix(outcomes), outcomes["outcome"].to_numpy(dtype=np.int64)
    ece, (lo, hi) = expected_calibration_error(p, happened), simulated_ece_band(p, seed=seed)
    difference = _difference_from_market(outcomes, market, modelled_market(name), seed)
    return {
        "market": name,
        "model_version": version,
        "role": role,
        "n": len(outcomes),
        **{score: float(outcomes[score].mean()) for score in ("log_loss", "rps", "brier")},
        "ece": ece,
        "ece_lo": lo,
        "ece_hi": hi,
        "n_vs_market": difference.n,
        "diff": difference.mean,
        "diff_lo": difference.lo,
        "diff_hi": difference.hi,
        "verdict": _verdict(len(outcomes), ece, hi, difference),
    }


def _difference_from_market(outcomes: Frame, market: Frame, spec: ModelledMarket, seed: int) -> Interval:
    """Log-loss minus the market's, on the matches that had a price."""
    priced = outcomes.merge(market[["match_id", *spec.market_columns]].dropna(), on="match_id", validate="m:1")
    if priced.empty:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    happened = priced["outcome"].to_numpy(dtype=np.int64)
    theirs = log_loss(priced[spec.market_columns].to_numpy(dtype=np.float64), happened)
    dates = priced["match_date"].to_numpy(dtype="datetime64[D]")
    return paired_difference(priced["log_loss"].to_numpy(dtype=np.float64), theirs, dates, seed=seed)


def _verdict(n: int, ece: float, highest_ece: float, difference: Interval) -> str:
    if n < FEWEST_MATCHES:
        return "too few"
    if difference.lo > DUST:
        return "worse than market"
    if ece > highest_ece:
        return "miscalibrated"
    return "better than market" if difference.hi < -DUST else "in band"
