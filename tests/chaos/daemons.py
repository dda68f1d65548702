"""A real dagster-daemon that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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
