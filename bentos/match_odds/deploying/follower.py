"""The process that keeps the service running: it follows the one pointer, serving.deployment, for its code.

`python -m bentos.match_odds.deploying.follower` serves on the configured ports. It looks every second: other models of
the code that runs are taken over by the workers themselves, other code is started anew. It ends with its parent, and
takes along what it started.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

import psycopg

from bentos.match_odds.deploying.fronts import Front, make_front
from bentos.match_odds.deploying.runner import StartError
from bentos.match_odds.front.api_keys import check_exposure
from betting_assets.settings import settings
from betting_assets.warehouse import deployments
from betting_assets.warehouse.database import DatabaseError, connect, resolve_url
from betting_assets.warehouse.deployments import Deployment, DeploymentError

POLL_SECONDS = 1.0
MOST_STARTS = 3
LONGEST_REASON = 500
LOCK = "betting follower"

log = logging.getLogger("follower")


class Follower:
    """Keeps a front serving the current deployment.

    Args:
        make_front: called when this is known to be the only follower; it ends what an earlier one has left running.
    """

    def __init__(self, url: str, make_front: Callable[[], Front]) -> None:
        self._url, self._make_front = url, make_front
        self._front: Front | None = None
        self._lock: psycopg.Connection | None = None
        self._parent = os.getppid()

    def run(self) -> None:
        """Follow until stopped by a signal, or until the parent is gone.

        Raises:
            StartError: nothing serves, and a start failed `MOST_STARTS` times in a row.
            RuntimeError: another follower is at work on this database.
        """
        failures = 0
        try:
            while os.getppid() == self._parent:
                try:
                    self._hold_lock()
                    self._front = front = self._front or self._make_front()
                    front.look_after()
                    self._follow(front)
                    failures = 0
                except StartError as error:
                    failures += 1
                    log.error("start %d of %d failed: %s", failures, MOST_STARTS, error)
                    if failures >= MOST_STARTS and (self._front is None or self._front.serves is None):
                        raise
                except (DatabaseError, psycopg.OperationalError) as error:
                    log.warning("the database cannot be reached, the Bento serves on: %s", error)
                time.sleep(POLL_SECONDS)
        finally:
            if self._front is not None:
                self._front.stop()
            if self._lock is not None:
                self._lock.close()

    def _hold_lock(self) -> None:
        """Be the only follower of this database; taken again after the database was restarted."""
        if self._lock is not None:
            try:
                self._lock.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                self._lock.close()
        self._lock = connect(self._url, autocommit=True)
        row = self._lock.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [LOCK]).fetchone()
        if row is None or not row[0]:
            raise RuntimeError("another follower already serves the deployments of this database: stop it first")

    def _follow(self, front: Front) -> None:
        """Make what runs what is current, unless its workers do that themselves."""
        assert self._lock is not None
        pointer = deployments.pointer(self._lock)
        running = front.serves
        if pointer is None or (running is not None and _same_code(running, pointer.bento_tag, pointer.code)):
            return
        current = deployments.find(self._lock, pointer.id)
        if current is None:
            return
        log.info("starting %s", current.bento_tag)
        try:
            front.serve(current)
        except StartError as error:
            if front.serves is None or not front.keeps_the_old:
                raise
            self._withdraw(current, error)
            return
        log.info("%s serves", current.bento_tag)

    def _withdraw(self, failed: Deployment, error: StartError) -> None:
        """The old one serves on: the pointer goes back to it, so that the table says what is true."""
        log.error("%s is refused, the old one serves on: %s", failed.bento_tag, error)
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        try:
            deployments.withdraw(self._url, failed.id, reason[:LONGEST_REASON])
        except DeploymentError as moved:
            log.warning("the pointer has moved meanwhile: %s", moved)


def _same_code(running: Deployment, bento_tag: str, code: str) -> bool:
    return running.bento_tag == bento_tag or (code != "" and running.code == code)


def is_followed(url: str) -> bool:
    """Whether a follower is at work on this database."""
    with connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [LOCK]).fetchone()
        return row is not None and not row[0]


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    config = settings()
    check_exposure(config)
    url = resolve_url(config)
    Follower(url, lambda: make_front(url, config.home, config)).run()


if __name__ == "__main__":
    main()
