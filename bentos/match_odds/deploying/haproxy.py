"""HAProxy as a child process: it owns the public ports, and its runtime API lets a Bento in or drains it.

Everything about its behaviour is in deploy/haproxy/haproxy.cfg; this file gives it ports and speaks to its socket.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bentos.match_odds.deploying.runner import StartError, end_leftovers
from bentos.match_odds.front.tls import TlsFiles
from betting_assets.embedded.process_tree import MARK
from betting_assets.embedded.service_log import ServiceLog
from betting_assets.settings import PROJECT_ROOT

CONFIG = PROJECT_ROOT / "deploy" / "haproxy" / "haproxy.cfg"
BACKENDS = ("http_out", "grpc_out")
NAME = "haproxy"
START_SECONDS = 10.0
STOP_SECONDS = 5.0
LONGEST_SOCKET_PATH = 90
"""HAProxy binds a temporary name that is a little longer; the system allows 107."""


class HAProxyError(StartError):
    """HAProxy cannot be started or does not obey; the message is one line with what it said."""


@dataclass(frozen=True)
class Slot:
    """A place for one Bento behind the proxy, on this machine."""

    name: str
    port: int
    grpc_port: int


class HAProxy:
    """One HAProxy before the slots `blue` and `green`.

    Args:
        home: the state folder; the log goes to home/logs/haproxy.log, the socket to home/run.
        tls: for the public ports; the slots are asked without.
    """

    def __init__(
        self, home: Path, host: str, port: int, grpc_port: int, slots: Sequence[Slot], tls: TlsFiles | None = None
    ) -> None:
        self.log = ServiceLog(home / "logs" / "haproxy.log")
        self._home, self._tls = home, tls
        self._run = home.resolve() / "run"
        self._socket = self._run / "haproxy.sock"
        self._public = {
            "BETTING_SERVING_HOST": host,
            "BETTING_SERVING_PORT": str(port),
            "BETTING_GRPC_PORT": str(grpc_port),
        }
        self._slots = tuple(slots)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, let_in: str | None = None) -> None:
        """Start, with the slot `let_in` taking requests, or none.

        Raises:
            HAProxyError: it is not installed, or did not start.
        """
        program = find_haproxy()
        if len(str(self._socket)) > LONGEST_SOCKET_PATH:
            raise HAProxyError(f"{self._socket} is too long for the name of a socket: choose a shorter BETTING_HOME")
        end_leftovers(self._home, NAME)
        self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        self.log.begin()
        with self.log.open() as log:
            self._process = subprocess.Popen(
                [program, "-db", "-f", str(CONFIG)],
                env=self._environment(let_in),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._speaks():
            if self.pid is None or time.monotonic() > deadline:
                self.stop()
                raise HAProxyError(f"HAProxy did not start: {self.log.gist()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Take no more connections, let requests end for a moment, and end."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGUSR1)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._pem().unlink(missing_ok=True)

    def let_in(self, slot: str, seconds: float = 10.0) -> None:
        """Send requests to this slot too; returns when its health checks agree.

        Raises:
            HAProxyError: they do not in time.
        """
        self._set_state(slot, "ready")
        deadline = time.monotonic() + seconds
        while not all(row["status"].startswith("UP") for row in self._rows(slot)):
            if time.monotonic() > deadline:
                raise HAProxyError(f"HAProxy finds {slot} not ready")
            time.sleep(0.05)

    def drain(self, slot: str) -> None:
        """Send no new request to this slot; those that it answers, and streams, go on."""
        self._set_state(slot, "drain")

    def shut_out(self, slot: str) -> None:
        """Send nothing, and look no more after its health."""
        self._set_state(slot, "maint")

    def sessions(self, slot: str) -> int:
        """Requests and streams that this slot answers at this moment."""
        return sum(int(row["scur"]) for row in self._rows(slot))

    def ask(self, command: str) -> str:
        """What the runtime API says to one command."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
            talk.settimeout(5.0)
            try:
                talk.connect(str(self._socket))
                talk.sendall(f"{command}\n".encode())
                return b"".join(iter(lambda: talk.recv(65536), b"")).decode()
            except OSError as error:
                raise HAProxyError(f"HAProxy does not answer at {self._socket}: {error}") from error

    def _speaks(self) -> bool:
        try:
            return bool(self.ask("show info"))
        except HAProxyError:
            return False

    def _set_state(self, slot: str, state: str) -> None:
        for backend in BACKENDS:
            if said := self.ask(f"set server {backend}/{slot} state {state}").strip():
                raise HAProxyError(f"HAProxy refuses the state {state} for {backend}/{slot}: {said}")

    def _rows(self, slot: str) -> list[dict[str, str]]:
        rows = csv.DictReader(self.ask("show stat").removeprefix("# ").splitlines())
        return [row for row in rows if row["svname"] == slot and row["pxname"] in BACKENDS]

    def _environment(self, let_in: str | None) -> dict[str, str]:
        """Nothing of ours but what the configuration names: no database password in its environment."""
        variables = {key: os.environ[key] for key in ("PATH", "LANG", "TZ") if key in os.environ}
        # As for a Bento: the mark by which `end_leftovers` finds it, and the one of the state folder.
        variables |= {key: value for key, value in os.environ.items() if key == MARK}
        variables |= {
            "BENTOML_HOME": str(self._home.resolve() / "serving" / NAME),
            "BETTING_HOME": str(self._home.resolve()),
        }
        variables |= self._public | {"PROXY_SOCKET": str(self._socket)}
        for slot in self._slots:
            name = slot.name.upper()
            variables |= {f"{name}_HTTP_PORT": str(slot.port), f"{name}_GRPC_PORT": str(slot.grpc_port)}
            variables[f"{name}_STATE"] = "enabled" if slot.name == let_in else "disabled"
        if self._tls is not None:
            variables["PROXY_PEM"] = str(self._write_pem(self._tls))
        return variables

    def _pem(self) -> Path:
        return self._run / "haproxy.pem"

    def _write_pem(self, tls: TlsFiles) -> Path:
        """Chain and key in one file, as HAProxy wants them, readable by its owner only."""
        self._pem().unlink(missing_ok=True)
        with os.fdopen(os.open(self._pem(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(tls.certificate.read_bytes().rstrip() + b"\n" + tls.key.read_bytes())
        return self._pem()


def find_haproxy() -> str:
    """Where the program is.

    Raises:
        HAProxyError: it is not installed.
    """
    found = shutil.which(NAME, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    if found is None:
        raise HAProxyError("BETTING_PROXY needs HAProxy 2.6 or newer: `apt-get install haproxy`")
    return found
