"""A built Bento as a running process: start it, wait until it is ready, ask it what is known, stop it."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType

import psutil

from bentos.match_odds.build import champions_folder
from bentos.match_odds.child import bentoml_command, bentoml_home, child_environment
from bentos.match_odds.client import MatchOddsClient
from bentos.match_odds.known_answers import KnownAnswer, check_answers, load_known_answers

HOST = "127.0.0.1"
GIVEN_UP = ("Application startup failed", "address already in use")
"""What the log says when there is no use in waiting: BentoML itself would start the process again and again."""


class StartError(RuntimeError):
    """The Bento did not become ready; the message holds the last lines of its log."""


class RunningBento:
    """`bentoml serve` of one tag: one worker, loopback only, in a session of its own.

    Args:
        home: the state folder; the log goes to home/logs/bento-<port>.log.
        database_url: PostgreSQL with the online store and the prediction log; None serves explicit features only.
    """

    def __init__(self, tag: str, port: int, home: Path, database_url: str | None = None) -> None:
        self.tag = tag
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self.log = home / "logs" / f"bento-{port}.log"
        self._home = home
        self._database_url = database_url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The supervising process, None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, seconds: float = 120.0) -> None:
        """Start and wait until ready.

        Raises:
            StartError: it ended, gave up, or was not ready in time. Nothing is left running.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = bentoml_command("serve", self.tag, "--host", HOST, "--port", str(self.port))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(time.monotonic() + seconds)
        except BaseException:
            self.stop(2.0)
            raise

    def stop(self, seconds: float = 15.0) -> None:
        """SIGTERM, which lets requests and the prediction log finish; after `seconds` SIGKILL for what is left."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        end_leftovers(self._home, self.port)
        process.wait()

    def ask_known(self, known: Sequence[KnownAnswer] | None = None) -> int:
        """Ask for every known answer, by default those inside the Bento; returns how many there were.

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

    def _environment(self) -> dict[str, str]:
        database = {"BETTING_DATABASE_URL": self._database_url} if self._database_url else {}
        environment = child_environment(self._home, BENTOML_HOME=str(self._make_own_home()), **database)
        if not database:
            environment.pop("BETTING_DATABASE_URL", None)
        return environment

    def _make_own_home(self) -> Path:
        folder = _own_home(self._home, self.port)
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (folder / "bentos").symlink_to(bentoml_home(self._home) / "bentos", target_is_directory=True)
        return folder

    def _wait_until_ready(self, deadline: float) -> None:
        assert self._process is not None
        with MatchOddsClient(self.url, timeout=2.0) as client:
            while True:
                text = self.log.read_text(errors="replace")
                if self._process.poll() is not None:
                    raise self._failure(f"ended with code {self._process.returncode}", text)
                if any(sign in text for sign in GIVEN_UP):
                    raise self._failure("could not start", text)
                if client.ready():
                    return
                if time.monotonic() > deadline:
                    raise self._failure("was not ready in time", text)
                time.sleep(0.1)

    def _failure(self, what: str, text: str) -> StartError:
        tail = "\n".join(text.strip().splitlines()[-15:])
        return StartError(f"{self.tag} {what}; {self.log} says:\n{tail}")


def end_leftovers(home: Path, port: int) -> None:
    """SIGKILL for every process of a Bento that was started on `port` from this state folder, and wait for its end.

    Each of BentoML's workers leads a session of its own and outlives its supervisor, so neither a process group nor a
    parent finds them all; the BentoML home in their environment does.
    """
    mark = str(_own_home(home, port))
    left = [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("BENTOML_HOME") == mark
    ]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5.0)


def _own_home(home: Path, port: int) -> Path:
    """A BentoML home for one port, which shares the store of Bentos with all others.

    BentoML wipes the metrics folder in its home at every start, also when another service writes there.
    """
    return home.resolve() / "serving" / str(port)
