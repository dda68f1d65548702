"""What became of the served predictions: settled against results, judged against the market on the same matches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.betting.score import (
    Interval,
    brier,
    expected_calibration_error,
    log_loss,
    paired_difference,
    ranked_probability_score,
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

OUTCOME_COLUMNS = (
    "prediction_id",
    "match_id",
    "market",
    "model_version",
    "role",
    "variant",
    "match_date",
    "predicted_at",
    "settled_at",
    "outcome",
    "probabilities",
    "log_loss",
    "rps",
    "brier",
    "counts",
)

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


@dataclass(frozen=True)
class Settled:
    """Predictions with what became of them.

    outcomes  one row a settled prediction, columns OUTCOME_COLUMNS; `counts` marks the last one before the start of a
              match, for each match, market, model version and role: the one that the report is about
    refused   how many predictions cannot be settled, by reason
    waiting   how many belong to matches without a result yet
    """

    outcomes: Frame
    refused: dict[str, int]
    waiting: int


def time_column(replay: bool) -> MadeAt:
    """The column that tells when a prediction was made. In a replay old matches are served as upcoming: the clock on
    the wall says nothing, the time of the features does."""
    return "feature_time" if replay else "predicted_at"


def settle(predictions: Frame, results: Frame, matches: Frame, made_at: MadeAt = "predicted_at") -> Settled:
    """Settle every prediction of a match that has a result.

    Args:
        predictions: rows of serving.prediction_log: id, match_id, market, model_version, role, variant, probabilities,
            and the times.
        results: match_id, home_score, away_score, known_at.
        matches: match_id, match_date, kickoff.
        made_at: see `time_column`.
    """
    known = results[["match_id", "home_score", "away_score", "known_at"]]
    frame = predictions.merge(known, on="match_id", how="left")
    frame = frame.merge(matches[["match_id", "match_date", "kickoff"]], on="match_id", how="left")
    has_result = frame["known_at"].notna()
    refusals = {
        "market is not modelled": ~frame["market"].isin(list(MARKETS)),
        "probabilities are not a distribution over the market": ~distributions(frame["market"], frame["probabilities"]),
        "not made before the result was known": has_result & ~(frame[made_at] <= frame["known_at"]),
    }
    refused, usable = {}, pd.Series(True, index=frame.index)
    for reason, wrong in refusals.items():
        if count := int((usable & wrong).sum()):
            refused[reason] = count
        usable &= ~wrong
    parts = [_scored(part, modelled_market(str(name))) for name, part in frame[usable & has_result].groupby("market")]
    outcomes = pd.concat(parts, ignore_index=True) if parts else frame.iloc[:0].assign(outcome=0, id=0)
    outcomes = _marked(outcomes, made_at).rename(columns={"id": "prediction_id", "known_at": "settled_at"})
    return Settled(outcomes.reindex(columns=list(OUTCOME_COLUMNS)), refused, int((usable & ~has_result).sum()))


def performance(outcomes: Frame, market: Frame, seed: int = 0) -> Frame:
    """How good the predictions were that count: one row a market, model version and role.

    A challenger's were seen by nobody, and are of fewer matches than the champion's: `shadow_evidence` compares the
    two on the same requests.

    Args:
        outcomes: `Settled.outcomes`.
        market: table of `feature_tables.match_market`: margin-free probabilities before the close by match_id.

    Returns:
        market, model_version, role, n, log_loss, rps, brier, ece, ece_lo, ece_hi (95 % of perfectly calibrated
        forecasters), n_vs_market, diff, diff_lo, diff_hi (log-loss minus the market's, date-block bootstrap;
        negative is better), and verdict: `too few`, `worse than market`, `miscalibrated`, `better than market` or
        `in band`.
    """
    rows = [
        _judge(str(name), str(version), str(role), part, market, seed)
        for (name, version, role), part in outcomes[outcomes["counts"].astype(bool)].groupby(GROUPED)
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


def _scored(frame: Frame, market: ModelledMarket) -> Frame:
    scores = frame[["home_score", "away_score"]].to_numpy(dtype=np.int64)
    outcome = market.settle(scores[:, 0], scores[:, 1])
    p = _matrix(frame)
    return frame.assign(
        outcome=outcome,
        log_loss=log_loss(p, outcome),
        rps=ranked_probability_score(p, outcome),
        brier=brier(p, outcome),
    )


def _matrix(frame: Frame) -> Floats:
    return np.array(frame["probabilities"].tolist(), dtype=np.float64)


def _marked(frame: Frame, made_at: str) -> Frame:
    """Mark the last prediction before the start; of two made at one moment the later in the log."""
    date_only = pd.to_datetime(frame["match_date"]).dt.tz_localize("UTC") + DATE_ONLY_START
    start = pd.to_datetime(frame["kickoff"], utc=True).fillna(date_only)
    ordered = frame.assign(_early=frame[made_at] < start).sort_values([made_at, "id"], kind="stable")
    early = ordered[ordered.pop("_early").astype(bool)]
    last = early.drop_duplicates(["match_id", *GROUPED], keep="last").index
    return ordered.assign(counts=ordered.index.isin(last)).sort_index()


def _judge(name: str, version: str, role: str, outcomes: Frame, market: Frame, seed: int) -> dict[str, Any]:
    p, happened = _matrix(outcomes), outcomes["outcome"].to_numpy(dtype=np.int64)
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
