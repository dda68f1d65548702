"""Wrong usage: one line that says what, where and how to mend it; exit code 2; nothing started, nothing left."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from invented_files import write_season
from terminals import Terminal, assert_one_line

from betting_assets.cli import main
from betting_assets.settings import Settings, settings

UNREACHABLE = "postgresql://user:secret@127.0.0.1:1/odds"
FORBIDDEN = "/proc/forbidden"
"""Nobody can make a folder there, not even root."""


MISTAKES: list[tuple[list[str], dict[str, str], list[str]]] = [
    (["forecast"], {}, ["No such command 'forecast'", "betting --help"]),
    (["evaluate", "--seasons", "2021"], {}, ["No such option", "--seasons"]),
    (["ingest"], {}, ["Missing argument"]),
    (["ingest", "nowhere"], {}, ["nowhere", "no such folder"]),
    (["ingest", "empty"], {}, ["empty", "no CSV file"]),
    (["ingest", "notes"], {}, ["notes", "expected football-data.co.uk files"]),
    (["ingest", "one_season", "--leagues", "XX"], {}, ["XX", "present are E0"]),
    (["evaluate", "--data", "nowhere"], {}, ["nowhere", "no such folder"]),
    (["evaluate", "--leagues", "XX"], {}, ["XX", "the simulator", "SIM1, SIM2, SIM3"]),
    (["evaluate", "--market", "corners"], {}, ["corners", "1x2, over_under"]),
    (["evaluate", "--json", f"{FORBIDDEN}/scores.json"], {}, [FORBIDDEN, "--json"]),
    (["evaluate", "--json", "empty"], {}, ["empty is a folder", "--json"]),
    (["demo", "--data", "nowhere"], {}, ["nowhere", "no such folder"]),
    (["demo", "--leagues", "SIM1,XX"], {}, ["XX", "SIM1, SIM2, SIM3"]),
    (["demo", "--data", "one_season"], {}, ["only season 1718", "add the files of earlier seasons"]),
    (["demo", "--reports", FORBIDDEN], {}, [FORBIDDEN, "--reports"]),
    (["predict"], {}, ["not running", "betting up"]),
    (["predict", "e0_2017-08-05_ashby_brill"], {}, ["no service answers", "betting up"]),
    (["predict", "--market", "corners", "x"], {}, ["corners", "1x2, over_under"]),
    (["status"], {"BETTING_DAGSTER_PORT": "http"}, ["BETTING_DAGSTER_PORT='http'", "integer"]),
    (["status"], {"BETTING_DAGSTER_PORT": "80"}, ["BETTING_DAGSTER_PORT='80'", "1024"]),
    (["evaluate"], {"BETTING_MARGIN_METHOD": "magic"}, ["BETTING_MARGIN_METHOD='magic'", "shin"]),
    (["status"], {"BETTING_DATABASE_URL": "odds"}, ["BETTING_DATABASE_URL", "postgresql://"]),
    (["status"], {"BETTING_DATABASE_URL": "mysql://user@host/odds"}, ["mysql", "postgresql://"]),
    (["status"], {"BETTING_DATABASE_URL": UNREACHABLE}, ["cannot reach", "BETTING_DATABASE_URL"]),
    (["predict"], {"BETTING_DATABASE_URL": UNREACHABLE}, ["cannot reach", "BETTING_DATABASE_URL"]),
    (["rollback"], {"BETTING_DATABASE_URL": UNREACHABLE}, ["cannot reach", "BETTING_DATABASE_URL"]),
    (["ingest", "one_season"], {"BETTING_HOME": FORBIDDEN}, [FORBIDDEN, "BETTING_HOME"]),
    (["up"], {"BETTING_HOME": FORBIDDEN}, [FORBIDDEN, "BETTING_HOME"]),
    (["demo"], {"BETTING_HOME": f"{FORBIDDEN}/platform"}, [FORBIDDEN, "BETTING_HOME"]),
]


@pytest.fixture(scope="module", autouse=True)
def _folders(terminal: Terminal) -> None:
    write_season(terminal.folder / "one_season")
    (terminal.folder / "empty").mkdir()
    notes = terminal.folder / "notes" / "notes.csv"
    notes.parent.mkdir()
    notes.write_text("to do,done\nread,no\n")


@pytest.fixture
def run_here(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """The command's entry point in this process: starting Python thirty times would take most of a minute."""

    def run(arguments: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        for name, value in (terminal.environment | variables).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(terminal.folder)
        monkeypatch.setattr(sys, "argv", ["betting", *arguments])
        settings.cache_clear()
        with pytest.raises(SystemExit) as ended:
            main()
        return subprocess.CompletedProcess(arguments, int(str(ended.value)), *capfd.readouterr())

    before = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, before)
    settings.cache_clear()


