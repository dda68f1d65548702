"""A Bento is built and started by tag, proves which model it holds, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from invented_models import VERSIONS, free_port, invented_bundle

from bentos.match_odds.build import bento_folder, build_bento, champions_folder
from bentos.match_odds.child import bentoml_home
from bentos.match_odds.known_answers import KnownAnswer, WrongAnswerError, known_answers
from bentos.match_odds.runner import RunningBento, StartError
from betting_assets.modelling.bundle import Bundle

pytestmark = pytest.mark.services


def processes_that_mention(text: str) -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "environ"]):
        words = [*(process.info["cmdline"] or []), *(process.info["environ"] or {}).values()]
        if process.pid != os.getpid() and any(text in word for word in words):
            found.append(process.pid)
    return found


def test_a_started_bento_gives_the_known_answers(running: RunningBento, known: list[KnownAnswer]) -> None:
    assert running.ask_known() == len(known)


def test_known_answers_refuse_another_model(running: RunningBento) -> None:
    other, table = invented_bundle("1x2", seed=2)
    with pytest.raises(WrongAnswerError, match="it serves another model"):
        running.ask_known(known_answers(other, table))


def test_known_answers_ask_every_variant(known: list[KnownAnswer]) -> None:
    assert {(answer.market.value, answer.variant) for answer in known} == {
        (market, variant) for market in VERSIONS for variant in ("fundamentals", "market_residual")
    }


def test_the_bento_holds_code_and_champions_but_no_dagster(tag: str, home: Path) -> None:
    source = bento_folder(tag, home) / "src"
    assert (champions_folder(tag, home) / "1x2" / "bundle.json").is_file()
    assert not (source / "betting_assets" / "defs").exists()
    assert not (source / "betting_assets" / "definitions.py").exists()
    imports = [
        line for file in source.rglob("*.py") for line in file.read_text().splitlines() if "import dagster" in line
    ]
    assert imports == []


def test_a_build_leaves_no_staging_folder(tag: str, home: Path) -> None:
    assert [folder.name for folder in bentoml_home(home).iterdir() if folder.name.startswith("staging")] == []


def test_a_champion_without_known_answers_is_not_built(
    trained: dict[str, tuple[Bundle, pd.DataFrame]], known: list[KnownAnswer], home: Path
) -> None:
    only = [answer for answer in known if answer.market == "1x2"]
    with pytest.raises(ValueError, match="over_under has no known answer"):
        build_bento(dict.fromkeys(trained, home), VERSIONS, only, home)


def test_a_stopped_bento_leaves_no_process_and_a_free_port(tag: str, home: Path) -> None:
    with RunningBento(tag, free_port(), home) as bento:
        assert processes_that_mention(str(home))
    assert bento.pid is None
    assert processes_that_mention(f"{home}/serving/{bento.port}") == []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", bento.port))


def test_a_bento_that_cannot_start_says_why_and_leaves_no_process(tag: str, home: Path) -> None:
    broken = bento_folder(tag, home).parent / "broken"
    shutil.copytree(bento_folder(tag, home), broken)
    (broken / "bento.yaml").write_text((broken / "bento.yaml").read_text().replace(tag.partition(":")[2], "broken"))
    (champions_folder("match_odds:broken", home) / "1x2" / "bundle.json").write_text('{"format": 0}')
    bento = RunningBento("match_odds:broken", free_port(), home)
    with pytest.raises(StartError, match="train the model anew"):
        bento.start()
    assert bento.pid is None
    assert processes_that_mention(f"{home}/serving/{bento.port}") == []


def test_an_unknown_tag_is_refused(home: Path, tag: str) -> None:
    with pytest.raises(StartError, match="ended with code"):
        RunningBento("match_odds:never-built", free_port(), home).start()


def test_a_taken_port_is_refused(tag: str, home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        bento = RunningBento(tag, other.getsockname()[1], home)
        with pytest.raises(StartError):
            bento.start(20.0)
        assert processes_that_mention(f"{home}/serving/{bento.port}") == []


def test_a_bento_whose_supervisor_was_killed_is_cleared_away_by_stop(tag: str, home: Path) -> None:
    bento = RunningBento(tag, free_port(), home)
    bento.start()
    assert bento.pid is not None
    os.kill(bento.pid, signal.SIGKILL)
    time.sleep(0.2)
    bento.stop()
    assert processes_that_mention(f"{home}/serving/{bento.port}") == []
