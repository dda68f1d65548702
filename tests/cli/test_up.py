"""`betting up`: one platform in the foreground, whole or not at all, now and after a crash."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import psutil
import pytest
from invented_files import write_season
from terminals import Terminal, assert_one_line

from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.sources.football_data import read_folder
from betting_assets.warehouse.history import write_batch
from betting_assets.warehouse.migrate import migrate

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]


def _wait_until_up(terminal: Terminal, process: subprocess.Popen[str], seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while "Ctrl-C stops all of it" not in terminal.output.read_text():
        assert process.poll() is None, terminal.output.read_text()
        assert time.monotonic() < deadline, terminal.output.read_text()
        time.sleep(0.2)


@pytest.fixture(scope="module")
def up(terminal: Terminal) -> Iterator[subprocess.Popen[str]]:
    """Files are stored, a first platform was killed while it started, and a second one has taken over."""
    write_season(terminal.folder / "files")
    with EmbeddedPostgres(terminal.home / "postgres") as server:
        migrate(server.url)
        write_batch(server.url, read_folder(terminal.folder / "files"))
    terminal.output.write_text("")
    killed = terminal.start("up")
    while "starting MLflow" not in terminal.output.read_text():
        assert killed.poll() is None, terminal.output.read_text()
        time.sleep(0.2)
    time.sleep(2)
    killed.kill()
    killed.wait()
    terminal.output.write_text("")
    process = terminal.start("up")
    _wait_until_up(terminal, process)
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_a_start_after_a_crash_takes_over_and_resumes_what_is_stored(
    terminal: Terminal, up: subprocess.Popen[str]
) -> None:
    assert "did not stop properly: taking over" in terminal.output.read_text()
    status = terminal.run("status").stdout
    assert ["matches", "56"] in [line.replace("│", " ").split() for line in status.splitlines()]


@pytest.mark.parametrize(("name", "path"), [("DAGSTER", "/server_info"), ("MLFLOW", "/health")])
def test_the_services_answer_where_it_says(terminal: Terminal, up: subprocess.Popen[str], name: str, path: str) -> None:
    address = f"http://127.0.0.1:{terminal.environment[f'BETTING_{name}_PORT']}"
    assert address in terminal.output.read_text()
    with urllib.request.urlopen(address + path, timeout=10) as answer:
        assert answer.status == 200


def test_every_server_listens_on_loopback_only(terminal: Terminal, up: subprocess.Popen[str]) -> None:
    listening = [
        (process.name(), connection.laddr.ip)
        for process in terminal.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert {address for _, address in listening} <= {"127.0.0.1", "::1"}


def test_a_second_start_is_refused_and_names_the_first(terminal: Terminal, up: subprocess.Popen[str]) -> None:
    result = terminal.run("up")
    assert_one_line(result, "already runs", f"pid {up.pid}", "Ctrl-C")
    assert up.poll() is None


def test_a_busy_port_is_named_with_the_setting_that_chooses_another(terminal: Terminal) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        other = str(terminal.home.parent / "other")
        result = terminal.run("up", BETTING_HOME=other, BETTING_DAGSTER_PORT=port)
    assert_one_line(result, f"port {port} for dagster", "BETTING_DAGSTER_PORT=")


def test_ctrl_c_stops_all_of_it(terminal: Terminal, up: subprocess.Popen[str]) -> None:
    up.send_signal(signal.SIGINT)
    assert up.wait(60) == 0
    assert terminal.output.read_text().rstrip().endswith("`betting up` resumes")
    assert "Traceback" not in terminal.output.read_text()
    assert terminal.processes() == []
