"""No MLflow run is left RUNNING, whatever started the Dagster run and however it ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worlds import Graph, Step, mlflow_runs

from betting_assets.defs.launch import fail_interrupted_runs
from betting_assets.defs.resources import EXPERIMENT, close_orphans

pytestmark = pytest.mark.services

PROGRAM = Path(__file__).with_name("killed_training.py")


def new_status(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Status of the MLflow runs that are new."""
    return [status for run, status in after.items() if run not in before]


def running(graph: Graph) -> list[str]:
    return [run for run, status in mlflow_runs(graph.platform).items() if status == "RUNNING"]


def test_a_job_with_the_hook_ends_its_mlflow_run(trained: Step) -> None:
    assert list(trained.mlflow.values()) == ["FINISHED"]


def test_a_run_that_the_gate_stopped_ends_its_mlflow_run_as_failed(trained: Step, trained_again: Step) -> None:
    assert new_status(trained.mlflow, trained_again.mlflow) == ["FAILED"]


def test_assets_materialized_ad_hoc_without_the_hook_end_their_mlflow_run(worse: Step, better: Step) -> None:
    assert new_status(worse.mlflow, better.mlflow) == ["FINISHED"]


def test_an_asset_that_raises_ends_its_mlflow_run_as_failed(better: Step) -> None:
    graph, before = better.graph, mlflow_runs(better.graph.platform)
    snapshots = graph.platform.home / "snapshots"
    away = snapshots.rename(snapshots.with_name("snapshots-away"))
    try:
        outcome = graph.ad_hoc("candidate_models", partition="1x2")
    finally:
        away.rename(snapshots)
    assert "No such file" in str(outcome.error)
    assert new_status(before, mlflow_runs(graph.platform)) == ["FAILED"]


@pytest.fixture
def killed(better: Step) -> str:
    """Dagster run of a training that was killed in the middle, as MLflow names it."""
    graph = better.graph
    with subprocess.Popen(
        [sys.executable, str(PROGRAM)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        try:
            while not (found := [run for run in running(graph) if graph.instance.has_run(run)]):
                assert child.poll() is None, "the training ended before it could be killed"
                time.sleep(0.1)
        finally:
            child.send_signal(signal.SIGKILL)
    return found[0]


def test_the_mlflow_run_of_a_killed_process_is_ended_once_dagster_knows_that_it_is_dead(
    better: Step, killed: str
) -> None:
    graph = better.graph
    assert close_orphans(graph.platform, graph.instance) == [], "a run that may still be alive is left alone"
    assert fail_interrupted_runs(graph.instance) == [killed], "as the next start of the platform does"
    assert len(close_orphans(graph.platform, graph.instance)) == 1
    assert mlflow_runs(graph.platform)[killed] == "KILLED"
    assert running(graph) == []


def test_a_run_that_is_just_starting_is_no_orphan(better: Step) -> None:
    """dagster-mlflow tags a run with its owner only after it was started: another training must not end it then."""
    platform = better.graph.platform
    client = platform.registry.client
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    an_hour_ago = int((time.time() - 3600) * 1000)
    young = client.create_run(experiment.experiment_id).info.run_id
    old = client.create_run(experiment.experiment_id, start_time=an_hour_ago).info.run_id
    try:
        assert close_orphans(platform, better.graph.instance) == [old]
    finally:
        client.set_terminated(young)
