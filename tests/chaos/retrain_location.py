"""A code location with the real condition `retrain` and its memory, on a training that takes seconds.

What is trained is tested elsewhere; here it is only whether, and how often. The test itself tells of drift.
"""

import os
import time

import dagster as dg

from betting_assets.defs.automation import retrain
from betting_assets.defs.automation_sensor import AutomationSensor
from betting_assets.defs.cause_log import seen, trained_metadata
from betting_assets.defs.causes import tag_with_cause
from betting_assets.defs.partitions import by_market
from betting_assets.modelling import causes

causes.FIRST_RETRY_MINUTES = 1.0  # several times as long as training and judging take on a busy machine
causes.LONGEST_RETRY_MINUTES = 1.0
TRAINING_SECONDS = 3.0


@dg.asset(partitions_def=by_market, automation_condition=retrain(cooldown_minutes=0.0))
def training_set(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    began, market = time.time(), context.partition_key
    findings = [one.finding for one in seen(context.instance, market)]
    cause = tag_with_cause(context.instance, context.run_id, market, findings)
    time.sleep(TRAINING_SECONDS)
    return dg.MaterializeResult(metadata=trained_metadata(began, findings, cause))


@dg.asset(deps=[training_set], partitions_def=by_market, automation_condition=dg.AutomationCondition.eager())
def model_evaluation() -> None:
    time.sleep(TRAINING_SECONDS / 3)


defs = dg.Definitions(
    assets=[training_set, model_evaluation],
    sensors=[
        AutomationSensor(
            "automation",
            target=dg.AssetSelection.assets(training_set, model_evaluation),
            minimum_interval_seconds=int(os.environ.get("TICK_SECONDS", "2")),
            default_status=dg.DefaultSensorStatus.RUNNING,
            use_user_code_server=True,
            emit_backfills=False,
        )
    ],
    executor=dg.in_process_executor,
)
