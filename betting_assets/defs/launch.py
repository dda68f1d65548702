"""Runs the jobs in this process, one stage after another: what `betting demo` and the tests do."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from betting_assets.defs.logs import NAME, step_of
from betting_assets.defs.partitions import range_tags, register_partitions
from betting_assets.defs.resources import Platform

Config = dict[str, Any]
ENDED = ("STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED")


@dataclass(frozen=True)
class Stage:
    """One run: a job, for one partition or for all, with the configuration of its ops."""

    name: str
    job: str
    partition: str | None = None
    all_partitions: bool = False
    ops: Config | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a stage: `failed_checks` by name with their reasons, the first error, metadata by asset."""

    success: bool
    failed_checks: dict[str, str]
    error: str | None
    metadata: dict[str, dict[str, Any]]


class Launcher:
    """Executes stages on one Dagster instance.

    Args:
        on_step: called with the name of each step as it ends.
    """

    def __init__(
        self,
        definitions: dg.Definitions,
        platform: Platform,
        instance: dg.DagsterInstance,
        on_step: Callable[[str], None] | None = None,
    ) -> None:
        self.instance = instance
        self._definitions, self._platform = definitions, platform
        self._on_step = on_step

    def run(self, stage: Stage) -> Outcome:
        """Run one stage to its end; a failed asset or blocking check makes `success` false, only Ctrl-C is raised."""
        tags = {}
        if stage.all_partitions:
            register_partitions(self.instance, self._platform.source)
            tags = range_tags(self.instance)
        job = self._definitions.resolve_job_def(stage.job)
        ops = {op: {"config": values} for op, values in (stage.ops or {}).items()}
        config: Config = {"ops": ops, "loggers": {"console": {}}}
        with _watched(self._on_step):
            result = job.execute_in_process(
                run_config=config,
                instance=self.instance,
                partition_key=stage.partition,
                tags=tags,
                raise_on_error=False,
            )
        if _was_interrupted(result):
            raise KeyboardInterrupt  # Dagster makes an ordinary failed run of Ctrl-C; who pressed it wants to stop
        return outcome_of(result)

    def steps(self, stage: Stage) -> int:
        """How many steps the stage has, for a progress bar."""
        return len(self._definitions.resolve_job_def(stage.job).graph.node_dict)


def outcome_of(result: dg.ExecuteInProcessResult) -> Outcome:
    return Outcome(result.success, _failed_checks(result), _first_error(result), _metadata(result))


def _was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    errors = [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
    return any(error is not None and error.cls_name == "DagsterExecutionInterruptedError" for error in errors)


def _failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    evaluations = result.get_asset_check_evaluations()
    return {f"{e.asset_key.to_user_string()}:{e.check_name}": str(e.description) for e in evaluations if not e.passed}


def _first_error(result: dg.ExecuteInProcessResult) -> str | None:
    """Innermost message of the first failed step, in one line."""
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            error = event.step_failure_data.error
            while error.cause is not None:
                error = error.cause
            return f"{event.step_key}: {' '.join(error.message.split())[:300]}"
    return None


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        found[materialization.asset_key.to_user_string()] = {k: v.value for k, v in materialization.metadata.items()}
    return found


class _StepWatch(logging.Handler):
    """Tells a callback of every step that ended, as the run's own log tells of it."""

    def __init__(self, on_step: Callable[[str], None]) -> None:
        super().__init__()
        self._on_step = on_step

    def emit(self, record: logging.LogRecord) -> None:
        step = step_of(record)
        if step is not None and step[0] in ENDED:
            self._on_step(step[1])


@contextmanager
def _watched(on_step: Callable[[str], None] | None) -> Iterator[None]:
    if on_step is None:
        yield
        return
    logger, watch = logging.getLogger(NAME), _StepWatch(on_step)
    logger.addHandler(watch)
    try:
        yield
    finally:
        logger.removeHandler(watch)


@contextmanager
def platform_instance() -> Iterator[dg.DagsterInstance]:
    """The instance in DAGSTER_HOME, closed afterwards."""
    instance = dg.DagsterInstance.get()
    try:
        yield instance
    finally:
        instance.dispose()


def fail_interrupted_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs that were under way as failed, for a start at which no run can be under way; returns their ids."""
    under_way = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    runs = instance.get_runs(dg.RunsFilter(statuses=under_way))
    for run in runs:
        instance.report_run_failed(run, "The platform stopped while this run was under way.")
        # The daemon would do so too, a minute later; until then whatever needs the same pool waits.
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in runs]
