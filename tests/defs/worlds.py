"""Small simulated worlds, and the platform with its jobs on a database of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from betting_assets.definitions import build
from betting_assets.defs.launch import Launcher, Outcome, Stage, outcome_of
from betting_assets.defs.resources import EXPERIMENT, Platform
from betting_assets.modelling.registry import CHAMPION, Registered
from betting_assets.settings import Settings
from betting_assets.sources.batch import Batch
from betting_assets.sources.simulator import SimulatorConfig
from betting_assets.sources.source import SimulatorSource, Source
from betting_assets.warehouse.bulk import read_frame
from betting_assets.warehouse.database import connect

WORLD = SimulatorConfig(seed=11, leagues=("SIM1", "SIM2"), seasons=3, teams=12, start_year=2020)
"""792 matches: 528 before the one test season, 264 in it."""
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

    def ad_hoc(self, *assets: str, partition: str | None = None) -> Outcome:
        """`materialize`, told as the launcher tells of a job."""
        return outcome_of(self.materialize(*assets, partition=partition))

    def champion(self, market: str = "1x2") -> Registered | None:
        return self.platform.registry.by_alias(market, CHAMPION)

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
    mlflow: dict[str, str] = field(default_factory=dict)
    """Status of every MLflow run after the step, by Dagster run."""


def step(graph: Graph, outcome: Outcome) -> Step:
    champion = graph.champion()
    return Step(graph, outcome, champion.name if champion else None, mlflow_runs(graph.platform))


def mlflow_runs(platform: Platform) -> dict[str, str]:
    """Status of every MLflow run, by Dagster run."""
    client = platform.registry.client
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return {run.data.tags.get("dagster_run_id", run.info.run_id): run.info.status for run in runs}


def plant_forecasts(graph: Graph, certainty: float) -> None:
    """Make the champion's stored forecasts of 1x2 give `certainty` to what happened."""
    champion = graph.champion()
    assert champion is not None
    rest = (1 - certainty) / 2
    happened = "2 - sign(r.home_score - r.away_score)"
    one = "CASE WHEN {number} = {happened} THEN {certainty} ELSE {rest} END"
    cells = [one.format(number=n, happened=happened, certainty=certainty, rest=rest) for n in (1, 2, 3)]
    with connect(graph.url) as conn:
        conn.execute(
            f"UPDATE ml.walk_forward_prediction p SET probabilities = ARRAY[{', '.join(cells)}]::float8[]"  # noqa: S608
            "  FROM core.result r WHERE r.match_id = p.match_id AND p.run_id = %s AND p.market = '1x2'",
            [champion.run_id],
        )


def settings_for(url: str, home: Path, **more: Any) -> Settings:
    return Settings(_env_file=None, home=home, database_url=url, test_seasons=1, **more)


@contextmanager
def graph_on(url: str, home: Path, source: Source, **more: Any) -> Iterator[Graph]:
    """The graph with an instance that is forgotten afterwards."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Graph(Platform(settings_for(url, home, **more), source), instance)


def nutshell() -> SimulatorSource:
    return SimulatorSource(NUTSHELL)
