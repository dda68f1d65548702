"""What looks out for causes: automation conditions, new data in the source and the streams, trainings that died."""

import dagster as dg

from betting_assets.defs.automation_sensor import AutomationSensor
from betting_assets.defs.fixture_sensor import new_fixtures
from betting_assets.defs.history import new_partitions
from betting_assets.defs.resources import Platform, close_orphans
from betting_assets.defs.stream_sensors import landed, settle_results

automation = AutomationSensor(
    "automation",
    target=dg.AssetSelection.all(include_sources=True) | dg.AssetSelection.all_asset_checks(),
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    use_user_code_server=True,
    emit_backfills=False,  # two markets at once would wait for the backfill daemon
    description="Evaluates the conditions of automation.py: follow upstream, retrain, promote and deploy.",
)


@dg.run_status_sensor(run_status=dg.DagsterRunStatus.FAILURE, default_status=dg.DefaultSensorStatus.RUNNING)
def failed_mlflow_runs(context: dg.RunStatusSensorContext, platform: dg.ResourceParam[Platform]) -> None:
    """Ends the MLflow run of a Dagster run that was killed before it could do so itself."""
    close_orphans(platform, context.instance)


@dg.run_status_sensor(run_status=dg.DagsterRunStatus.CANCELED, default_status=dg.DefaultSensorStatus.RUNNING)
def cancelled_mlflow_runs(context: dg.RunStatusSensorContext, platform: dg.ResourceParam[Platform]) -> None:
    """Ends the MLflow run of a Dagster run that was cancelled."""
    close_orphans(platform, context.instance)


SENSORS = [automation, new_partitions, landed, settle_results, new_fixtures, failed_mlflow_runs, cancelled_mlflow_runs]
