"""Keeps the platform's services running in the foreground and leaves no process behind.

Why not circus, which comes with BentoML (as kantoku 0.18.3) and was tried: it starts a program that crashes at once
again and again without end (29 times in 8 s; its limit counts failed forks only), `stop_children` lets a grandchild
live that ignores SIGTERM or has lost its parent, it knows neither readiness nor leftovers of a killed supervisor, it
stops all services at once, and whoever reaches its unauthenticated control socket may run commands as us.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import psutil

from betting_assets.embedded import process_tree
from betting_assets.embedded.service_log import MOST_BYTES, ServiceLog

log = logging.getLogger(__name__)

MOST_RESTARTS = 5
RESTART_WINDOW_SECONDS = 300.0
TICK_SECONDS = 0.2
READY_TIMEOUT_SECONDS = 1.0
ORPHAN_SECONDS = 3.0


class ServiceFailedError(RuntimeError):
    """A service failed for good; the message is one line: which, why, and where its log is."""


@dataclass(frozen=True)
class Service:
    """One program to keep running. Secrets belong into `environment`: `command` is visible to every user.

    Args:
        name: also that of its log file.
        environment: added to this process's own.
        ready_url: http URL that answers below 500 as soon as the service can be used.
        ready: the same for a service that does not speak http. Without either it counts as ready at once.
        start_seconds: how long that may take.
        stop_seconds: between SIGTERM and SIGKILL.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    ready_url: str | None = None
    start_seconds: float = 60.0
    stop_seconds: float = 15.0
    ready: Callable[[], bool] | None = None

    def is_ready(self) -> bool:
        """Whether it can be used, as far as anybody can tell."""
        if self.ready is not None:
            return self.ready()
        return self.ready_url is None or _answers(self.ready_url)


class Supervisor:
    """Runs services until a signal, or until one fails for good. Hold the PlatformLock of `state` meanwhile.

    A service that ends, whatever its exit code, is started again after `first_pause` seconds, then after twice that
    and so on; its sixth end within five minutes is for good, as is not becoming ready in time. The services start
    together and stop one by one in reverse order, so name first what others need.

    Args:
        state: the folder for logs/<name>.log and for the record of processes.
        on_ready: called once, when all services are ready; supervision waits until it returns.
    """

    def __init__(
        self,
        services: Sequence[Service],
        state: Path,
        on_ready: Callable[[], None] = lambda: None,
        *,
        first_pause: float = 1.0,
        log_bytes: int = MOST_BYTES,
    ) -> None:
        self._state = state.resolve()
        self._on_ready = on_ready
        self._record = process_tree.Record(self._state)
        logs = self._state / "logs"
        self._keepers = {
            one.name: _Keeper(one, self._state, ServiceLog(logs / f"{one.name}.log", log_bytes), first_pause)
            for one in services
        }
        if len(self._keepers) < len(services):
            raise ValueError("two services have the same name")

    def run(self) -> None:
        """Block until SIGINT, SIGTERM or SIGHUP; nothing is left running afterwards. A second signal stops at once.

        Raises:
            ServiceFailedError: names the service that failed for good.
        """
        with _stop_signals() as signals:
            try:
                for keeper in self._keepers.values():
                    keeper.log.begin()
                self._supervise(signals)
            finally:
                self._stop(signals)

    def _supervise(self, signals: _Signals) -> None:
        announced = False
        while not signals.count:
            changed = [keeper.look_after() for keeper in self._keepers.values()]
            if any(changed):
                self._write_record()
            if not announced and all(keeper.ready for keeper in self._keepers.values()):
                announced = True
                self._on_ready()
            time.sleep(TICK_SECONDS)

    def _stop(self, signals: _Signals) -> None:
        with contextlib.ExitStack() as stops:  # last in, first out; and all of them, even when one raises
            for keeper in self._keepers.values():
                stops.callback(keeper.stop, lambda: signals.count > 1)
        self._write_record()

    def _write_record(self) -> None:
        self._record.write({name: one.process for name, one in self._keepers.items() if one.process is not None})