@pytest.mark.parametrize(("arguments", "variables", "expected"), MISTAKES)
def test_a_mistake_is_told_in_one_line_and_starts_nothing(
    terminal: Terminal,
    run_here: Callable[..., subprocess.CompletedProcess[str]],
    arguments: list[str],
    variables: dict[str, str],
    expected: list[str],
) -> None:
    result = run_here(arguments, variables)
    assert_one_line(result, *expected)
    assert "secret" not in result.stderr
    assert not (terminal.home / "postgres").exists()


def test_a_mistake_at_the_terminal_is_one_line_too(terminal: Terminal) -> None:
    """What libraries say while they are imported shows in a process of its own only."""
    assert_one_line(terminal.run("ingest", "nowhere"), "no such folder")
    assert_one_line(terminal.run("demo", "--data", "nowhere"), "no such folder")
    assert terminal.processes() == []


def test_a_broken_env_file_is_named(terminal: Terminal) -> None:
    file = terminal.folder / ".env"
    file.write_bytes(b"BETTING_LEAGUES=\xff\xfe\n")
    result = terminal.run("status")
    file.unlink()
    assert_one_line(result, str(file), "UTF-8")


def test_a_demo_never_removes_a_folder_that_it_did_not_make(terminal: Terminal) -> None:
    mine = terminal.home.parent / "demo" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    result = terminal.run("demo")
    assert mine.read_text() == "years of work"
    mine.unlink()
    mine.parent.rmdir()
    assert_one_line(result, str(mine.parent), "not an earlier demo")


def test_status_without_a_platform_is_an_answer_and_starts_nothing(terminal: Terminal) -> None:
    result = terminal.run("status")
    assert (result.returncode, result.stderr) == (0, "")
    assert "not running" in result.stdout
    assert terminal.processes() == []


def test_a_bug_shows_its_traceback(terminal: Terminal) -> None:
    """Told in one line, it would pass for the user's mistake."""
    broken = terminal.folder / "broken"
    (broken / "betting_assets").mkdir(parents=True)
    (broken / "sitecustomize.py").write_text(
        "import betting_assets.operate as operate\n"
        "def state(settings): raise ValueError('a bug')\n"
        "operate.state = state\n"
    )
    result = terminal.run("status", PYTHONPATH=str(broken))
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "ValueError: a bug" in result.stderr


@pytest.mark.parametrize("command", ["", "demo", "up", "ingest", "evaluate", "predict", "status", "rollback"])
def test_help_teaches(terminal: Terminal, command: str) -> None:
    result = terminal.run(*command.split(), "--help")
    assert result.returncode == 0
    assert result.stderr == ""
    taught = {
        "": "betting demo",
        "ingest": "betting ingest ~",
        "evaluate": "--json scores.json",
        "predict": "betting up",
    }
    assert taught.get(command, "Usage: betting") in " ".join(result.stdout.replace("│", " ").split())


def test_without_arguments_the_help_is_shown(terminal: Terminal) -> None:
    result = terminal.run()
    assert result.returncode == 0
    assert "Commands" in result.stdout


def test_a_child_process_gets_the_same_settings(tmp_path: Path) -> None:
    chosen = Settings(home=tmp_path, leagues="E0,SP1", serving_port=4321)
    variables = chosen.as_environment()
    assert variables["BETTING_LEAGUES"] == "E0,SP1"
    assert variables["BETTING_SERVING_PORT"] == "4321"
    assert "BETTING_DATABASE_URL" not in variables
