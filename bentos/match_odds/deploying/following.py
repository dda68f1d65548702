"""The part of a worker that follows the one pointer, serving.deployment: loads aside, proves, swaps, and says so.

Only models are swapped here. A deployment of other code is not followed: who runs this process replaces it then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import psycopg

from bentos.match_odds.deploying.database_thread import DatabaseThread
from bentos.match_odds.model.known_answers import KnownAnswer, WrongAnswerError, check_served
from bentos.match_odds.model.served import Served
from betting_assets.warehouse import deployments, workers
from betting_assets.warehouse.deployments import CHANNEL, Deployment, Pointer
from betting_assets.warehouse.workers import Worker

Load = Callable[[str, int | None], Served]
"""The models of a Bento, by its tag, for a deployment (None: as this process's own)."""

POLL, BEAT, SLICE = 1.0, 2.0, 0.25
"""Seconds: between looks at the pointer, between signs of life, and until a stop is noticed."""

LONGEST_REASON = 500
logger = logging.getLogger(__name__)


class ModelFollower:
    """Serves the models of whatever deployment is current; where there is none, or no database, those that it has.

    A model that cannot be loaded, or that answers otherwise than its deployment says, is refused: what was served
    before serves on, and it is not tried again before the pointer has moved.

    Two threads, so that a worker which loads for long is not taken for dead.

    Args:
        worker: name of this process, host:pid.
        bento_tag: the process's own Bento, whose models it serves at first.
        code: digest of its code.
        load: reads and warms up models; called in the follower's thread.
        swap: makes them the served ones, in one step; called in the follower's thread.
    """

    def __init__(
        self,
        url: str,
        worker: str,
        bento_tag: str,
        code: str,
        load: Load,
        swap: Callable[[Served], None],
        poll: float = POLL,
        beat: float = BEAT,
    ) -> None:
        self._load, self._swap = load, swap
        self._poll, self._beat = poll, beat
        self._state = Worker(worker, bento_tag, code)
        self._done: Pointer | None = None
        self._looked, self._news = threading.Event(), threading.Event()
        self._entered = False
        self._following = DatabaseThread(url, "betting model follower", self._follow_pointer, self._looked.set)
        self._telling = DatabaseThread(url, "betting worker heartbeat", self._tell)

    @property
    def state(self) -> Worker:
        """What this worker says of itself, without the times."""
        return self._state

    def start(self) -> None:
        """Look at the pointer once, and serve what it names; then, or if that is impossible now, go on beside."""
        self._following.start()
        self._looked.wait()
        self._telling.start()

    def stop(self, seconds: float = 2.0) -> None:
        """Follow no more, and take this worker out of the table; each is given up after so many seconds."""
        self._following.stopping.set()
        self._following.join(seconds)
        self._telling.stopping.set()
        self._news.set()
        self._telling.join(seconds)

    def _follow_pointer(self, conn: psycopg.Connection) -> None:
        """First this worker's name, then the pointer: who moves the pointer, and reads the names then, misses nobody
        that could still serve what was current before."""
        conn.execute(f"LISTEN {CHANNEL}")
        if not self._entered:
            workers.forget(conn, self._state.worker)
            workers.prune(conn)
            self._entered = True
        workers.report(conn, self._state)
        while not self._following.stopping.is_set():
            self._look(conn)
            self._looked.set()
            self._wait(conn)

    def _wait(self, conn: psycopg.Connection) -> None:
        """Until somebody says that the pointer moved, or it is time to look anyway."""
        deadline = time.monotonic() + self._poll
        while not self._following.stopping.is_set() and (left := deadline - time.monotonic()) > 0:
            if list(conn.notifies(timeout=min(left, SLICE), stop_after=1)):
                return

    def _look(self, conn: psycopg.Connection) -> None:
        """Serve what the pointer names; once for every position of the pointer."""
        pointer = deployments.pointer(conn)
        served = self._state.deployment_id
        if pointer is not None and (pointer == self._done or pointer.code != self._state.code):
            return
        if served == (pointer.id if pointer else None):
            self._say(served)
        elif pointer is None:
            self._take(self._state.bento_tag, None)
        elif not self._follow(conn, pointer):
            return
        self._done = pointer

    def _follow(self, conn: psycopg.Connection, pointer: Pointer) -> bool:
        """Load, prove and swap, or refuse; False: the pointer has moved on meanwhile."""
        deployment = deployments.find(conn, pointer.id)
        if deployment is None:
            return False
        try:
            served = self._load(deployment.bento_tag, deployment.id)
            prove(served, deployment)
        except Exception as error:  # noqa: BLE001 whatever a model does, what is served stays; the table has the reason
            self._refuse(deployment, error)
            return True
        if deployments.pointer(conn) != pointer:
            return False
        self._swap(served)
        self._say(deployment.id)
        logger.info("serves deployment %d, %s", deployment.id, deployment.bento_tag)
        return True

    def _take(self, bento_tag: str, deployment: int | None) -> None:
        self._swap(self._load(bento_tag, deployment))
        self._say(deployment)

    def _refuse(self, deployment: Deployment, error: Exception) -> None:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_REASON]
        logger.error("refused deployment %d, %s: %s", deployment.id, deployment.bento_tag, reason)
        self._say(self._state.deployment_id, deployment.id, reason)

    def _say(self, served: int | None, refused: int | None = None, reason: str | None = None) -> None:
        state = replace(self._state, deployment_id=served, refused_id=refused, reason=reason)
        if state != self._state:
            self._state = state
            self._news.set()

    def _tell(self, conn: psycopg.Connection) -> None:
        """Keep this worker's row true and fresh; take it away at the end."""
        while not self._telling.stopping.is_set():
            self._news.clear()
            workers.report(conn, self._state)
            self._news.wait(self._beat)
        workers.forget(conn, self._state.worker)


def prove(served: Served, deployment: Deployment) -> None:
    """See that these are the models of `deployment`: versions as the table says, and every known answer.

    Raises:
        WrongAnswerError: they are not; the message says where they differ.
    """
    versions = {market: champion.version for market, champion in served.champions.items()}
    if versions != deployment.market_versions:
        raise WrongAnswerError(f"{served.bento} holds {versions}, its deployment says {deployment.market_versions}")
    check_served(served, [KnownAnswer.model_validate(answer) for answer in deployment.known_answers])
