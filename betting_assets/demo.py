"""The main job in one go: from raw odds to a served, evaluated model, on a fresh embedded stack, then a summary."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import pandas as pd

from betting_assets.embedded.platform_lock import PlatformLock
from betting_assets.embedded.ports import free_port
from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.instance import environment, export
from betting_assets.live_demo import LiveDemo, LiveDemoError, LiveStory, match_days
from betting_assets.modelling.markets import MARKETS
from betting_assets.settings import Settings
from betting_assets.sources.source import SimulatorSource, Source, configured_source
from betting_assets.terminal import Stages
from betting_assets.usage import require_writable
from betting_assets.warehouse.bulk import read_frame
from betting_assets.warehouse.database import create_databases
from betting_assets.warehouse.fixtures import upcoming_matches
from betting_assets.warehouse.history import count_rows
from betting_assets.warehouse.migrate import migrate

if TYPE_CHECKING:
    from betting_assets.defs.launch import Launcher, Outcome, Stage

MARKER = "demo"
MOST_ASKED = 256


class DemoError(RuntimeError):
    """The demo could not finish; the message says at which stage, why, and where the log is."""


@dataclass
class Story:
    """What happened, stage by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)
    answer: dict[str, Any] = field(default_factory=dict)
    counts: pd.DataFrame = field(default_factory=pd.DataFrame)
    rejected: int = 0
    source: str = ""
    markets: tuple[str, ...] = tuple(MARKETS)
    truth_gap: dict[str, float] = field(default_factory=dict)
    live: LiveStory | None = None
    peak_memory_mb: int = 0


