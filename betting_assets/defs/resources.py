"""What the assets work with: the platform (database, source, stores) and the MLflow run of a training.

Nothing here connects when the code location loads; the first asset that needs something opens it.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from betting_assets.settings import Settings
from betting_assets.sources.source import Source, configured_source
from betting_assets.warehouse.database import resolve_url, with_database, with_driver

if TYPE_CHECKING:
    from feast import FeatureStore

    from betting_assets.modelling.registry import Registry

EXPERIMENT = "match_odds"
OWNER_TAG = "dagster_run_id"
UNTAGGED_SECONDS = 600


@dataclass(frozen=True)
class Platform:
    """Everything that the settings lead to. A plain object, so that no secret shows in the UI as configuration."""

    settings: Settings
    given_source: Source | None = None
    """Read this in place of the source that the settings name."""

    @cached_property
    def url(self) -> str:
        """URL of the platform's database; starts the embedded server where no other is set."""
        return resolve_url(self.settings)

    @property
    def home(self) -> Path:
        return self.settings.home

    @cached_property
    def source(self) -> Source:
        if self.given_source is not None:
            return self.given_source
        return configured_source(self.settings.data, self.settings.leagues.split(","))

    @property
    def feature_store(self) -> "FeatureStore":
        from feature_repo.store import feature_store

        return feature_store(self.url, "data" if self.settings.replays else "wall")

    @property
    def tracking_url(self) -> str:
        return with_driver(with_database(self.url, "mlflow"), "psycopg2")

    @property
    def artifacts(self) -> Path:
        """Where MLflow keeps the bundles."""
        return self.home.resolve() / "mlflow"

    @property
    def registry(self) -> "Registry":
        from betting_assets.modelling.registry import Registry

        return Registry(self.tracking_url)


@dg.resource(required_resource_keys={"platform"}, description="dagster-mlflow's run, one a Dagster run, always ended.")
def mlflow_run(context: dg.InitResourceContext) -> Iterator[Any]:
    """dagster-mlflow's resource, with its gaps closed.

    By itself it leaves the MLflow run RUNNING unless its hook is on the job and the job's last node succeeds. That is
    not so for an asset materialized from the UI, a backfill, an automation condition, or a run that a check stopped.
    Here the run is ended when the resource is torn down, whatever started it; what a killed process left open is
    closed by the next run, or by the sensors `failed_mlflow_runs` and `cancelled_mlflow_runs`.
    """
    from dagster_mlflow import mlflow_tracking

    platform: Platform = context.resources.platform
    _prepare_experiment(platform)
    close_orphans(platform, context.instance)
    config = {"experiment_name": EXPERIMENT, "mlflow_tracking_uri": platform.tracking_url, "env": {}, "extra_tags": {}}
    start: Any = mlflow_tracking.resource_fn
    inner = start(context.replace_config(config))
    mlflow = next(inner)
    try:
        yield mlflow
    finally:
        if mlflow.active_run() is not None:
            mlflow.end_run(status="FAILED" if _a_step_failed(context) else "FINISHED")
        next(inner, None)


def _prepare_experiment(platform: Platform) -> None:
    """Create the experiment with its artifacts in the state folder; MLflow's default is the working folder."""
    client = platform.registry.client
    if client.get_experiment_by_name(EXPERIMENT) is None:
        client.create_experiment(EXPERIMENT, artifact_location=platform.artifacts.as_uri())


def _a_step_failed(context: dg.InitResourceContext) -> bool:
    if context.instance is None or context.run_id is None:
        return False
    records = context.instance.get_records_for_run(context.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    return bool(records)


def close_orphans(platform: Platform, instance: dg.DagsterInstance | None) -> list[str]:
    """End MLflow runs whose Dagster run is over or unknown; returns their ids."""
    if instance is None:
        return []
    client = platform.registry.client
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    closed = []
    for run in client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'"):
        owner = instance.get_run_by_id(run.data.tags.get(OWNER_TAG, ""))
        if owner.is_finished if owner else not _may_be_starting(run):
            finished_well = owner is not None and owner.status is dg.DagsterRunStatus.SUCCESS
            client.set_terminated(run.info.run_id, "FINISHED" if finished_well else "KILLED")
            closed.append(run.info.run_id)
    return closed


def _may_be_starting(run: Any) -> bool:
    """dagster-mlflow starts a run first and tags it with its owner a moment later."""
    return OWNER_TAG not in run.data.tags and time.time() - run.info.start_time / 1000 < UNTAGGED_SECONDS


def _delegate_to_dagster_mlflow(context: Any, events: Any) -> Any:
    from dagster_mlflow import end_mlflow_on_run_finished

    return end_mlflow_on_run_finished.hook_fn(context, events)


end_mlflow_run = dg.HookDefinition(
    name="end_mlflow_on_run_finished",
    hook_fn=_delegate_to_dagster_mlflow,
    required_resource_keys={"mlflow"},
)
"""dagster-mlflow's own hook, imported when it first runs: importing it costs four seconds of MLflow."""
