"""One go at scoring, from positions in PostgreSQL to the first thing that goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

import psycopg
from kafka import TopicPartition

from betting_assets.settings import Settings
from betting_assets.sources.records import Tick
from betting_assets.streaming import positions
from betting_assets.streaming.landing.faults import Fault
from betting_assets.streaming.landing.validation import Validator, latest_now
from betting_assets.streaming.messages import OddsTick
from betting_assets.streaming.ownership import RENEW_SECONDS, Heartbeat, Ownership
from betting_assets.streaming.positions import SCORER
from betting_assets.streaming.scoring.asking import Asker, ServiceAwayError
from betting_assets.streaming.scoring.books import At
from betting_assets.streaming.scoring.checkpoint import Move
from betting_assets.streaming.scoring.feed import Feed
from betting_assets.streaming.scoring.keeper import Keeper
from betting_assets.streaming.scoring.speaker import Speaker
from betting_assets.streaming.scoring.state import State
from betting_assets.streaming.scoring.strength import Strengths
from betting_assets.streaming.topic_logs import LogGapError, current_epoch

WAIT_MS, MOST = 100, 1_000
CHECKPOINT_SECONDS = 0.25
IDENTITY_SECONDS = 10.0
LAST_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0


class ChangedError(RuntimeError):
    """The topic is not the one that this session began with: begin another one."""


@dataclass
class Tally:
    """What a process has done since its start. `met` and `works` hear of troubles, and of their end."""

    met: Callable[[str], None]
    works: Callable[[], None]
    ticks: int = 0
    skipped: int = 0
    unmodelled: int = 0
    predictions: int = 0
    line: str | None = None


@dataclass
class _Reading:
    """Offsets by partition: the next to read, the next without a prediction, the next without a checkpoint."""

    epoch: int
    read: dict[TopicPartition, int] = field(default_factory=dict)
    spoken: dict[TopicPartition, int] = field(default_factory=dict)
    saved: dict[TopicPartition, int] = field(default_factory=dict)


class Session:
    """Reads what is owned and speaks for it; everything that could be read anew is lost with it.

    Use as a context manager. `conn` is for this thread, `keeper_conn` for the keeper's (both autocommit).
    """

    def __init__(
        self,
        settings: Settings,
        conn: psycopg.Connection,
        keeper: Keeper,
        feed: Feed,
        asker: Asker,
        strengths: Strengths,
        ownership: Ownership,
        tally: Tally,
    ) -> None:
        self._settings, self._conn, self._feed, self._keeper = settings, conn, feed, keeper
        self._ownership, self._tally = ownership, tally
        self._speaker = Speaker(settings, strengths, asker, keeper.put, keeper.refresh)
        self._validate = Validator(OddsTick)
        self._identity, self._identified = feed.identity(), time.monotonic()
        self._at = _Reading(current_epoch(conn, feed.log()))
        self._state = State(conn, by_data=settings.replays)
        self._renewed = self._kept = 0.0

    def run(self, stop: threading.Event) -> None:
        """Score until `stop` is set; what is in hand is then finished. Raises what its parts raise."""
        while not stop.is_set():
            self._renew_if_due()
            self._read(stop)
            self._speak(stop)
            self._keep_if_due()
        self._keep(LAST_SECONDS)

    def _read(self, stop: threading.Event) -> None:
        if not self._at.read:
            stop.wait(WAIT_MS / 1000)
            return
        found: list[tuple[Tick, At]] = []
        latest = latest_now()
        for partition, messages in self._feed.poll(WAIT_MS, MOST).items():
            for message in messages:
                valid = self._validate(message, latest)
                if isinstance(valid, Fault):
                    self._tally.skipped += 1  # the lander tells why
                    continue
                tick = valid[0]
                assert isinstance(tick, Tick)
                found.append((tick, At(self._at.epoch, partition.partition, message.offset)))
            self._at.read[partition] = messages[-1].offset + 1
            self._tally.ticks += len(messages)
        self._state.apply(found)
        self._tally.unmodelled, self._state.unmodelled = self._tally.unmodelled + self._state.unmodelled, 0

    def _speak(self, stop: threading.Event) -> None:
        """Say what is to be said, however long the Bento is away; meanwhile nothing more is read."""
        pause = FIRST_PAUSE
        while self._state.touched:
            try:
                predictions = self._speaker.speak(self._state)
            except ServiceAwayError as error:
                self._tally.met(str(error))
                if stop.wait(pause):
                    return
                pause = min(2 * pause, LONGEST_PAUSE)
                self._renew_if_due()
                continue
            for prediction in predictions:
                self._feed.publish(prediction)
            self._tally.predictions += len(predictions)
            self._state.touched = {}
            self._tally.works()
        self._at.spoken = dict(self._at.read)

    def _keep_if_due(self) -> None:
        self._keeper.check()
        if self._keeper.is_idle and time.monotonic() - self._kept >= CHECKPOINT_SECONDS:
            self._keep()

    def _keep(self, wait: float = 0.0) -> None:
        """Have a checkpoint written of what was spoken for; `wait`: and wait until it is."""
        if wait:
            self._keeper.settle(wait)
        moves = {
            partition: Move(self._at.epoch, self._at.saved[partition], offset)
            for partition, offset in self._at.spoken.items()
            if offset != self._at.saved[partition]
        }
        if moves:
            self._keeper.checkpoint(self._state.take_changed(), moves)
            self._at.saved = dict(self._at.spoken)
            self._kept = time.monotonic()
        elif not self._state.changed and not self._state.touched:
            self._state.let_go()
        if wait:
            self._keeper.settle(wait)

    def _renew_if_due(self) -> None:
        now = time.monotonic()
        if now - self._renewed < RENEW_SECONDS:
            return
        if now - self._identified >= IDENTITY_SECONDS:
            if self._feed.identity() != self._identity:
                raise ChangedError(f"topic {self._feed.topic} has changed")
            self._identified = now
        self._renewed = now
        heartbeat = Heartbeat(self._tally.ticks, self._feed.lag(self._at.read), self._tally.line)
        owned = self._ownership.renew({self._feed.topic: self._identity[2]}, heartbeat)
        if owned != self._at.read.keys():
            self._take(owned)

    def _take(self, owned: frozenset[TopicPartition]) -> None:
        """Read exactly what is owned from now on. Books in memory are forgotten: others may know newer ones."""
        self._at.spoken = {partition: n for partition, n in self._at.spoken.items() if partition in owned}
        self._keep(LAST_SECONDS)
        self._state = State(self._conn, by_data=self._settings.replays)
        log, numbers = self._feed.log(), sorted(partition.partition for partition in owned)
        try:
            offsets = positions.load(self._conn, SCORER, log, self._at.epoch, numbers)
        except LogGapError as error:
            self._tally.met(f"{error}; the scorer goes on behind the gap")
            positions.accept_gap(self._conn, SCORER, log, self._at.epoch, record=False)
            offsets = positions.load(self._conn, SCORER, log, self._at.epoch, numbers)
        if sorted(offsets) != numbers:
            raise positions.FencedError(f"{self._feed.topic}: its positions are of another epoch")
        read = {TopicPartition(self._feed.topic, number): offset for number, offset in offsets.items()}
        self._feed.read_from(read)
        self._at = _Reading(self._at.epoch, dict(read), dict(read), dict(read))

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.close()
