"""The causes of a retraining as checks on the training set.

The checks are not cut by market: one run of a micro-batch could not hold them then, and each would cost a run a market.
Their metadata are by market, and so is what follows from them: only a market that has a cause is trained.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from betting_assets.defs.automation import look_for_cause
from betting_assets.defs.cause_log import TRAINING_SET, Trained, as_metadata, last_trained, newest_metadata
from betting_assets.defs.resources import Platform
from betting_assets.modelling.causes import NEVER, Before, CauseName, Finding, age, results_since, told
from betting_assets.modelling.markets import MARKETS
from betting_assets.modelling.performance import DUST, FEWEST_MATCHES
from betting_assets.warehouse.causes import count_results_since, newest_training, served_versions

CAUSE_TAG = "betting/cause"

Find = Callable[[Platform, dg.DagsterInstance, str], Finding]


def find_drift(platform: Platform, instance: dg.DagsterInstance, market: str) -> Finding:
    """What the newest drift report says."""
    report = newest_metadata(instance, "drift_report")
    if f"{market}_reason" not in report:
        return Finding(CauseName.DRIFT, False, NEVER, "there is no drift report yet")
    about, reason = str(report.get(f"{market}_champion", NEVER)), str(report[f"{market}_reason"])
    return Finding(CauseName.DRIFT, not report[f"{market}_passed"], about, reason)


def find_new_results(platform: Platform, instance: dg.DagsterInstance, market: str) -> Finding:
    since = newest_training(platform.url, market)
    count = 0 if since is None else count_results_since(platform.url, since)
    return results_since(count, since, platform.settings.retrain_results)


def find_model_age(platform: Platform, instance: dg.DagsterInstance, market: str) -> Finding:
    since = newest_training(platform.url, market)
    return age(since, dt.datetime.now(dt.UTC), platform.settings.max_model_age_days)


def find_performance(platform: Platform, instance: dg.DagsterInstance, market: str) -> Finding:
    """What the newest performance report says of the version that is served: its predictions are since its training."""
    version = served_versions(platform.url).get(market)
    report = newest_metadata(instance, "performance_report").get("report", [])
    rows = [row.data for row in report]
    mine = [r for r in rows if (r["market"], r["model_version"], r["role"]) == (market, version, "champion")]
    if version is None or not mine:
        return Finding(CauseName.PERFORMANCE, False, version or NEVER, "no settled prediction of what is served")
    n, lo = int(mine[0]["n_vs_market"] or 0), mine[0]["diff_lo"]
    worse = n >= FEWEST_MATCHES and lo is not None and float(lo) > DUST
    return Finding(CauseName.PERFORMANCE, worse, version, _beside_the_market(mine[0], n))


FIND: Mapping[CauseName, Find] = {
    CauseName.DRIFT: find_drift,
    CauseName.NEW_RESULTS: find_new_results,
    CauseName.MODEL_AGE: find_model_age,
    CauseName.PERFORMANCE: find_performance,
}


def find_all(platform: Platform, instance: dg.DagsterInstance, market: str) -> list[Finding]:
    """All four for one market, as they stand now."""
    return [find(platform, instance, market) for find in FIND.values()]


def tag_with_cause(instance: dg.DagsterInstance, run_id: str, market: str, findings: Sequence[Finding]) -> str:
    """Tell in the run's tags why it trains; returns what it says."""
    cause = told(findings, _outcome_of_last(last_trained(instance, market)))
    instance.add_run_tags(run_id, {CAUSE_TAG: cause})
    return cause


def _cause_check(cause: CauseName, reads: Sequence[str], description: str) -> dg.AssetChecksDefinition:
    """The check of one cause; `reads` names the assets whose news it follows."""

    @dg.asset_check(
        asset=TRAINING_SET,
        name=cause.value,
        additional_deps=list(reads),
        description=f"{description} A cause to retrain, for each market by itself; it stops nothing.",
        automation_condition=look_for_cause(reads),
    )
    def check(context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        found = {market: FIND[cause](platform, context.instance, market) for market in MARKETS}
        return dg.AssetCheckResult(
            passed=not any(one.holds for one in found.values()),
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(f"{market}: {one.told}" for market, one in found.items()),
            metadata=as_metadata(found),
        )

    return check


CAUSE_CHECKS = [
    _cause_check(
        CauseName.DRIFT,
        ["drift_report"],
        "Fails when more of the served features of one view drifted than settings.max_drifted_share.",
    ),
    _cause_check(
        CauseName.NEW_RESULTS,
        ["match_features"],
        "Fails when settings.retrain_results results came or were corrected since the newest training set.",
    ),
    _cause_check(
        CauseName.MODEL_AGE,
        [],
        "Fails when the newest training set is older than settings.max_model_age_days.",
    ),
    _cause_check(
        CauseName.PERFORMANCE,
        ["performance_report"],
        "Fails when the served model is shown to be worse than the market on its settled predictions.",
    ),
]


def _outcome_of_last(last: Trained | None) -> Before:
    if last is None:
        return Before.NONE
    return Before.FINISHED if last.judged >= last.began else Before.UNFINISHED


def _beside_the_market(row: Mapping[str, Any], n: int) -> str:
    if row["diff"] is None or n < FEWEST_MATCHES:
        return f"{n} of {FEWEST_MATCHES} settled matches with a price"
    numbers = f"{row['diff']:+.4f} [{row['diff_lo']:+.4f}, {row['diff_hi']:+.4f}]"
    return f"log-loss against the market {numbers}, n = {n}"
