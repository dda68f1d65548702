"""`betting stream land`: keeps landing, whatever goes away and comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
from kafka.errors import KafkaError

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import BrokerError, servers
from betting_assets.streaming.landing.session import ChangedError, Session, Tally
from betting_assets.streaming.landing.source import Source
from betting_assets.streaming.ownership import Heartbeat, Ownership, OwnershipLostError, connect_writing
from betting_assets.streaming.positions import LANDER, FencedError
from betting_assets.streaming.troubles import PATIENCE_SECONDS, Kind, Troubles
from betting_assets.warehouse.database import DatabaseError


class LandingError(RuntimeError):
    """Landing cannot go on; one line: what, where, how to mend it. Nothing is lost: Kafka has it."""


class Lander:
    """Lands the topics of the settings until it is told to stop.

    A broker or a database that is away is waited for. A database that refuses to be written to (full disk, read-only,
    no permission) is tried for `patience` seconds.

    Args:
        url: the database.
        tell: takes lines for people.
        worker: see Ownership.
    """

    def __init__(
        self,
        settings: Settings,
        url: str,
        tell: Callable[[str], None],
        worker: str | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._settings, self._url, self._worker, self._patience = settings, url, worker, patience
        self._troubles = Troubles(tell, "landing again")
        self.tally = Tally(self._troubles.works)

    def run(self, stop: threading.Event) -> None:
        """Land until `stop` is set; the batch under way is then finished and everything given up.

        Raises:
            LandingError: the database kept refusing.
            LogError: the broker's log is another one, or lacks messages.
        """
        while not stop.is_set():
            try:
                with Ownership(self._url, LANDER, self._worker) as ownership:
                    self._with(ownership, stop)
            except (OwnershipLostError, DatabaseError, psycopg.Error) as error:
                if line := self._troubles.met_database(error, self._url, self._patience):
                    raise LandingError(f"{line}: mend it, then start the lander again") from error
                stop.wait(self._troubles.pause())

    def _with(self, ownership: Ownership, stop: threading.Event) -> None:
        """Sessions, one after the other, under one ownership; a broker that is away does not end it."""
        while not stop.is_set():
            try:
                with (
                    connect_writing(self._url, LANDER) as conn,
                    Source(self._settings) as source,
                    Session(conn, source, ownership, self.tally) as session,
                ):
                    session.run(stop)
            except (ChangedError, FencedError) as error:
                self._troubles.met(Kind.AWAY, f"{error}; starting over")
            except (KafkaError, BrokerError) as error:
                self._troubles.met(Kind.AWAY, self._broker_line(error))
            if not stop.is_set():
                ownership.renew({}, Heartbeat(self.tally.done, 0, self._troubles.line))
                stop.wait(self._troubles.pause())

    def _broker_line(self, error: Exception) -> str:
        if isinstance(error, BrokerError):
            return f"{error}; waiting for it"
        return f"Kafka at {servers(self._settings)}: {error or type(error).__name__}; waiting for it"