class _Keeper:
    """One service: starts it, watches it, starts it again."""

    def __init__(self, service: Service, state: Path, service_log: ServiceLog, first_pause: float) -> None:
        self.log = service_log
        self.ready = False
        self._service = service
        self._state = state
        self._first_pause = first_pause
        self._child: subprocess.Popen[bytes] | None = None
        self._process: psutil.Process | None = None
        self._start_at = 0.0
        self._ready_by = 0.0
        self._ends: deque[float] = deque()

    @property
    def process(self) -> psutil.Process | None:
        """The living main process."""
        return self._process

    def look_after(self) -> bool:
        """Do what is due; returns whether the process is another one now.

        Raises:
            ServiceFailedError: it failed for good.
        """
        now = time.monotonic()
        if self._child is None:
            if now < self._start_at:
                return False
            self._start(now)
            return True
        self.log.bound()
        if (code := self._child.poll()) is not None:
            self._ended(code, now)
            return True
        if not self.ready:
            self._check_ready(now)
        return False

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """SIGTERM to the main process, which ends its own children properly; then whatever is left of all of them."""
        name, child, process = self._service.name, self._child, self._process
        if child is None or process is None:
            return
        log.info("stopping %s", name)
        found = process_tree.with_descendants([process]) | process_tree.marked(self._state, name)
        child.terminate()
        late = process_tree.wait([process], self._service.stop_seconds, hurry)
        if late:
            log.warning("%s did not stop in time: it is killed", name)
        left = process_tree.with_descendants(found) | process_tree.marked(self._state, name)
        process_tree.end(left, 0.0 if late else ORPHAN_SECONDS, hurry)
        child.poll()
        self._child = self._process = None

    def _start(self, now: float) -> None:
        own = {**os.environ, **self._service.environment, **process_tree.mark(self._state, self._service.name)}
        with self.log.open() as output:
            try:
                self._child = subprocess.Popen(
                    list(self._service.command),
                    env=own,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C in the terminal is for us; we stop the services in order
                )
            except OSError as error:
                raise ServiceFailedError(f"{self._service.name} cannot be started: {error}") from error
        self._process = psutil.Process(self._child.pid)
        self._ready_by = now + self._service.start_seconds
        self.ready = self._service.ready_url is None and self._service.ready is None

    def _check_ready(self, now: float) -> None:
        self.ready = self._service.is_ready()
        if self.ready:
            log.info("%s is ready", self._service.name)
        elif now > self._ready_by:
            where = f" at {self._service.ready_url}" if self._service.ready_url else ""
            raise self._failure(f"did not answer{where} within {self._service.start_seconds:g} s")

    def _ended(self, code: int, now: float) -> None:
        self.ready = False
        self.stop()  # its orphans may hold the port
        while self._ends and now - self._ends[0] > RESTART_WINDOW_SECONDS:
            self._ends.popleft()
        self._ends.append(now)
        if (ends := len(self._ends)) > MOST_RESTARTS:
            raise self._failure(f"{_how(code)}, {ends} times within {RESTART_WINDOW_SECONDS / 60:g} minutes")
        pause = self._first_pause * 2 ** (ends - 1)
        self._start_at = now + pause
        log.warning(
            "%s %s: restart %d of %d in %g s; its log: %s",
            *(self._service.name, _how(code), ends, MOST_RESTARTS, pause, self.log.path),
        )

    def _failure(self, what: str) -> ServiceFailedError:
        return ServiceFailedError(f"{self._service.name} {what}: {self.log.gist()}; the whole log: {self.log.path}")


class _Signals:
    """Counts the signals that ask us to stop."""

    def __init__(self) -> None:
        self.count = 0

    def receive(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


@contextlib.contextmanager
def _stop_signals() -> Iterator[_Signals]:
    """Take over SIGINT, SIGTERM and SIGHUP (a closed terminal), except those that nohup and the like turned off."""
    signals = _Signals()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, signals.receive)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _answers(url: str) -> bool:
    """Whether `url` answers below 500. Plain http, asked directly: a configured proxy does not reach our loopback."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=READY_TIMEOUT_SECONDS)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _how(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
