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
DYING = Path(__file__).with_name("dying_daemon.py")


class Daemon:
    """A real dagster-daemon, with its code server and runs in its own process group."""

    def __init__(self, location: Path, variables: dict[str, str], log: Path) -> None:
        self._location, self._variables, self._log = location, os.environ | variables, log
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: list[int] = []

    def start(self, **variables: str) -> None:
        self._start(["-m", "dagster._daemon"], variables)

    def start_and_die(self, moment: str, **variables: str) -> None:
        """Start one that dies by itself in the next tick that asks for runs, and wait for that; see dying_daemon.py."""
        process = self._start([str(DYING), moment], variables)
        assert process.wait(PATIENCE) == -signal.SIGKILL, f"it ended by itself, see {self._log}"

    def _start(self, program: list[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-W", "ignore", *program, "run", "-f", str(self._location)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=self._variables | variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._log.parent,
            )
        self._groups.append(self._process.pid)
        return self._process

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
