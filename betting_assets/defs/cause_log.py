"""What Dagster's event log remembers of causes and trainings: metadata that the checks and the training set write."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from betting_assets.modelling.causes import CauseName, Finding, Seen, handled

TRAINING_SET = dg.AssetKey("training_set")
EVALUATION = dg.AssetKey("model_evaluation")
PARTITION_TAG = "dagster/partition"
NEWEST_RUNS = 10
"""Of a market: a training and its gate are one run or two, a few more may be asked for by hand."""


def as_metadata(found: Mapping[str, Finding]) -> dict[str, Any]:
    """Findings by market as metadata of a check."""
    return {
        key: value
        for market, one in found.items()
        for key, value in (
            (market, one.told),
            (f"{market}_holds", one.holds),
            (f"{market}_about", one.about),
        )
    }


def seen(instance: dg.DagsterInstance, market: str) -> list[Seen]:
    """What the newest evaluation of each check says of a market."""
    return [found for cause in CauseName if (found := _newest_evaluation(instance, cause, market)) is not None]


@dataclass(frozen=True)
class Trained:
    """The newest training set of a market as the event log knows it, and when the gate last judged a candidate."""

    began: float
    handled: Mapping[str, str]
    judged: float
    cause: str


def trained_metadata(began: float, findings: Sequence[Finding], cause: str) -> dict[str, Any]:
    """What the training set's materialization keeps for `last_trained`."""
    return {"cause": cause, "began": began, "handled": dg.MetadataValue.json(handled(findings))}


def last_trained(instance: dg.DagsterInstance, market: str) -> Trained | None:
    """None where the market never had a training set, or it was made before causes were recorded."""
    made = _newest_record(instance, TRAINING_SET, market)
    if made is None or made.asset_materialization is None:
        return None
    values: dict[str, Any] = {name: one.value for name, one in made.asset_materialization.metadata.items()}
    judged = _newest_record(instance, EVALUATION, market)
    return Trained(
        began=float(values.get("began", made.timestamp)),
        handled=dict(values.get("handled", {})),
        judged=0.0 if judged is None else judged.timestamp,
        cause=str(values.get("cause", "")),
    )


def last_moved(instance: dg.DagsterInstance, market: str) -> float:
    """When a market's newest runs ended (seconds since 1970, 0 where there is none); infinity while one is under way.

    Whatever is cut by market lies between the training set and the deployment.
    """
    runs = instance.get_run_records(dg.RunsFilter(tags={PARTITION_TAG: market}), limit=NEWEST_RUNS)
    if any(not one.dagster_run.is_finished for one in runs):
        return math.inf
    return max((one.end_time or one.update_timestamp.timestamp() for one in runs), default=0.0)


def newest_metadata(instance: dg.DagsterInstance, asset: str) -> dict[str, Any]:
    """Values of the metadata of an asset's newest materialization, of a table its records; empty where none is."""
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    if event is None or event.asset_materialization is None:
        return {}
    metadata = event.asset_materialization.metadata
    return {k: v.records if isinstance(v, dg.TableMetadataValue) else v.value for k, v in metadata.items()}


def _newest_record(instance: dg.DagsterInstance, asset: dg.AssetKey, market: str) -> dg.EventLogRecord | None:
    wanted = dg.AssetRecordsFilter(asset, asset_partitions=[market])
    return next(iter(instance.fetch_materializations(wanted, limit=1).records), None)


def _newest_evaluation(instance: dg.DagsterInstance, cause: CauseName, market: str) -> Seen | None:
    """Not one that is only planned: a check that died while it ran would hide what it said before."""
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status

    key = dg.AssetCheckKey(TRAINING_SET, cause.value)
    done = {Status.SUCCEEDED, Status.FAILED}
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=done)
    if not records or records[0].evaluation is None or records[0].event is None:
        return None
    values = {name: one.value for name, one in records[0].evaluation.metadata.items()}
    if f"{market}_holds" not in values:
        return None
    finding = Finding(cause, bool(values[f"{market}_holds"]), str(values[f"{market}_about"]), str(values[market]))
    return Seen(finding, records[0].event.timestamp)
