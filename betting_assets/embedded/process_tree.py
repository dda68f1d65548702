"""Finding and ending every process of a service, also those that lead a session of their own or have lost their parent.

Three nets, because each has a hole: children (lost when their parent dies first), a mark in the environment that every
child inherits (lost when a program clears it), and a record of pids with start times (knows the services only).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

log = logging.getLogger(__name__)

MARK = "BETTING_SUPERVISED"
RECORD = "processes.json"
KILL_SECONDS = 5.0
SAME_START_SECONDS = 2.0
"""Linux counts start times from a boot time that moves by a second when the clock is set; pids return far later."""


def mark(state: Path, name: str) -> dict[str, str]:
    """The variable by which every process of service `name` is known."""
    return {MARK: f"{state.resolve()}#{name}"}


def marked(state: Path, name: str | None = None) -> set[psutil.Process]:
    """Living processes of this state folder (of one service, given `name`), except this one and its ancestors."""
    folder = str(state.resolve())
    found = set()
    for process in psutil.process_iter():
        try:
            where, _, which = process.environ().get(MARK, "").rpartition("#")
        except (psutil.Error, OSError):  # gone, or somebody else's: not ours either way
            continue
        if where == folder and name in (None, which):
            found.add(process)
    return _living(found - _ourselves())


def with_descendants(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    """`processes`, those of them that live, and all that descends from them now."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {process, *process.children(recursive=True)}
    return found


def end(processes: Iterable[psutil.Process], seconds: float, hurry: Callable[[], bool] = lambda: False) -> None:
    """SIGTERM; SIGKILL for what lives after `seconds`, or as soon as `hurry()`. Never signals a pid used again."""
    living = _living(processes)
    for process in living:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    living = wait(living, seconds, hurry)
    for process in living:
        with contextlib.suppress(psutil.Error):
            process.kill()
    for process in wait(living, KILL_SECONDS):
        log.warning("pid %d does not end, not even by SIGKILL: end it by hand", process.pid)


def wait(
    processes: Iterable[psutil.Process], seconds: float, hurry: Callable[[], bool] = lambda: False
) -> set[psutil.Process]:
    """Wait for their end, `seconds` at most; returns those that still live."""
    deadline = time.monotonic() + seconds
    while (living := _living(processes)) and time.monotonic() < deadline and not hurry():
        time.sleep(0.02)
    return living


class Record:
    """The services' pids and start times in the state folder, for whoever starts after a killed supervisor."""

    def __init__(self, state: Path) -> None:
        self._path = state / RECORD

    def write(self, services: dict[str, psutil.Process]) -> None:
        """Replace the record; a service that has just ended is left out."""
        written = {}
        for name, process in services.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                written[name] = [process.pid, process.create_time()]
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(written))
        new.replace(self._path)

    def living(self) -> set[psutil.Process]:
        """The recorded processes that still run; a pid that another program got since is not among them."""
        try:
            services = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):  # never written, or cut off with the machine: nothing of it can live
            return set()
        found = (same_process(pid, created) for pid, created in services.values())
        return {process for process in found if process is not None}


def same_process(pid: int, created: float) -> psutil.Process | None:
    """The living process `pid` if it started at `created` (seconds since 1970), else None."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < SAME_START_SECONDS
    except psutil.Error:
        return None
    return process if same and _living([process]) else None


def end_leftovers(state: Path, seconds: float = 5.0) -> int:
    """End what a killed supervisor left of this state folder; returns how many processes that were.

    Only for whoever holds the platform's lock: a living platform would lose its services.
    """
    left = (with_descendants(Record(state).living()) | marked(state)) - _ourselves()
    end(left, seconds)
    Record(state).write({})
    return len(left)


def _living(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    """Without the ended. A zombie counts as ended: in a container nobody may ever reap it."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process)
    return found


def _ourselves() -> set[psutil.Process]:
    own = psutil.Process(os.getpid())
    return {own, *own.parents()}
