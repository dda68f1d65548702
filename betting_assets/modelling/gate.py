"""The gate: what a challenger must show before it is served. Never betting yield.

1. point in time: its data set passed the leak check, and it does not beat the closing line, which knows more than it.
2. calibrated: its calibration error lies within what a perfectly calibrated forecaster would show at this sample size.
3. better: the paired log-loss difference to the champion is below zero with its whole confidence interval, on the
   out-of-sample forecasts that both made for the same matches; or there is no champion. A refresh, the champion's own
   recipe on newer data, need not be better: that interval must end below REFRESH_MARGIN, and it must not be shown to
   be worse on matches that came after the champion.
4. not worse in shadow: beside the champion, on the same live requests, it was not shown to be worse (the interval of
   the paired log-loss difference does not lie above zero as a whole). Too few settled matches refuse nobody.

A refresh ties by construction: forecasts of past seasons are made from what came before them, so newer matches hardly
change them. The margin says that the recipe still does on the same matches what it did; that newer data help is not
claimed. Without the rule a tie would keep the first champion for ever.

The first three look at the past. The fourth can only refuse: a challenger that never got past the third is not
promoted because it did well live, on fewer matches than the third asks of. Where both are equal it refuses one in
forty; asked again and again as matches come in, more.

A new version is judged before it has stood beside anybody, so there the fourth passes without evidence. It is for the
version that is judged or promoted later: `model_evaluation` run again, or `champion_model` after a rollback, which
asks the log itself because the verdict that stands on the version is older.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from betting_assets.modelling.evaluation import Floats, Forecasts, compare
from betting_assets.modelling.performance import DUST, FEWEST_MATCHES
from betting_assets.modelling.recipe import Refresh
from betting_assets.modelling.shadow_evidence import FEWEST_DAYS, ShadowEvidence, Verdict

FEWEST_COMMON_MATCHES = 200

REFRESH_MARGIN = 0.0005
"""Nats. The close is 0.0021 to 0.0027 better than the market before it, which 8,000 matches barely show: a quarter of
that is less than any test here could see, and more than corrections of old results move a forecast."""


@dataclass(frozen=True)
class GateCheck:
    """One condition, whether it held, and the numbers in one line."""

    name: str
    passed: bool
    reason: str


POINT_IN_TIME, CALIBRATED, BETTER = "point_in_time", "calibrated", "better_than_champion"
NOT_WORSE_IN_SHADOW = "not_worse_in_shadow"
GATE_CHECKS = (POINT_IN_TIME, CALIBRATED, BETTER, NOT_WORSE_IN_SHADOW)


def gate(
    forecasts: Forecasts,
    scores: dict[str, Any],
    name: str,
    champion: pd.DataFrame | None,
    shadow: ShadowEvidence | None,
    refresh: Refresh | None = None,
) -> list[GateCheck]:
    """The four checks for the forecaster `name`.

    Args:
        scores: of `evaluation.score`.
        champion: out-of-sample forecasts of the champion: columns match_id and probabilities (a list each); None
            where there is no champion.
        shadow: this challenger beside this champion; None where they never answered the same request.
        refresh: whether it is the champion's recipe on newer data; None where nobody asked.
    """
    return [
        _no_better_than_the_close(scores[name]),
        _calibrated(scores[name]),
        _better(forecasts, name, champion, refresh),
        not_worse_in_shadow(shadow),
    ]


def promoted(checks: list[GateCheck]) -> bool:
    return all(check.passed for check in checks)


def not_worse_in_shadow(shadow: ShadowEvidence | None) -> GateCheck:
    """The fourth check alone."""
    if shadow is None or shadow.verdict is Verdict.TOO_FEW:
        matches, days = (0, 0) if shadow is None else (shadow.matches, shadow.days)
        reason = f"{matches} of {FEWEST_MATCHES} matches, {days} of {FEWEST_DAYS} days"
        return GateCheck(NOT_WORSE_IN_SHADOW, True, f"{Verdict.TOO_FEW}: {reason} beside the champion")
    difference = shadow.difference
    told = _interval({"mean": difference.mean, "lo": difference.lo, "hi": difference.hi, "n": difference.n})
    return GateCheck(
        NOT_WORSE_IN_SHADOW,
        shadow.verdict is Verdict.NOT_WORSE,
        f"{shadow.verdict}: log-loss against {shadow.champion} on the same requests {told}",
    )


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


def _better(forecasts: Forecasts, name: str, champion: pd.DataFrame | None, refresh: Refresh | None) -> GateCheck:
    if champion is None:
        return GateCheck(BETTER, True, "there is no champion yet")
    other = aligned(champion, forecasts.dataset.frame["match_id"], len(forecasts.dataset.market.selections))
    difference = compare(forecasts, name, other).get("log_loss")
    if difference is None or difference["n"] < FEWEST_COMMON_MATCHES:
        n = 0 if difference is None else int(difference["n"])
        return GateCheck(BETTER, False, f"only {n} matches forecast by both; {FEWEST_COMMON_MATCHES} are needed")
    numbers = f"log-loss against the champion {_interval(difference)}"
    if difference["hi"] < -DUST:
        return GateCheck(BETTER, True, f"better: {numbers}")
    if refresh is None:
        return GateCheck(BETTER, False, f"not shown to be better: {numbers}")
    if not refresh.holds:
        return GateCheck(BETTER, False, f"not shown to be better: {numbers}; no refresh: {refresh.told}")
    return _refreshed(refresh, difference["hi"], numbers)


def _refreshed(refresh: Refresh, highest: float, numbers: str) -> GateCheck:
    """The rule for the champion's own recipe; one that cannot be measured (a single day) is refused."""
    told = f"{refresh.told}, not claimed to be better: {numbers}, allowed {REFRESH_MARGIN:+.5f}"
    if not highest <= REFRESH_MARGIN:
        return GateCheck(BETTER, False, f"refresh refused, it may be worse: {told}")
    if refresh.newest is not None and refresh.newest.lo > DUST:
        newest = refresh.newest
        numbers = _interval({"mean": newest.mean, "lo": newest.lo, "hi": newest.hi, "n": newest.n})
        return GateCheck(BETTER, False, f"refresh refused, worse on the newest matches {numbers}: {told}")
    return GateCheck(BETTER, True, f"refresh: {told}")


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
