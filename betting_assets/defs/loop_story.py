"""What the loop did by itself since a moment, read from Dagster's event log: for people, in the order of time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import dagster as dg

from betting_assets.defs.causes import CAUSE_TAG

MOST_EVENTS = 500

STEPS = {
    "live_history": "results merged into the history",
    "training_set": "training set frozen",
    "candidate_models": "challenger trained",
    "champion_model": "promoted to champion",
    "match_odds_bento": "packaged as a Bento",
    "live_deployment": "live: every worker serves it",
}
"""Assets whose making is told, and how."""

NAMED = ("model_version", "bento_tag")
"""Metadata that say what was made."""


@dataclass(frozen=True)
class Moment:
    """Something that happened at `at` (seconds since 1970)."""

    at: float
    what: str
    detail: str = ""


def moments(instance: dg.DagsterInstance, since: float) -> list[Moment]:
    """What was made, checked and decided since; in the order of time."""
    found = [*_made(instance, since), *_checked(instance, since), *_runs(instance, since)]
    return sorted(found, key=lambda moment: moment.at)


def is_quiet(instance: dg.DagsterInstance) -> bool:
    """Whether no run is queued or under way."""
    statuses = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]
    statuses += [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    return not instance.get_runs(dg.RunsFilter(statuses=statuses), limit=1)


def trained_for_a_cause(instance: dg.DagsterInstance, since: float) -> bool:
    """Whether a training began since that names its cause."""
    created = dt.datetime.fromtimestamp(since, dt.UTC)
    return any(CAUSE_TAG in run.tags for run in instance.get_runs(dg.RunsFilter(created_after=created)))


def failed_runs(instance: dg.DagsterInstance, since: float) -> list[str]:
    """One line for each run that failed since."""
    created = dt.datetime.fromtimestamp(since, dt.UTC)
    filters = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], created_after=created)
    return [
        f"{run.job_name} {run.tags.get('dagster/partition', '')} {run.run_id}" for run in instance.get_runs(filters)
    ]


def _made(instance: dg.DagsterInstance, since: float) -> list[Moment]:
    found = []
    for asset, what in STEPS.items():
        records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), after_timestamp=since)
        for record in instance.fetch_materializations(records, limit=MOST_EVENTS).records:
            event = record.asset_materialization
            assert event is not None
            named = [str(event.metadata[key].value) for key in NAMED if key in event.metadata]
            detail = " ".join([*([event.partition] if event.partition else []), *named])
            found.append(Moment(record.timestamp, what, detail))
    return found


def _checked(instance: dg.DagsterInstance, since: float) -> list[Moment]:
    """Checks that failed, and the gate's verdicts."""
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    records = instance.get_event_records(
        dg.EventRecordsFilter(event_type=kind, after_timestamp=since), limit=MOST_EVENTS, ascending=True
    )
    found = []
    for record in records:
        event = record.event_log_entry.dagster_event
        assert event is not None
        evaluation = event.asset_check_evaluation_data
        asset = evaluation.asset_key.to_user_string()
        if not evaluation.passed:
            what = f"check {asset}:{evaluation.check_name} failed"
            found.append(Moment(record.timestamp, what, str(evaluation.description or "")))
    return found


def _runs(instance: dg.DagsterInstance, since: float) -> list[Moment]:
    """Trainings that began, with their cause."""
    created = dt.datetime.fromtimestamp(since, dt.UTC)
    runs = instance.get_run_records(dg.RunsFilter(created_after=created), limit=MOST_EVENTS)
    return [
        Moment(
            record.start_time or record.create_timestamp.timestamp(),
            f"training of {record.dagster_run.tags.get('dagster/partition', '')} began".replace("  ", " "),
            record.dagster_run.tags[CAUSE_TAG],
        )
        for record in runs
        if CAUSE_TAG in record.dagster_run.tags
    ]
