"""A Bento is built and started by tag, proves which model it holds, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest
from invented_models import VERSIONS, free_port, invented_bundle

from bentos.match_odds.client import MatchOddsClient, MatchOddsError
from bentos.match_odds.deploying.build import bento_folder, build_bento, champions_folder
from bentos.match_odds.deploying.child import RESPAWN_SECONDS, SERVE, bentoml_home
from bentos.match_odds.deploying.runner import KEPT_LOGS, KEPT_SECONDS, RunningBento, StartError
from bentos.match_odds.front.tls import TlsFiles
from bentos.match_odds.model.known_answers import KnownAnswer, WrongAnswerError, known_answers
from betting_assets.modelling.bundle import Bundle

pytestmark = pytest.mark.services


def processes_that_mention(text: str) -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "environ"]):
        words = [*(process.info["cmdline"] or []), *(process.info["environ"] or {}).values()]
        if process.pid != os.getpid() and any(text in word for word in words):
            found.append(process.pid)
    return found


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.05)


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
    with pytest.raises(StartError) as raised:
        bento.start()
    assert "train the model anew" in str(raised.value).splitlines()[0]
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


def test_a_grpc_port_that_another_service_would_share_is_refused(tag: str, home: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        bento = RunningBento(tag, free_port(), home, grpc_port=other.getsockname()[1])
        with pytest.raises(StartError, match="gRPC is taken"):
            bento.start()
    assert bento.pid is None


def test_a_bento_whose_supervisor_was_killed_is_cleared_away_by_stop(tag: str, home: Path) -> None:
    bento = RunningBento(tag, free_port(), home)
    bento.start()
    assert bento.pid is not None
    os.kill(bento.pid, signal.SIGKILL)
    time.sleep(0.2)
    bento.stop()
    assert processes_that_mention(f"{home}/serving/{bento.port}") == []


def test_a_killed_worker_is_replaced_while_the_other_serves_on(tag: str, home: Path, known: list[KnownAnswer]) -> None:
    with RunningBento(tag, free_port(), home, workers=2) as bento:
        until(lambda: len(bento.worker_pids()) == 2)
        killed = bento.worker_pids()[0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(set(bento.worker_pids()) - {killed}) == 2)
        assert bento.ask_known() == len(known)


def test_bentoml_still_lets_us_say_how_often_it_looks_for_dead_workers() -> None:
    asked = f"{SERVE.partition('from bentoml_cli')[0]}print(circus.create_standalone_arbiter([]).check_delay)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(RESPAWN_SECONDS), done.stderr


def test_a_stop_lets_a_request_end_that_had_begun(tag: str, home: Path, known: list[KnownAnswer]) -> None:
    body = json.dumps({"market": "1x2", "rows": [{"features": known[0].features}]}).encode()
    head = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    with RunningBento(tag, free_port(), home) as bento, socket.create_connection(("127.0.0.1", bento.port)) as talk:
        talk.settimeout(30)
        talk.sendall(head % len(body) + body[:20])
        time.sleep(0.5)
        os.kill(bento.worker_pids()[0], signal.SIGTERM)
        time.sleep(0.5)
        talk.sendall(body[20:])
        assert talk.recv(65536).startswith(b"HTTP/1.1 200")


def test_of_the_logs_of_trials_the_newest_and_those_of_a_day_are_kept(tag: str, home: Path) -> None:
    logs = home / "logs"
    before = set(logs.glob("*.log*"))
    old = [logs / f"bento-{number}.log" for number in range(KEPT_LOGS + 5)]
    long_ago = time.time() - 2 * KEPT_SECONDS
    for log in [*old, keeper := logs / "bento-blue.log"]:
        log.touch()
        os.utime(log, (long_ago, long_ago))
    with pytest.raises(StartError):
        RunningBento("match_odds:never-built", free_port(), home).start()
    assert len([log for log in old if log.exists()]) < KEPT_LOGS
    assert keeper.exists()
    assert all(log.exists() for log in before)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    folder = tmp_path_factory.mktemp("tls")
    tls = TlsFiles(folder / "certificate.pem", folder / "key.pem")
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(tls.key), "-out", str(tls.certificate)]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject]
    subprocess.run(command, check=True, capture_output=True)
    tls.key.chmod(0o600)
    return tls


def test_with_tls_both_ports_speak_it_and_with_keys_both_ask_for_one(
    tag: str, home: Path, tls: TlsFiles, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.touch(mode=0o600)
    with RunningBento(tag, free_port(), home, tls=tls, api_keys=keys) as bento:
        assert (bento.url[:8], bento.grpc_url[:8]) == ("https://", "grpcs://")
        for url in (bento.url, bento.grpc_url):
            with MatchOddsClient(url, ca=tls.certificate) as client, pytest.raises(MatchOddsError) as raised:
                client.models()
            assert raised.value.status == 401


def test_a_bento_on_trial_has_neither_tls_nor_keys_whatever_the_environment_says(
    tag: str, home: Path, tls: TlsFiles, known: list[KnownAnswer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTING_TLS_CERTIFICATE", str(tls.certificate))
    monkeypatch.setenv("BETTING_TLS_KEY", str(tls.key))
    monkeypatch.setenv("BETTING_API_KEYS_FILE", str(tls.key))
    monkeypatch.setenv("BETTING_SERVING_HOST", "0.0.0.0")
    with RunningBento(tag, free_port(), home) as bento:
        assert bento.ask_known() == len(known)
