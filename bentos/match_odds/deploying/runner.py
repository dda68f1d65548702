"""A built Bento as a running process: start it, wait until it is ready, ask it what is known, stop it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType

import psutil

from bentos.match_odds.client import MatchOddsClient
from bentos.match_odds.deploying.build import champions_folder
from bentos.match_odds.deploying.child import bentoml_home, child_environment, serve_command
from bentos.match_odds.front.tls import TlsFiles
from bentos.match_odds.model.known_answers import KnownAnswer, check_answers, load_known_answers
from betting_assets.embedded.ports import HOST, free_port, is_free
from betting_assets.embedded.service_log import ServiceLog

GIVEN_UP = ("Application startup failed", "address already in use")
"""What the log says when there is no use in waiting: BentoML itself would start the process again and again."""

DRAIN_SECONDS = 10
"""How long requests that are being answered may take after SIGTERM; watches, which never end, are cut then."""

STOP_SECONDS = 25.0
KEPT_LOGS, KEPT_SECONDS = 12, 86_400.0
"""Of the logs named by a port, one for every trial: the newest ones, and those of the last day."""

FAULT = re.compile(r"[A-Za-z_][\w.]*(Error|Exception): .+")
TAIL = 15
"""Lines."""


class StartError(RuntimeError):
    """The Bento did not become ready. The first line of the message says why; the last lines of its log follow."""


class RunningBento:
    """`bentoml serve` of one tag, in a session of its own.

    Args:
        port: of HTTP.
        home: the state folder; the log goes to home/logs/bento-<name>.log.
        database_url: PostgreSQL with the online store and the prediction log; None serves explicit features only.
        grpc_port: None chooses a free one.
        workers: processes that answer, on both ports.
        follow: serve whatever deployment is current, as long as it has this Bento's code, instead of its own models.
        tls, api_keys: None for none, whatever the settings of this process: a Bento on trial is asked by nobody else.
        name: of its log and its BentoML home; the port where it is None.
    """

    def __init__(
        self,
        tag: str,
        port: int,
        home: Path,
        database_url: str | None = None,
        *,
        grpc_port: int | None = None,
        workers: int = 1,
        follow: bool = False,
        host: str = HOST,
        tls: TlsFiles | None = None,
        api_keys: Path | None = None,
        name: str | None = None,
    ) -> None:
        self.tag = tag
        self.port = port
        self.grpc_port = grpc_port if grpc_port is not None else free_port()
        self.workers = workers
        self.name = name if name is not None else str(port)
        # Whoever listens on every address is asked on loopback.
        self._asked_at = HOST if host == "0.0.0.0" else host
        self.url = f"{'https' if tls else 'http'}://{self._asked_at}:{port}"
        self.grpc_url = f"{'grpcs' if tls else 'grpc'}://{self._asked_at}:{self.grpc_port}"
        self.log = home / "logs" / f"bento-{self.name}.log"
        self._service_log = ServiceLog(self.log)
        self._home, self._database_url, self._follow, self._host = home, database_url, follow, host
        self._tls, self._api_keys = tls, api_keys
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The supervising process, None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def worker_pids(self) -> list[int]:
        """The processes that answer, or start to."""
        try:
            return [child.pid for child in psutil.Process(self.pid).children()] if self.pid is not None else []
        except psutil.NoSuchProcess:
            return []

    def start(self, seconds: float = 120.0, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Start and wait until ready: until the first of its workers is.

        Args:
            meanwhile: called several times a second during the wait.

        Raises:
            StartError: it ended, gave up, or was not ready in time. Nothing is left running.
        """
        if not is_free(self.grpc_port):  # its workers share the port, and would share it with a stranger of this user
            raise StartError(f"{self.tag} could not start: port {self.grpc_port} for gRPC is taken")
        self._service_log.begin()
        _prune_logs(self.log.parent)
        command = serve_command(self.tag, "--host", self._host, "--port", str(self.port), *self._flags())
        with self._service_log.open() as log:
            self._process = subprocess.Popen(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(time.monotonic() + seconds, meanwhile)
        except BaseException:
            self.stop(2.0)
            raise

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """SIGTERM, which lets requests and the prediction log finish; after `seconds` SIGKILL for what is left."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        end_leftovers(self._home, self.name)
        process.wait()
        shutil.rmtree(_own_home(self._home, self.name), ignore_errors=True)  # links inside are removed, not followed

    def bound_log(self) -> None:
        """Keep the log from growing without end; for whoever keeps the Bento running for long."""
        self._service_log.bound()

    def ready(self) -> bool:
        """Whether it is up and warm; asks one of its workers."""
        return _answers(self._asked_at, self.port, tls=self._tls is not None)

    def ask_known(self, known: Sequence[KnownAnswer] | None = None) -> int:
        """Ask for every known answer, by default those inside the Bento; returns how many there were.

        Only for a Bento without TLS and API keys.

        Raises:
            WrongAnswerError: names the first row that is answered otherwise.
        """
        known = load_known_answers(champions_folder(self.tag, self._home)) if known is None else known
        with MatchOddsClient(self.url) as client:
            for market, group in groupby(sorted(known, key=lambda answer: answer.market), lambda answer: answer.market):
                expected = list(group)
                answer = client.score(market, [one.features for one in expected])
                check_answers(expected, answer.model_dump()["predictions"])
        return len(known)

    def __enter__(self) -> RunningBento:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _flags(self) -> list[str]:
        flags = ["--timeout-graceful-shutdown", str(DRAIN_SECONDS)]
        if self._tls is not None:
            flags += ["--ssl-certfile", str(self._tls.certificate), "--ssl-keyfile", str(self._tls.key)]
        return flags

    def _environment(self) -> dict[str, str]:
        own = {
            "BENTOML_HOME": str(self._make_own_home()),
            "BETTING_SERVING_HOST": self._host,
            "BETTING_SERVING_PORT": str(self.port),
            "BETTING_GRPC_PORT": str(self.grpc_port),
            "BETTING_SERVING_WORKERS": str(self.workers),
            "BETTING_FOLLOW": str(self._follow).lower(),
        }
        optional = {
            "BETTING_DATABASE_URL": self._database_url,
            "BETTING_TLS_CERTIFICATE": self._tls.certificate if self._tls else None,
            "BETTING_TLS_KEY": self._tls.key if self._tls else None,
            "BETTING_API_KEYS_FILE": self._api_keys,
        }
        given = child_environment(self._home, **own)
        others = {key: value for key, value in given.items() if key not in optional}
        return others | {key: str(value) for key, value in optional.items() if value is not None}

    def _make_own_home(self) -> Path:
        folder = _own_home(self._home, self.name)
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (folder / "bentos").symlink_to(bentoml_home(self._home) / "bentos", target_is_directory=True)
        return folder

    def _wait_until_ready(self, deadline: float, meanwhile: Callable[[], None]) -> None:
        assert self._process is not None
        while True:
            text = self.log.read_text(errors="replace")
            if self._process.poll() is not None:
                raise self._failure(f"ended with code {self._process.returncode}", text)
            if any(sign in text for sign in GIVEN_UP):
                raise self._failure("could not start", text)
            if self.ready():
                return
            if time.monotonic() > deadline:
                raise self._failure("was not ready in time", text)
            meanwhile()
            time.sleep(0.1)

    def _failure(self, what: str, text: str) -> StartError:
        tail = _readable(text)[-TAIL:]
        fault = next((f": {line}" for line in reversed(tail) if FAULT.match(line)), "")
        return StartError("\n".join([f"{self.tag} {what}{fault}; {self.log} ends:", *tail]))


def end_leftovers(home: Path, name: str) -> None:
    """SIGKILL for every process of a Bento that was started as `name` from this state folder, and wait for its end.

    Each of BentoML's workers leads a session of its own and outlives its supervisor, so neither a process group nor a
    parent finds them all; the BentoML home in their environment does.
    """
    mark = str(_own_home(home, name))
    left = [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("BENTOML_HOME") == mark
    ]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5.0)


def _own_home(home: Path, name: str) -> Path:
    """A BentoML home for one service, which shares the store of Bentos with all others.

    BentoML wipes the metrics folder in its home at every start, also when another service writes there.
    """
    return home.resolve() / "serving" / name


def _prune_logs(folder: Path) -> None:
    of_trials = sorted(folder.glob("bento-[0-9]*.log*"), key=os.path.getmtime, reverse=True)
    for old in of_trials[KEPT_LOGS:]:
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            old.unlink(missing_ok=True)


def _readable(text: str) -> list[str]:
    """The last lines of a log, those of workers (JSON) taken apart."""
    found = []
    for line in text.splitlines()[-TAIL:]:
        try:
            entry = json.loads(line)
            found += str(entry.get("traceback") or entry["message"]).splitlines()
        except (ValueError, TypeError, LookupError, AttributeError):  # BentoML's own lines are plain text
            found.append(line)
    return [line for line in found if line.strip()]


def _answers(host: str, port: int, *, tls: bool) -> bool:
    """Whether /readyz says yes. The certificate is not checked: it names the public address, and this is not it."""
    connection = (
        http.client.HTTPSConnection(host, port, timeout=2.0, context=ssl._create_unverified_context())
        if tls
        else http.client.HTTPConnection(host, port, timeout=2.0)
    )
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
