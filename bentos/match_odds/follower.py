"""The process that keeps the current deployment running: it follows the one pointer, serving.deployment.

`python -m bentos.match_odds.follower` serves on the configured port whatever deployment is current; it looks every
second, and starts the next one when the pointer moved. It ends with its parent, and takes the Bento along.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import psycopg

from bentos.match_odds.runner import RunningBento, StartError, end_leftovers
from betting_assets.settings import settings
from betting_assets.warehouse import deployments
from betting_assets.warehouse.database import DatabaseError, connect, resolve_url

POLL_SECONDS = 1.0
MOST_STARTS = 3
LOCK = "betting follower"

log = logging.getLogger("follower")


class Follower:
    """Runs the Bento of the current deployment on one port."""

    def __init__(self, url: str, home: Path, port: int) -> None:
        self._url, self._home, self._port = url, home, port
        self._bento: RunningBento | None = None
        self._lock: psycopg.Connection | None = None
        self._parent = os.getppid()

    def run(self) -> None:
        """Follow until stopped by a signal, or until the parent is gone.

        Raises:
            StartError: the current Bento could not be started `MOST_STARTS` times in a row.
            RuntimeError: another follower is at work on this database.
        """
        failures = 0
        end_leftovers(self._home, self._port)
        try:
            while os.getppid() == self._parent:
                try:
                    self._hold_lock()
                    self._follow()
                    failures = 0
                except StartError as error:
                    failures += 1
                    log.error("start %d of %d failed: %s", failures, MOST_STARTS, error)
                    if failures == MOST_STARTS:
                        raise
                except (DatabaseError, psycopg.OperationalError) as error:
                    log.warning("the database cannot be reached, the Bento serves on: %s", error)
                time.sleep(POLL_SECONDS)
        finally:
            self._stop()
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

    def _follow(self) -> None:
        """Make what runs what is current."""
        current = deployments.current(self._url)
        if current is None:
            return
        if self._bento is not None and self._bento.tag == current.bento_tag and self._bento.pid is not None:
            return
        self._stop()
        log.info("starting %s on port %d", current.bento_tag, self._port)
        bento = RunningBento(current.bento_tag, self._port, self._home, self._url)
        bento.start()
        self._bento = bento
        log.info("%s serves", current.bento_tag)

    def _stop(self) -> None:
        if self._bento is not None:
            self._bento.stop()
            self._bento = None


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
    Follower(resolve_url(config), config.home, config.serving_port).run()


if __name__ == "__main__":
    main()
