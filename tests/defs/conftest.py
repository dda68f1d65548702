"""One run of the whole graph for the session, in steps: each fixture is one step further, and needs the one before.

Everything is real: PostgreSQL, Dagster's storage in it, Feast, MLflow, LightGBM, BentoML. Only the matches are simulated.
"""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from worlds import WORLD, Graph, graph_on, nutshell, settings_for

from betting_assets.defs.launch import Outcome
from betting_assets.defs.resources import Platform
from betting_assets.embedded.ports import free_port
from betting_assets.instance import dagster_home, environment
from betting_assets.sources.source import SimulatorSource
from betting_assets.warehouse.database import connect, create_databases, with_database

logging.getLogger("betting.runs").addHandler(logging.NullHandler())  # the runs' own log is not for the terminal
_numbers = itertools.count()


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="betting-graph-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def story_url(postgres_url: str, _migrated_template: str) -> str:
    create_databases(postgres_url)
    with connect(postgres_url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE story TEMPLATE migrated")
    return with_database(postgres_url, "story")


@pytest.fixture(scope="session")
def graph(story_url: str, home: Path) -> Iterator[Graph]:
    """The graph on a simulated world, nothing made yet; Dagster's storage is PostgreSQL, as in production."""
    settings = settings_for(story_url, home, hold_back=True, serving_port=free_port())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(settings, story_url).items():
            patch.setenv(name, value)
        instance = dg.DagsterInstance.from_config(str(dagster_home(home)))
        yield Graph(Platform(settings, SimulatorSource(WORLD)), instance)
        instance.dispose()


@dataclass(frozen=True)
class Step:
    """The graph after one step, and what came of that step."""

    graph: Graph
    outcome: Outcome


@pytest.fixture(scope="session")
def ingested(graph: Graph) -> Step:
    return Step(graph, graph.run("ingest"))


@pytest.fixture(scope="session")
def featured(ingested: Step) -> Step:
    return Step(ingested.graph, ingested.graph.run("build_features"))


@pytest.fixture(scope="session")
def trained(featured: Step) -> Step:
    """The first training of 1x2."""
    return Step(featured.graph, featured.graph.run("train", "1x2"))


@pytest.fixture(scope="session")
def _small_template(postgres_url: str, _migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    with connect(postgres_url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE small TEMPLATE migrated")
    with graph_on(with_database(postgres_url, "small"), tmp_path_factory.mktemp("small"), nutshell()) as graph:
        assert graph.run("ingest").success
    return "small"


@pytest.fixture
def small(postgres_url: str, _small_template: str, tmp_path: Path) -> Iterator[Graph]:
    """A graph of a test's own: 120 matches are ingested, its instance knows nothing of them and is forgotten."""
    name = f"small_{next(_numbers)}"
    with connect(postgres_url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {_small_template}")
        with graph_on(with_database(postgres_url, name), tmp_path, nutshell()) as graph:
            yield graph
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
