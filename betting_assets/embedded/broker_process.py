"""A Kafka broker as a process of this machine: started, found again, stopped, killed."""

from __future__ import annotations

import json
import logging
import secrets
import socket
import struct
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from betting_assets.embedded.file_lock import file_lock
from betting_assets.embedded.ports import HOST, is_free
from betting_assets.embedded.service_log import ServiceLog

log = logging.getLogger(__name__)

STOP_SECONDS = 30.0
_API_VERSIONS_REQUEST = struct.pack(">ihhih", 10, 18, 0, 1, -1)


class KafkaServerError(RuntimeError):
    """The broker cannot be started or stopped; one line: what, why, and what to do."""


class BrokerProcess(ABC):
    """A broker on loopback that keeps everything in `folder`, its port too.

    Args:
        port: 0: a free one, the same at every start.
    """

    name = "Kafka"
    start_seconds = 60.0

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder.resolve()
        self._given_port = port
        self._child: subprocess.Popen[bytes] | None = None
        self._log = ServiceLog(self.folder / "broker.log")

    @property
    def port(self) -> int:
        """As given, else as kept in the folder, else chosen now."""
        return self._given_port or kept_port(self.folder / "port")

    @property
    def servers(self) -> str:
        """host:port for clients."""
        return f"{HOST}:{self.port}"

    @property
    def log_file(self) -> Path:
        return self._log.path

    @property
    def pid(self) -> int | None:
        """Of the living broker of this folder, whoever started it."""
        process = self._living()
        return None if process is None else process.pid

    def start(self) -> str:
        """Start it unless it runs, wait until it answers; returns `servers`.

        Raises:
            KafkaServerError: it cannot be started.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with file_lock(self.folder / "starting"):
            if self._living() is None:
                self._start()
        return self.servers

    def stop(self) -> None:
        """Let it end properly; what it keeps stays in the folder. Nothing runs: nothing to do."""
        process = self._living()
        if process is None:
            return
        process.terminate()
        if not self._ended(process, STOP_SECONDS):
            log.warning("%s (pid %d) did not stop in time: it is killed", self.name, process.pid)
            self.kill()

    def kill(self) -> None:
        """SIGKILL; what it acknowledged stays in the folder."""
        process = self._living()
        if process is None:
            return
        process.kill()
        if not self._ended(process, STOP_SECONDS):
            raise KafkaServerError(f"{self.name} (pid {process.pid}) cannot be killed: look at its state with ps")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _command(self) -> list[str]:
        """What to run; called just before it is run, so it may prepare. Raises KafkaServerError."""

    def _start(self) -> None:
        if not is_free(self.port):
            raise KafkaServerError(taken(self.name, self.port))
        command = self._command()
        self._log.begin()
        with self._log.open() as output:
            # Its input is a pipe that nobody writes to: a broker may notice by it that we are gone.
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=self.folder, start_new_session=True
            )
        remember(self.folder, self._child.pid)
        deadline = time.monotonic() + self.start_seconds
        while not answers(self.port):
            if self._child.poll() is not None:
                raise KafkaServerError(f"{self.name} did not start: {self._log.gist()}; its log: {self._log.path}")
            if time.monotonic() > deadline:
                self.kill()
                raise KafkaServerError(
                    f"{self.name} did not answer within {self.start_seconds:g} s: {self._log.gist()}; "
                    f"its log: {self._log.path}"
                )
            time.sleep(0.05)

    def _living(self) -> psutil.Process | None:
        if self._child is not None:
            self._child.poll()
        return living(self.folder)

    def _ended(self, process: psutil.Process, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._living() == process:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


def taken(name: str, port: int) -> str:
    """One line for a port that somebody else listens on."""
    return f"{name}: port {port} on {HOST} is taken: stop what listens there, or choose another, BETTING_KAFKA_PORT"


def answers(port: int) -> bool:
    """Whether a broker on this port answers a request for its versions."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(_API_VERSIONS_REQUEST)
            return len(connection.recv(4, socket.MSG_WAITALL)) == 4
    except OSError:
        return False


def remember(folder: Path, pid: int) -> None:
    """Keep which process is the broker of a folder; with its start, as pids are used again."""
    new = folder / "pid.new"
    new.write_text(json.dumps([pid, psutil.Process(pid).create_time()]))
    new.replace(folder / "pid")


def living(folder: Path) -> psutil.Process | None:
    """The living broker of a folder.

    A zombie counts as ended, as in a container nobody may ever reap it; but not while it has other threads, which keep
    its port and its locks until they have ended too.
    """
    try:
        pid, started = json.loads((folder / "pid").read_text())
        process = psutil.Process(pid)
        if process.create_time() != started:
            return None
        dead = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None
    return None if dead else process


def kept_port(file: Path) -> int:
    """The port that `file` says; chosen at the first call, below those that systems give to outgoing connections."""
    try:
        return int(file.read_text())
    except FileNotFoundError:
        while not is_free(port := 20_000 + secrets.randbelow(10_000)):
            pass
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(port))
        return port


def python(module: str, *arguments: str) -> list[str]:
    """A command that runs a module of ours."""
    return [sys.executable, "-m", module, *arguments]
