"""What Dagster loads; nothing but assembly."""

from __future__ import annotations

import dagster as dg

from betting_assets.defs import causes, deployment, features, history, monitoring, streams, training
from betting_assets.defs.jobs import JOBS
from betting_assets.defs.logs import run_logger
from betting_assets.defs.resources import Platform, mlflow_run
from betting_assets.defs.sensors import SENSORS
from betting_assets.settings import settings


def build(platform: Platform) -> dg.Definitions:
    """The whole graph on one platform. A run is one process: starting one for each step costs more than the steps."""
    modules = [streams, history, features, training, causes, deployment, monitoring]
    return dg.Definitions(
        assets=dg.load_assets_from_modules(modules, include_specs=True),
        asset_checks=dg.load_asset_checks_from_modules(modules),
        jobs=JOBS,
        sensors=SENSORS,
        resources={"platform": platform, "mlflow": mlflow_run},
        executor=dg.in_process_executor,
        loggers={"console": run_logger},
    )


defs = build(Platform(settings()))
