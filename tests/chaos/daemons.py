"""A real dagster-daemon that can be killed, on an instance of the test's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from betting_assets.embedded.ports import free_port
from betting_assets.instance import dagster_home, environment
from betting_assets.settings import Settings
from betting_assets.warehouse.database import create_databases

PATIENCE = 400


class Daemon:
    """A real dagster-daemon, with its code server and runs in its own process group."""

    def __init__(self, location: Path, variables: dict[str, str], log: Path) -> None:
        self._location, self._variables, self._log = location, os.environ | variables, log
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: list[int] = []

    def start(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "dagster._daemon", "run", "-f", str(self._location)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._variables, stdout=log, stderr=log, start_new_session=True, cwd=self._log.parent
            )
        self._groups.append(self._process.pid)

    def kill(self, *, with_runs: bool) -> None:
        assert self._process is not None
        if with_runs:
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait(30)

    def end(self) -> None:
        for group in self._groups:
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self._process is not None:
            self._process.wait(30)


@contextmanager
def running(location: Path, variables: dict[str, str], log: Path) -> Iterator[Daemon]:
    daemon = Daemon(location, variables, log)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.end()


def until(condition: Callable[[], bool], what: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {PATIENCE} s; the daemon's log ends with\n{log.read_text()[-3000:]}")
        time.sleep(0.5)


def daemon_environment(database: str, postgres_url: str, home: Path) -> dict[str, str]:
    create_databases(postgres_url)
    settings = Settings(_env_file=None, home=home, kafka_servers=f"127.0.0.1:{free_port()}")
    return environment(settings, database)


@contextmanager
def instance_of(variables: dict[str, str], home: Path) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        found = dg.DagsterInstance.from_config(str(dagster_home(home)))
        found.wipe()
        yield found
        found.dispose()
