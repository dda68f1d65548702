"""One platform per state folder: the lock that a start takes, and the file by which others learn who holds it."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TextIO

import psutil

from betting_assets.embedded.ports import check_ports
from betting_assets.embedded.process_tree import end_leftovers, same_process

log = logging.getLogger(__name__)

LOCK = "platform.lock"


class PlatformLockError(RuntimeError):
    """This state folder cannot be had; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Holder:
    """Who runs the platform. `created`: when that process began, in seconds since 1970; `since`: ISO 8601, UTC."""

    pid: int
    created: float
    since: str
    ports: dict[str, int]


class PlatformLock:
    """Holds the state folder and the ports for one platform, as a context manager.

    Entering ends what a killed platform left of this folder, so its ports are free again, and then checks `ports`. The
    operating system frees the lock when its holder dies, however it dies.

    Args:
        state: the state folder, made if needed.
        ports: by the name in their setting, see `check_ports`.

    Raises, on entering:
        PlatformLockError: the platform runs already, or the folder belongs to another user.
        PortsError: a port is busy.
    """

    def __init__(self, state: Path, ports: Mapping[str, int]) -> None:
        self._state = state
        self._ports = dict(ports)
        self._file: TextIO | None = None

    def __enter__(self) -> PlatformLock:
        self._file = _lock(self._state)
        try:
            self._take_over(self._file)
            check_ports(self._ports)
            self._sign(self._file)
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _take_over(self, file: TextIO) -> None:
        before = _parse(file.read())
        ended = end_leftovers(self._state)
        if before is not None or ended:
            who = f"pid {before.pid}, since {before.since}" if before is not None else "pid unknown"
            log.warning("the last platform (%s) did not stop properly: taking over, %d leftovers ended", who, ended)

    def _sign(self, file: TextIO) -> None:
        created = psutil.Process().create_time()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        _write(file, json.dumps(asdict(Holder(os.getpid(), created, since, self._ports))))

    def _release(self) -> None:
        """Empty the file and unlock it. It stays: removing it would split the lock."""
        if self._file is not None:
            _write(self._file, "")
            self._file.close()
            self._file = None


def holder(state: Path) -> Holder | None:
    """The living platform of this state folder, None when there is none."""
    try:
        found = _parse((state / LOCK).read_text())
    except FileNotFoundError:
        return None
    return found if found is not None and same_process(found.pid, found.created) is not None else None


def _lock(state: Path) -> TextIO:
    try:
        state.mkdir(parents=True, exist_ok=True)
        file = (state / LOCK).open("a+")
    except PermissionError as error:
        raise PlatformLockError(
            f"{error.filename} belongs to another user: run as that user, or set BETTING_HOME to a folder of your own"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise PlatformLockError(_refusal(state)) from error
    file.seek(0)
    return file


def _refusal(state: Path) -> str:
    found = holder(state)
    if found is None:  # it holds the lock, but has not signed yet, or no more
        return f"the platform of {state} just starts or stops: try again in a moment"
    return (
        f"the platform already runs, pid {found.pid}, since {found.since}: "
        f"stop it with Ctrl-C there or `kill {found.pid}`"
    )


def _parse(text: str) -> Holder | None:
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):  # empty after a proper stop; cut off by a crash of the machine
        return None


def _write(file: TextIO, text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()
