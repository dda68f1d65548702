"""`betting stream score`: keeps scoring, whatever goes away and comes back."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from contextlib import ExitStack

import psycopg
from kafka.errors import KafkaError

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import BrokerError, servers
from betting_assets.streaming.ownership import IDLE_SECONDS, Heartbeat, Ownership, OwnershipLostError
from betting_assets.streaming.positions import SCORER, FencedError
from betting_assets.streaming.scoring.asking import open_asker
from betting_assets.streaming.scoring.feed import Feed
from betting_assets.streaming.scoring.keeper import Keeper
from betting_assets.streaming.scoring.session import ChangedError, Session, Tally
from betting_assets.streaming.scoring.strength import Strengths, strength_reader
from betting_assets.streaming.scoring.views import feature_names
from betting_assets.streaming.troubles import PATIENCE_SECONDS, Kind, Troubles, gist
from betting_assets.warehouse.database import DatabaseError, connect

VIEW = "match_market"


class ScoringError(RuntimeError):
    """Scoring cannot go on; one line: what, where, how to mend it. Nothing is lost: Kafka has it."""


class Scorer:
    """Scores the ticks of the settings' topic until it is told to stop.

    What is away is waited for, the feature store's definitions too: a new platform has none before its first
    features. A database that refuses (full disk, read-only, no such table) is tried for `patience`
    seconds.

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
        self._troubles = Troubles(tell, "scoring again")
        self.tally = Tally(self._met, self._works)

    def run(self, stop: threading.Event) -> None:
        """Score until `stop` is set; what is in hand is then finished, written down and everything given up.

        Raises:
            ScoringError: the database kept refusing.
            LogError: the broker's log is another one, or lacks messages.
        """
        while not stop.is_set():
            try:
                with Ownership(self._url, SCORER, self._worker) as ownership:
                    self._with(ownership, stop)
            except (OwnershipLostError, DatabaseError, psycopg.Error) as error:
                line = self._troubles.met_database(error, self._url, self._patience)
                self.tally.line = self._troubles.line
                if line:
                    raise ScoringError(f"{line}: mend it, then start the scorer again") from error
                stop.wait(self._troubles.pause())

    def _with(self, ownership: Ownership, stop: threading.Event) -> None:
        """Sessions, one after the other, under one ownership; a broker that is away does not end it."""
        from feature_repo.operations import NotAppliedError

        while not stop.is_set():
            try:
                self._session(ownership, stop)
            except (ChangedError, FencedError, TimeoutError) as error:
                self._met(f"{error}; starting over")
            except NotAppliedError as error:
                self._met(f"{gist(error)}; waiting for it")
            except (KafkaError, BrokerError) as error:
                self._met(f"Kafka at {servers(self._settings)}: {gist(error)}; waiting for it")
            if not stop.is_set():
                ownership.renew({}, Heartbeat(self.tally.ticks, 0, self._troubles.line))
                stop.wait(self._troubles.pause())

    def _session(self, ownership: Ownership, stop: threading.Event) -> None:
        from feature_repo.push_rows import RowPusher
        from feature_repo.store import feature_store

        clock = "data" if self._settings.replays else "wall"
        strengths = Strengths(strength_reader(self._url, clock))
        with ExitStack() as open_things:
            conn = open_things.enter_context(connect(self._url, autocommit=True))
            keeper_conn = open_things.enter_context(connect(self._url, autocommit=True))
            # A process that hangs within a checkpoint must not hold its positions from whoever took over.
            keeper_conn.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
            feed = open_things.enter_context(Feed(self._settings))
            asker = open_things.enter_context(open_asker(self._settings))
            pusher = RowPusher(feature_store(self._url, clock), VIEW, feature_names())  # type: ignore[arg-type]
            keeper = Keeper(keeper_conn, pusher.push, feed.flush, strengths.refresh)
            session = Session(self._settings, conn, keeper, feed, asker, strengths, ownership, self.tally)
            open_things.enter_context(session)
            _settle_garbage()
            session.run(stop)

    def _met(self, line: str) -> None:
        self._troubles.met(Kind.AWAY, line)
        self.tally.line = self._troubles.line

    def _works(self) -> None:
        self._troubles.works(1)
        self.tally.line = None


def _settle_garbage() -> None:
    """What was imported and opened is no garbage: looking through it took a tenth of a second, again and again."""
    gc.collect()
    gc.freeze()
