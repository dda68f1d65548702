"""The demo on simulated leagues: it tells what it did, and leaves nothing behind but its state and reports."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from terminals import Terminal, assert_one_line

from betting_assets.embedded.platform_lock import PlatformLock

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

LIVE = ["broker, workers", "match day", "drifted match day", "closing the loop"]
STAGES = ["database", "ingest", "features", "train 1x2", "train over_under", "deploy", "predict", *LIVE, "monitor"]
HELD_BACK = 90
"""Three rounds of three leagues: one, and two after the drift was planted."""

MARKETS = {"1x2": ["home", "draw", "away"], "over_under": ["over", "under"]}


@pytest.fixture(scope="module")
def demo(terminal: Terminal) -> subprocess.CompletedProcess[str]:
    return terminal.run("demo", timeout=850, BETTING_TEST_SEASONS="1")


@pytest.fixture
def summary(terminal: Terminal, demo: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads((terminal.folder / "reports" / "summary.json").read_text()))


@pytest.fixture
def report(terminal: Terminal, demo: subprocess.CompletedProcess[str]) -> str:
    return (terminal.folder / "reports" / "report.html").read_text()


def test_it_succeeds_and_leaves_nothing_running(terminal: Terminal, demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stderr
    assert terminal.processes() == []


def test_it_writes_nothing_outside_its_state_and_the_reports(
    terminal: Terminal, demo: subprocess.CompletedProcess[str]
) -> None:
    assert sorted(path.name for path in terminal.folder.iterdir()) == ["reports"]
    assert sorted(path.name for path in terminal.home.parent.iterdir()) == ["demo"]


def test_progress_is_one_line_a_stage_and_no_library_speaks(demo: subprocess.CompletedProcess[str]) -> None:
    assert [line[:18].strip() for line in demo.stderr.splitlines()] == STAGES
    assert "\x1b" not in demo.stdout


def test_no_table_is_wider_than_100_columns_and_no_model_name_is_cut(demo: subprocess.CompletedProcess[str]) -> None:
    lines = [line.rstrip() for line in demo.stdout.splitlines()]
    assert max(map(len, lines)) <= 100
    assert sum(line.split()[:1] == ["fundamentals_linear"] for line in lines) == len(MARKETS)


def test_the_summary_counts_the_whole_world(summary: dict[str, Any]) -> None:
    assert summary["source"] == "simulator"
    assert summary["leagues"] == ["SIM1", "SIM2", "SIM3"]
    assert summary["matches"] == 3 * 6 * 20 * 19
    assert summary["matches"] - summary["results"] == HELD_BACK
    assert summary["rejected"] == 0
    assert list(summary["seconds"]) == [*STAGES, "total"]


@pytest.mark.parametrize("market", MARKETS)
def test_models_stand_beside_the_market_with_log_loss_and_rps(summary: dict[str, Any], market: str) -> None:
    models = {row["model"]: row for row in summary["models"][market]}
    assert {"base_rate", "market_pre", "market_close", "fundamentals", "market_residual"} <= set(models)
    assert all(row["log_loss"] > 0 and row["rps"] > 0 for row in models.values())
    assert models["base_rate"]["vs_market_lo"] > 0


@pytest.mark.parametrize("market", MARKETS)
def test_the_champion_answered_for_every_held_back_match(summary: dict[str, Any], market: str) -> None:
    upcoming = summary["matches"] - summary["results"]
    answers = [one for one in summary["predictions"] if one["market"] == market]
    assert summary["service"][market]["model"] == summary["champions"][market]
    assert len(answers) == summary["service"][market]["matches"] == upcoming
    for one in answers:
        assert list(one["probabilities"]) == MARKETS[market]
        assert sum(one["probabilities"].values()) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("market", MARKETS)
def test_served_predictions_are_settled_and_near_the_truth(summary: dict[str, Any], market: str) -> None:
    champion = summary["champions"][market]
    settled = {one["market"]: one for one in summary["performance"] if one["model_version"] == champion}
    assert settled[market]["n"] == summary["service"][market]["matches"]
    assert 0 < summary["mean_distance_from_truth"][market] < 0.1


def test_every_tick_and_result_is_landed_and_none_is_a_dead_letter(summary: dict[str, Any]) -> None:
    live = summary["live"]
    assert live["stored"]["ticks"] == live["published"]["odds.ticks.v1"] > 1_000
    assert live["stored"]["results"] == live["published"]["match.results.v1"] == HELD_BACK
    assert live["stored"]["dead letters"] == 0
    assert live["stored"]["predictions"] > 2 * HELD_BACK


def test_the_planted_drift_is_found_and_a_retrained_model_goes_live_by_itself(summary: dict[str, Any]) -> None:
    live = summary["live"]
    told = [one["what"] for one in live["timeline"]]
    assert live["failed_runs"] == []
    assert live["models_after"]["1x2"] != live["models_before"]["1x2"], live["timeline"]
    order = ["check training_set:drift failed", "training of 1x2 began", "promoted to champion", "packaged as a Bento"]
    assert [told.index(what) for what in order] == sorted(told.index(what) for what in order)
    assert any(one["what"] == "training of 1x2 began" and "drift" in one["detail"] for one in live["timeline"])
    assert live["seconds_from_drift_to_live"] > 0


def test_no_request_fails_while_the_loop_closes(summary: dict[str, Any]) -> None:
    assert summary["live"]["asked_meanwhile"] > 100
    assert summary["live"]["failed_meanwhile"] == 0


def test_the_report_is_one_file_that_asks_nothing_of_any_server(report: str) -> None:
    for reference in re.findall(r"""(?:src|href)=["']?([^"'\s>]+)""", report):
        assert reference.startswith("data:image/png;base64,")
    assert not re.search(r"https?://|@import|url\(", report)
    assert report.count("<figure>") >= 2 * len(MARKETS)


def test_the_report_names_limits_and_responsible_use(report: str) -> None:
    for text in ("Limits and responsible use", "Nothing here is advice to bet", "simulated", "Upcoming matches"):
        assert text in report


def test_two_demos_in_one_folder_are_refused(terminal: Terminal, demo: subprocess.CompletedProcess[str]) -> None:
    with PlatformLock(terminal.home.parent / "demo", {}):
        assert_one_line(terminal.run("demo"), "already runs")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_demo_leaves_nothing_running(
    terminal: Terminal, demo: subprocess.CompletedProcess[str], number: signal.Signals
) -> None:
    terminal.output.write_text("")
    process = terminal.start("demo", "--leagues", "SIM1")
    _wait_for("database", terminal.output)
    time.sleep(2)  # in the middle of a stage
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    assert terminal.processes() == []
    assert "Traceback" not in terminal.output.read_text()


def _wait_for(text: str, file: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while text not in file.read_text():
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.2)
