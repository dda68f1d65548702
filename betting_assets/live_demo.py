"""The live chapter of the demo: match days over Kafka, a planted drift, and the loop that closes by itself.

A development broker, the lander, the scorer and Dagster's daemon run as they do under `betting up`. Nothing here asks
for a run: what happens is what the sensors and the automation conditions do.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from betting_assets.embedded import process_tree
from betting_assets.embedded.kafka import EmbeddedKafka
from betting_assets.modelling.markets import MARKETS
from betting_assets.settings import PROJECT_ROOT, Settings
from betting_assets.warehouse import deployments
from betting_assets.warehouse.bulk import read_frame

if TYPE_CHECKING:
    from betting_assets.defs.launch import Launcher
    from betting_assets.defs.loop_story import Moment
    from betting_assets.sources.feed import Event

DRIFTED_FROM = 1
"""The first round is played as the models know the world, the others after it has changed."""

DRIFTED_MATCHES, MATCHES_A_ROUND = 60, 10
"""As many as the drift check needs to be sure; a round of one simulated league has ten."""

SUPREMACY = 0.7
"""Log goals that go over from home to away when the world changes: about three times the home advantage."""

TICKS_PER_MATCH = 60
PLAY_SECONDS = 6.0
"""How long the rounds take that are published together; their quiet hours are cut."""

LONGEST_GAP = 0.05
READY_SECONDS = 90.0
LANDED_SECONDS = 90.0
LOOP_SECONDS = 300.0
QUIET_SECONDS = 25.0
"""The automation sensor looks every ten seconds: when nothing was asked for so long, nothing more will be."""

STOP_SECONDS, ORPHAN_SECONDS = 30.0, 3.0
PROBE_PAUSE = 0.05

Stage = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


def match_days(leagues: int) -> int:
    """Rounds to hold back, of so many leagues."""
    return DRIFTED_FROM + math.ceil(DRIFTED_MATCHES / (MATCHES_A_ROUND * leagues))


class LiveDemoError(RuntimeError):
    """The live chapter could not finish; one line that says what did not happen in time, and where to look."""


@dataclass
class LiveStory:
    """What happened.

    Attributes:
        planted_at, live_at: when the world changed and when a model that knows was live (seconds since 1970).
        asked, failed: requests to the service meanwhile, none of them repeated.
        failures: of those that failed, how many for which reason.
        before, after: model versions by market.
    """

    published: Counter[str] = field(default_factory=Counter)
    stored: dict[str, int] = field(default_factory=dict)
    withheld: dict[str, int] = field(default_factory=dict)
    timeline: list[Moment] = field(default_factory=list)
    failed_runs: list[str] = field(default_factory=list)
    planted_at: float = 0.0
    live_at: float | None = None
    asked: int = 0
    failed: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)


class LiveDemo:
    """Runs the chapter on a platform whose models are served already.

    Args:
        stage: see `terminal.Stages.stage`.
    """

    def __init__(self, settings: Settings, url: str, launcher: Launcher, stage: Stage) -> None:
        self._settings, self._url, self._instance, self._stage = settings, url, launcher.instance, stage
        self._home = settings.home.resolve()
        self._quiet_since = time.monotonic()
        self.story = LiveStory()

    def run(self) -> LiveStory:
        """Everything, in order; nothing of it is left running.

        Raises:
            LiveDemoError: something did not happen in time, or a process ended.
        """
        rounds = self._rounds()
        with ExitStack() as stack:
            with self._stage("broker, workers", 2) as advance:
                stack.enter_context(EmbeddedKafka(self._home / "kafka", self._settings.kafka_port))
                advance()
                self._processes = [stack.enter_context(self._process(name, command)) for name, command in COMMANDS]
                self._wait("the lander and the scorer to be ready", READY_SECONDS, self._readers_live)
                advance()
            with self._stage("match day", 2) as advance:
                self._play(rounds[:DRIFTED_FROM], advance)
            prober = stack.enter_context(Prober(self._settings, self._asked_for()))
            with self._stage("drifted match day", 2) as advance:
                self.story.before = self._serving()
                self.story.planted_at = time.time()
                self._play(rounds[DRIFTED_FROM:], advance)
            with self._stage("closing the loop", 1):
                self._wait("a retrained model to be live, or to be refused", LOOP_SECONDS, self._ended)
            self.story.asked, self.story.failed = prober.asked, prober.failed
            self.story.failures = dict(prober.reasons)
        self._tell()
        return self.story

    def _rounds(self) -> list[list[Event]]:
        from betting_assets.sources.simulation.live import Shift
        from betting_assets.streaming.feeds.simulated import simulated_match_days

        plant = Shift(DRIFTED_FROM, SUPREMACY)
        days = self._settings.hold_back_days
        return simulated_match_days(self._settings, days, ticks_per_match=TICKS_PER_MATCH, plant=plant)

    def _play(self, rounds: Sequence[list[Event]], advance: Callable[[], None]) -> None:
        """Publish rounds; wait until all of it is landed and scored, and its results have been dealt with."""
        from betting_assets.streaming.feeds.publisher import publish

        events = [event for one in rounds for event in one]
        length = (events[-1].at - events[0].at).total_seconds()
        published = publish(self._settings, events, speed=max(length / PLAY_SECONDS, 1.0), max_gap=LONGEST_GAP)
        self.story.published += published.by_topic
        advance()
        self._wait("everything to be landed and scored", LANDED_SECONDS, self._caught_up)
        self._wait("the results to be dealt with", LOOP_SECONDS, self._settled)
        advance()

    def _caught_up(self) -> bool:
        counts = self._counts()
        scored = read_frame(
            self._url,
            """SELECT coalesce(sum(next_offset), 0)::bigint AS n FROM stream.position
                WHERE reader = 'scorer' AND topic = $1""",
            [f"{self._settings.topic_prefix}odds.ticks.v1"],
        )["n"].iloc[0]
        ticks, results = (self.story.published[name] for name in ("odds.ticks.v1", "match.results.v1"))
        return counts["ticks"] >= ticks and counts["results"] >= results and int(scored) >= ticks

    def _settled(self) -> bool:
        """Whether every result that was landed was given to a run that has ended."""
        found = read_frame(
            self._url,
            """SELECT (SELECT count(*) FROM stream.match_result) AS landed,
                      (SELECT coalesce(sum(to_offset - from_offset), 0)::bigint FROM stream.planned_range
                        WHERE topic = $1 AND done_at IS NOT NULL) AS done""",
            [f"{self._settings.topic_prefix}match.results.v1"],
        ).iloc[0]
        return int(found["done"]) >= int(found["landed"])

    def _ended(self) -> bool:
        """Whether trainings for a cause are over and what they led to is live; a refused one leads to nothing."""
        from betting_assets.defs.loop_story import is_quiet, trained_for_a_cause

        self._closed()
        now = time.monotonic()
        if not (trained_for_a_cause(self._instance, self.story.planted_at) and is_quiet(self._instance)):
            self._quiet_since = now
        return now - self._quiet_since > QUIET_SECONDS

    def _closed(self) -> bool:
        """Whether every worker serves a deployment with another model; notes when that is first seen."""
        if self.story.live_at is not None:
            return True
        current = deployments.current(self._url)
        if current is None or current.market_versions == self.story.before or current.made_current_at is None:
            return False
        waiting = read_frame(
            self._url,
            """SELECT count(*) AS n FROM serving.worker
                WHERE seen_at > now() - interval '10 s' AND deployment_id IS DISTINCT FROM $1""",
            [current.id],
        )["n"].iloc[0]
        if int(waiting):
            return False
        self.story.live_at = time.time()
        return True

    def _readers_live(self) -> bool:
        live = read_frame(self._url, "SELECT count(*) AS n FROM stream.reader WHERE seen_at > now() - interval '6 s'")
        return int(live["n"].iloc[0]) >= 2

    def _serving(self) -> dict[str, str]:
        current = deployments.current(self._url)
        return dict(current.market_versions) if current else {}

    def _asked_for(self) -> str:
        found = read_frame(self._url, "SELECT match_id FROM stream.prediction ORDER BY landed_at DESC LIMIT 1")
        return str(found["match_id"].iloc[0])

    def _counts(self) -> dict[str, int]:
        found = read_frame(
            self._url,
            """SELECT (SELECT count(*) FROM stream.odds_tick) AS ticks,
                      (SELECT count(*) FROM stream.match_result) AS results,
                      (SELECT count(*) FROM stream.prediction) AS predictions,
                      (SELECT count(*) FROM stream.dead_letter) AS "dead letters" """,
        ).iloc[0]
        return {str(name): int(n) for name, n in found.items()}

    def _tell(self) -> None:
        from betting_assets.defs.loop_story import failed_runs, moments

        self.story.stored = self._counts()
        withheld = read_frame(
            self._url,
            """SELECT withheld, count(*) AS n FROM stream.prediction
                WHERE withheld IS NOT NULL GROUP BY 1 ORDER BY 2 DESC""",
        )
        self.story.withheld = {str(reason): int(n) for reason, n in withheld.itertuples(index=False)}
        self.story.after = self._serving()
        self.story.timeline = moments(self._instance, self.story.planted_at)
        self.story.failed_runs = failed_runs(self._instance, self.story.planted_at)

    def _wait(self, what: str, seconds: float, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            for name, process in zip((name for name, _ in COMMANDS), self._processes, strict=True):
                if process.poll() is not None:
                    raise LiveDemoError(f"{name} ended by itself: see {self._home / 'logs' / f'{name}.log'}")
            if time.monotonic() > deadline:
                raise LiveDemoError(f"waited {seconds:.0f} s in vain for {what}: see {self._home / 'logs'}")
            time.sleep(0.2)

    @contextmanager
    def _process(self, name: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
        own = {**os.environ, **process_tree.mark(self._home, name)}
        with (self._home / "logs" / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            self._end(name, process)

    def _end(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """End it, then what it has left: the daemon's code servers and runs live on without it for a while."""
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process_tree.end(process_tree.marked(self._home, name), ORPHAN_SECONDS)
        process.wait()


COMMANDS = (
    ("lander", ("betting_assets", "stream", "land")),
    ("scorer", ("betting_assets", "stream", "score")),
    ("dagster-daemon", ("dagster._daemon", "run", "-w", str(PROJECT_ROOT / "workspace.yaml"))),
)


class Prober:
    """Asks the service for one match again and again, each market in turn, without retries, and counts what fails."""

    def __init__(self, settings: Settings, match_id: str) -> None:
        self._settings, self._match_id = settings, match_id
        self.asked = self.failed = 0
        self.reasons: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="prober", daemon=True)

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _ask(self) -> None:
        from bentos.match_odds.calling.retries import Retries
        from bentos.match_odds.client import MatchOddsClient, MatchOddsError

        with MatchOddsClient(self._settings.serving_url, retries=Retries(attempts=1)) as client:
            while not self._stop.wait(PROBE_PAUSE):
                for market in MARKETS:
                    self.asked += 1
                    try:
                        client.predict(market, [self._match_id])
                    except MatchOddsError as error:
                        self.failed += 1
                        self.reasons[str(error)] += 1
