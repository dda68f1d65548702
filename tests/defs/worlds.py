"""Small simulated worlds, and the platform with its jobs on a database of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from betting_assets.definitions import build
from betting_assets.defs.launch import Launcher, Outcome, Stage
from betting_assets.defs.resources import Platform
from betting_assets.settings import Settings
from betting_assets.sources.batch import Batch
from betting_assets.sources.simulator import SimulatorConfig
from betting_assets.sources.source import SimulatorSource, Source
from betting_assets.warehouse.bulk import read_frame

WORLD = SimulatorConfig(seed=11, leagues=("SIM1", "SIM2"), seasons=4, teams=12, start_year=2020)
"""1,056 matches: 792 before the one test season, 264 in it."""
NUTSHELL = SimulatorConfig(seed=3, leagues=("SIM1", "SIM2"), seasons=2, teams=6, start_year=2020)
"""120 matches, for what needs no model."""


@dataclass(frozen=True)
class EditedSource:
    """A source whose books or results were corrected: `edit` gets each batch that is read."""

    inner: Source
    edit: Any

    @property
    def name(self) -> str:
        return self.inner.name

    def partitions(self) -> list[tuple[str, str]]:
        return self.inner.partitions()

    def load(self, leagues: Any = None, seasons: Any = None) -> Batch:
        edited: Batch = self.edit(self.inner.load(leagues, seasons))
        return edited


@dataclass(frozen=True)
class Graph:
    """The asset graph on one platform and one Dagster instance."""

    platform: Platform
    instance: dg.DagsterInstance

    @property
    def url(self) -> str:
        return self.platform.url

    @property
    def definitions(self) -> dg.Definitions:
        return build(self.platform)

    def run(self, job: str, partition: str | None = None, **ops: Mapping[str, Any]) -> Outcome:
        """A job; `ingest` without a partition reads everything."""
        whole = job == "ingest" and partition is None
        stage = Stage(job, job, partition, all_partitions=whole, ops=dict(ops) or None)
        return Launcher(self.definitions, self.platform, self.instance).run(stage)

    def materialize(self, *assets: str, partition: str | None = None, **tags: str) -> dg.ExecuteInProcessResult:
        """Assets ad hoc, as the UI does it: by the job that Dagster makes for them, without our hooks."""
        job = self.definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            partition_key=partition,
            tags=tags,
            raise_on_error=False,
        )

    def reading(self, source: Source) -> Graph:
        """The same graph with another source."""
        return replace(self, platform=Platform(self.platform.settings, source))

    def table(self, query: str) -> pd.DataFrame:
        return read_frame(self.url, query)


@dataclass(frozen=True)
class Step:
    """The graph after one step of the story: what came of the step, and the champion of 1x2 after it."""

    graph: Graph
    outcome: Outcome
    champion: str | None = None


def settings_for(url: str, home: Path, **more: Any) -> Settings:
    return Settings(_env_file=None, home=home, database_url=url, test_seasons=1, **more)


@contextmanager
def graph_on(url: str, home: Path, source: Source, **more: Any) -> Iterator[Graph]:
    """The graph with an instance that is forgotten afterwards."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Graph(Platform(settings_for(url, home, **more), source), instance)


def nutshell() -> SimulatorSource:
    return SimulatorSource(NUTSHELL)
