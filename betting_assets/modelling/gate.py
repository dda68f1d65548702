"""The gate: what a challenger must show before it is served. Never betting yield.

1. point in time: its data set passed the leak check, and it does not beat the closing line, which knows more than it.
2. calibrated: its calibration error lies within what a perfectly calibrated forecaster would show at this sample size.
3. better: the paired log-loss difference to the champion is below zero with its whole confidence interval, on the
   out-of-sample forecasts that both made for the same matches; or there is no champion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from betting_assets.modelling.evaluation import Floats, Forecasts, compare
from betting_assets.modelling.performance import DUST

FEWEST_COMMON_MATCHES = 200


@dataclass(frozen=True)
class GateCheck:
    """One condition, whether it held, and the numbers in one line."""

    name: str
    passed: bool
    reason: str


POINT_IN_TIME, CALIBRATED, BETTER = "point_in_time", "calibrated", "better_than_champion"
GATE_CHECKS = (POINT_IN_TIME, CALIBRATED, BETTER)


def gate(forecasts: Forecasts, scores: dict[str, Any], name: str, champion: pd.DataFrame | None) -> list[GateCheck]:
    """The three checks for the forecaster `name`.

    Args:
        scores: of `evaluation.score`.
        champion: out-of-sample forecasts of the champion: columns match_id and probabilities (a list each); None
            where there is no champion.
    """
    return [_no_better_than_the_close(scores[name]), _calibrated(scores[name]), _better(forecasts, name, champion)]


def promoted(checks: list[GateCheck]) -> bool:
    return all(check.passed for check in checks)


def _no_better_than_the_close(score: dict[str, Any]) -> GateCheck:
    difference = score.get("diff_vs_market_close", {}).get("log_loss")
    if difference is None:
        return GateCheck(POINT_IN_TIME, True, "no closing line to compare with; features are not later than the odds")
    leaks = difference["hi"] < -DUST
    reason = f"log-loss against the closing line {_interval(difference)}"
    if leaks:
        reason += ": better than a market that knew more means that a feature knows the future; look for the leak"
    return GateCheck(POINT_IN_TIME, not leaks, reason)


def _calibrated(score: dict[str, Any]) -> GateCheck:
    if score["n"] == 0:
        return GateCheck(CALIBRATED, False, "no forecast to judge")
    lo, hi = score["ece_band"]
    passed = score["ece"] <= hi
    return GateCheck(
        CALIBRATED,
        passed,
        f"calibration error {score['ece']:.4f}, a perfect forecaster shows {lo:.4f} to {hi:.4f} at n = {score['n']}",
    )


def _better(forecasts: Forecasts, name: str, champion: pd.DataFrame | None) -> GateCheck:
    if champion is None:
        return GateCheck(BETTER, True, "there is no champion yet")
    other = aligned(champion, forecasts.dataset.frame["match_id"], len(forecasts.dataset.market.selections))
    difference = compare(forecasts, name, other).get("log_loss")
    if difference is None or difference["n"] < FEWEST_COMMON_MATCHES:
        n = 0 if difference is None else int(difference["n"])
        return GateCheck(BETTER, False, f"only {n} matches forecast by both; {FEWEST_COMMON_MATCHES} are needed")
    passed = difference["hi"] < -DUST
    verdict = "better" if passed else "not shown to be better"
    return GateCheck(BETTER, passed, f"{verdict}: log-loss against the champion {_interval(difference)}")


def aligned(forecasts: pd.DataFrame, match_ids: pd.Series, classes: int) -> Floats:
    """The probabilities of `forecasts` in the order of `match_ids`, NaN where it has none."""
    result = np.full((len(match_ids), classes), np.nan)
    if forecasts.empty:
        return result
    position = pd.Index(forecasts["match_id"]).get_indexer(pd.Index(match_ids))
    known = position >= 0
    result[known] = np.array(forecasts["probabilities"].tolist(), dtype=np.float64)[position[known]]
    return result


def _interval(difference: dict[str, float]) -> str:
    return f"{difference['mean']:+.5f} [{difference['lo']:+.5f}, {difference['hi']:+.5f}], n = {int(difference['n'])}"
