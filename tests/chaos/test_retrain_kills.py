"""kill -9 of the Dagster daemon around a retraining: no cause is lost, and none is trained for twice."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from daemons import running, until

from betting_assets.defs.cause_log import TRAINING_SET, as_metadata, last_trained
from betting_assets.defs.causes import CAUSE_TAG
from betting_assets.defs.launch import fail_interrupted_runs
from betting_assets.modelling.causes import CauseName, Finding
from betting_assets.modelling.markets import MARKETS

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

LOCATION = Path(__file__).with_name("retrain_location.py")
MARKET = "1x2"
ROUNDS = 5
MOMENTS = ("RUN_IDS_RESERVED", "RUN_LAUNCHED")
"""Of a sensor's tick: its runs are told and none is launched; one is launched and the tick does not know it."""
QUIET_SECONDS = 8.0
"""Four ticks of the location's sensor: time enough to ask for one training too many."""

OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def report_drift(instance: dg.DagsterInstance, about: str) -> None:
    """As the check does: of one market only."""
    found = {
        market: Finding(
            CauseName.DRIFT, market == MARKET, about, f"{about} drifted" if market == MARKET else "no drift"
        )
        for market in MARKETS
    }
    evaluation = dg.AssetCheckEvaluation(
        asset_key=TRAINING_SET, check_name=CauseName.DRIFT.value, passed=False, metadata=as_metadata(found)
    )
    instance.report_runless_asset_event(evaluation)


def finished(instance: dg.DagsterInstance, market: str, about: str | None = None) -> bool:
    """The newest training was judged, and dealt with this drift."""
    last = last_trained(instance, market)
    if last is None or last.judged < last.began:
        return False
    return about is None or last.handled.get(CauseName.DRIFT.value) == about


def is_quiet(instance: dg.DagsterInstance) -> bool:
    return all(run.status in OVER for run in instance.get_runs())


def failures(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """What the event log says of a run that failed."""
    failed = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    entries = [record.event_log_entry for record in instance.get_records_for_run(run_id, of_type=failed).records]
    return [str(entry.get_dagster_event().message) for entry in entries]


def timeline(instance: dg.DagsterInstance) -> list[str]:
    """Every run: when it was made, began and ended, what became of it, of what, and why."""
    return [_told(record) for record in instance.get_run_records(ascending=True)]


def _told(record: dg.RunRecord) -> str:
    run, times = record.dagster_run, (record.start_time or 0, record.end_time or 0)
    assets = sorted(key.to_user_string() for key in run.asset_selection or ())
    return f"{record.create_timestamp:%H:%M:%S} {times[0]:.1f} {times[1]:.1f} {run.status.value} {assets} {run.tags}"


def trainings(instance: dg.DagsterInstance, first: int) -> list[dg.DagsterRun]:
    """The runs of trainings, without the `first` runs that there were."""
    runs = instance.get_runs()
    return [run for run in runs[: len(runs) - first] if TRAINING_SET in (run.asset_selection or ())]


def test_a_daemon_that_is_killed_again_and_again_trains_once_for_each_cause(
    variables: dict[str, str], instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    log = tmp_path / "daemon.log"
    interrupted: list[str] = []
    with running(LOCATION, variables, log) as daemon:
        until(lambda: all(finished(instance, market) for market in MARKETS), "what was never trained is trained", log)
        until(lambda: is_quiet(instance), "the first trainings end", log)
        first = len(instance.get_runs())
        for round_ in range(ROUNDS):
            about = f"match_odds_1x2/{round_}"
            report_drift(instance, about)
            # At another moment each time: not yet seen, requested, starting, training, judging.
            time.sleep(round_ * 1.7)
            daemon.kill(with_runs=bool(round_ % 2))
            if round_ % 2:
                interrupted += fail_interrupted_runs(instance)
            daemon.start()
            until(lambda about=about: finished(instance, MARKET, about), f"{about} is trained for", log)
        until(lambda: is_quiet(instance), "every training ends", log)
        time.sleep(QUIET_SECONDS)

    later = trainings(instance, first)
    assert {run.tags["dagster/partition"] for run in later} == {MARKET}, "the drift of one market trains no other"
    failed = {run.run_id for run in later if run.status is not dg.DagsterRunStatus.SUCCESS}
    for run_id in failed - set(interrupted):  # the daemon died while it was launching it
        assert all("to start" in line for line in failures(instance, run_id)), failures(instance, run_id)
    causes = Counter(run.tags[CAUSE_TAG] for run in later if run.run_id not in failed)
    wanted = {f"drift: match_odds_1x2/{round_} drifted": 1 for round_ in range(ROUNDS)}
    assert causes == wanted, "\n".join(timeline(instance))


def test_a_tick_that_was_cut_off_loses_no_update_and_trains_once(
    variables: dict[str, str], instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """The resumed tick left no cursor, so the gate was never told of the new training set, which was made again."""
    log = tmp_path / "daemon.log"
    with running(LOCATION, variables, log) as daemon:
        until(lambda: all(finished(instance, market) for market in MARKETS), "what was never trained is trained", log)
        for moment in MOMENTS:
            daemon.kill(with_runs=False)
            until(lambda: is_quiet(instance), "every run ends", log)
            first = len(instance.get_runs())
            # The gate's own end and the request come in one tick, so training and gate are two runs.
            report_drift(instance, moment)
            daemon.start_and_die(moment)
            # The training ends before the first tick after the resumed one.
            daemon.start(TICK_SECONDS="25")
            until(lambda moment=moment: finished(instance, MARKET, moment), f"{moment} is trained for", log)
            assert len(trainings(instance, first)) == 1, "\n".join(timeline(instance))
