"""The follower as a process whose parent can be killed, and the service that it keeps."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bentos.match_odds.client import MatchOddsClient
from bentos.match_odds.contract import Models
from betting_assets.defs.resources import Platform
from betting_assets.instance import environment

PARENT = Path(__file__).with_name("follower_parent.py")


@dataclass(frozen=True)
class Serving:
    """`at_first`: what it served when it was ready."""

    parent: subprocess.Popen[bytes]
    client: MatchOddsClient
    at_first: Models
    home: Path


@contextmanager
def follower(platform: Platform) -> Iterator[Serving]:
    """A follower on the platform's database and port, ready; afterwards nothing of it is left."""
    home = platform.home.resolve()
    variables = {**os.environ, **environment(platform.settings, platform.url)}
    with (home / "logs" / "follower.log").open("wb") as log:
        parent = subprocess.Popen([sys.executable, str(PARENT)], env=variables, stdout=log, stderr=log)
    try:
        with MatchOddsClient(f"http://127.0.0.1:{platform.settings.serving_port}", timeout=30) as client:
            until(client.ready)
            yield Serving(parent, client, client.models(), home)
    finally:
        parent.kill()
        parent.wait()
        with contextlib.suppress(AssertionError):
            until(lambda: not processes_of(home), 30)
        for pid in processes_of(home):
            psutil.Process(pid).kill()


def processes_of(home: Path) -> list[int]:
    """Every other living process that works on this state folder, but for the database's own."""
    found = []
    for process in psutil.process_iter(["pid", "environ", "status"]):
        theirs = (process.info["environ"] or {}).get("BETTING_HOME") == str(home)
        if theirs and process.pid != os.getpid() and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.1)