class Demo:
    """Runs every stage on a fresh state folder and leaves nothing running.

    Args:
        settings: with the state folder, the data folder and the leagues.
    """

    def __init__(self, settings: Settings, stages: Stages) -> None:
        self._settings, self._stages = settings, stages
        self._home = settings.home.resolve()
        self._log = demo_log(settings)
        self.story = Story()

    def run(self) -> Story:
        """Everything, in order. Raises DemoError with the stage that failed; hold the demo's lock meanwhile."""
        _fresh(self._home)
        with ExitStack() as stack:
            with self._stage("database", 2) as advance:
                database = stack.enter_context(EmbeddedPostgres(self._home / "postgres"))
                url = database.url
                advance()
                create_databases(url)
                migrate(url)
            export(environment(self._settings, url))
            launcher = stack.enter_context(self._launcher())
            self._graph(launcher, url)
            follower = stack.enter_context(self._follower())
            self._deploy_and_ask(launcher, url, follower)
            self._play(launcher, url)
            self.story.truth_gap = self._truth_gap()
            self.story.peak_memory_mb = _peak_memory_mb()
        return self.story

    def _graph(self, launcher: Launcher, url: str) -> None:
        """From raw odds to champions."""
        from betting_assets.defs.launch import Stage

        self._run(launcher, Stage("ingest", "ingest", all_partitions=True))
        self.story.counts = count_rows(url)
        self.story.rejected = int(read_frame(url, "SELECT count(*) AS n FROM raw.rejected_row")["n"].iloc[0])
        self._run(launcher, Stage("features", "build_features"))
        for market in MARKETS:
            self._run(launcher, Stage(f"train {market}", "train", market), gated=market)

    def _deploy_and_ask(self, launcher: Launcher, url: str, follower: subprocess.Popen[bytes]) -> None:
        from betting_assets.defs.launch import Stage

        if len(self.story.refused) == len(MARKETS):
            raise DemoError(f"the gate refused every challenger, so nothing can be served: {self.story.refused}")
        self._run(launcher, Stage("deploy", "deploy"))
        if follower.poll() is not None:
            raise DemoError(f"the serving process ended by itself; see {self._home / 'logs' / 'follower.log'}")
        with self._stage("predict", len(MARKETS)) as advance:
            self.story.predictions = self._ask(url, advance)

    def _play(self, launcher: Launcher, url: str) -> None:
        """The matches are played: the simulator's live, over Kafka; those of files are known, and revealed. Then settle
        the served predictions and look for drift."""
        from betting_assets.defs.launch import Stage

        if isinstance(self._source, SimulatorSource):
            try:
                self.story.live = LiveDemo(self._settings, url, launcher, self._stage).run()
            except LiveDemoError as error:
                raise DemoError(str(error)) from error
        else:
            reveal = {"history": {"hold_back": False}}
            self._run(launcher, Stage("results", "ingest", all_partitions=True, ops=reveal))
        self._run(launcher, Stage("monitor", "monitor"))

    def _ask(self, url: str, advance: Any) -> pd.DataFrame:
        """The running service's answers for the upcoming matches, every served market."""
        from bentos.match_odds.client import MatchOddsClient

        upcoming = upcoming_matches(url)
        if upcoming.empty:
            raise DemoError("the input has no upcoming match to predict")
        asked = upcoming["match_id"].tolist()[:MOST_ASKED]
        parts = []
        with MatchOddsClient(self._settings.serving_url) as client:
            for market in MARKETS:
                if market not in self.story.refused:
                    began = time.perf_counter()
                    answer = client.predict(market, asked)
                    self.story.answer[market] = {
                        "bento": answer.bento,
                        "model": answer.model_version,
                        "matches": len(answer.predictions),
                        "milliseconds": round(1000 * (time.perf_counter() - began), 1),
                    }
                    parts += [
                        _flat(market, answer.selections, one.model_dump())
                        for one in answer.predictions
                        if one.probabilities
                    ]
                advance()
        return pd.DataFrame(parts).merge(upcoming[["match_id", "league", "match_date", "home", "away"]], on="match_id")

    def _run(self, launcher: Launcher, stage: Stage, gated: str | None = None) -> None:
        """Run one stage; only the gate may stop it without stopping the demo."""
        with self._stage(stage.name, launcher.steps(stage)):
            outcome = launcher.run(stage)
        self.story.outcomes[stage.name] = outcome
        if outcome.success:
            return
        if gated and outcome.failed_checks and "model_evaluation" in outcome.metadata:
            self.story.refused[gated] = "; ".join(outcome.failed_checks.values())
            return
        reason = "; ".join(outcome.failed_checks.values()) or outcome.error or "a step failed"
        raise DemoError(f"stage {stage.name}: {reason}; the log is {self._log}")

    def _truth_gap(self) -> dict[str, float]:
        """Mean |served - true| probability by market; empty where nobody knows the truth."""
        if not isinstance(self._source, SimulatorSource):
            return {}
        truth = self._source.truth.set_index("match_id")
        gaps: dict[str, list[float]] = defaultdict(list)
        for one in self.story.predictions.to_dict("records"):
            gaps[one["market"]] += [
                abs(p - truth.at[one["match_id"], f"p_{s}"]) for s, p in one["probabilities"].items()
            ]
        return {market: float(mean(found)) for market, found in gaps.items()}

    @contextmanager
    def _stage(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """A progress bar and the stage's time."""
        began = time.perf_counter()
        with self._stages.stage(name, total) as self._advance:
            yield self._advance
        self.story.seconds[name] = round(time.perf_counter() - began, 1)

    @contextmanager
    def _launcher(self) -> Iterator[Launcher]:
        from betting_assets.definitions import build
        from betting_assets.defs.launch import Launcher, platform_instance
        from betting_assets.defs.resources import Platform

        with platform_instance() as instance:
            platform = Platform(self._settings)
            self._source = platform.source
            self.story.source = self._source.name
            yield Launcher(build(platform), platform, instance, lambda _: self._advance())

    @contextmanager
    def _follower(self) -> Iterator[subprocess.Popen[bytes]]:
        """The process that serves whatever deployment is current."""
        with (self._home / "logs" / "follower.log").open("wb") as log:
            command = [sys.executable, "-m", "bentos.match_odds.deploying.follower"]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def demo_settings(base: Settings, data: Path | None, leagues: str) -> Settings:
    """Settings of a demo: its own state folder beside the platform's, the last match days held back, free ports.

    A cause to retrain is followed at once: nobody waits six hours for a demo.
    """
    source = configured_source(data or base.data, (leagues or base.leagues).split(","))
    simulated = isinstance(source, SimulatorSource)
    count = len({league for league, _ in source.partitions()})
    return base.model_copy(
        update={
            "home": base.home.parent / "demo",
            "database_url": None,
            "data": data or base.data,
            "leagues": leagues or base.leagues,
            "hold_back": True,
            "hold_back_days": match_days(count) if simulated else 1,
            "retrain_cooldown_minutes": 0.0,
            "kafka_servers": "",
            "kafka_port": free_port(),
            "topic_prefix": "",
            "serving_port": free_port(),
            "grpc_port": free_port(),
        }
    )


def demo_log(settings: Settings) -> Path:
    """Where everything goes that libraries say meanwhile."""
    return settings.home.resolve() / "logs" / "demo.log"


def check_input(settings: Settings) -> None:
    """See that there is something to train on, before anything is started.

    Raises:
        SourceError, DemoError: one line about the folder, the leagues or the seasons.
    """
    seasons = sorted({season for _, season in _source(settings).partitions()})
    if len(seasons) < 2:
        raise DemoError(
            f"{settings.data}: only season {', '.join(seasons)}; models are tested on a season that others come "
            "before: add the files of earlier seasons"
        )


def demo_lock(settings: Settings) -> PlatformLock:
    """One demo at a time in a state folder; entered, it has ended what a killed demo left."""
    home = settings.home.resolve()
    require_writable(home, "choose another state folder with BETTING_HOME")
    if any(home.iterdir()) and not (home / MARKER).exists():
        raise DemoError(f"{home} holds something that is not an earlier demo: move it away, or set BETTING_HOME")
    (home / MARKER).touch()
    return PlatformLock(home, {})


def _source(settings: Settings) -> Source:
    return configured_source(settings.data, settings.leagues.split(","))


def _fresh(home: Path) -> None:
    """The state folder of a locked demo without what an earlier one left."""
    EmbeddedPostgres(home / "postgres").delete()
    for entry in home.iterdir():
        if entry.is_dir() and entry.name != "logs":
            shutil.rmtree(entry)


def _flat(market: str, selections: list[str], one: dict[str, Any]) -> dict[str, Any]:
    probabilities = dict(zip(selections, one["probabilities"], strict=True))
    return {"match_id": one["match_id"], "market": market, "variant": one["variant"], "probabilities": probabilities}


def _peak_memory_mb() -> int:
    """Largest resident memory of this process or any that it waited for (Linux counts in kB, macOS in bytes)."""
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return largest // unit
