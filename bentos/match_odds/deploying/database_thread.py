"""A thread with a connection of its own that comes back after every outage; serving never waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import psycopg

from betting_assets.warehouse.database import UTC_OPTION, plain

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0
logger = logging.getLogger(__name__)


class DatabaseThread:
    """Calls `work` with an open connection, again and again until stopped: it should return only then.

    Where the database is away the pauses grow to `LONGEST_PAUSE`; an outage is told once, and so is its end.

    Args:
        work: asks `stopping` whether to return.
        tried: called after every attempt that failed.
    """

    def __init__(
        self,
        url: str,
        name: str,
        work: Callable[[psycopg.Connection], None],
        tried: Callable[[], None] = lambda: None,
    ) -> None:
        self.stopping = threading.Event()
        self._url = url
        self._name = name
        self._work = work
        self._tried = tried
        self._away = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the end of a thread that was told to stop, if it was ever started."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                with _open(self._url, self._name) as conn:
                    self._back()
                    self._work(conn)
            except psycopg.Error as error:
                self._tell(" ".join(str(error).split()))
            except Exception:
                logger.exception("%s: failed, and tries again", self._name)
            self._tried()
            lasted = time.monotonic() - began > LONGEST_PAUSE
            pause = FIRST_PAUSE if lasted else min(2 * pause, LONGEST_PAUSE)
            self.stopping.wait(pause)

    def _tell(self, reason: str) -> None:
        if not self._away:
            logger.warning("%s: the database cannot be used, what is served stays: %s", self._name, reason)
        self._away = True

    def _back(self) -> None:
        if self._away:
            logger.info("%s: the database is back", self._name)
        self._away = False


def _open(url: str, name: str) -> psycopg.Connection:
    """A connection that notices within seconds when the other side is gone without a word."""
    return psycopg.connect(
        plain(url),
        autocommit=True,
        options=f"{UTC_OPTION} -cstatement_timeout=10s",
        connect_timeout=3,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        application_name=name,
    )
