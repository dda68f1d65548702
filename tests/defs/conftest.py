"""One run of the whole graph for the session, in steps: each fixture is one step further, and needs the one before.

Everything is real: PostgreSQL, Dagster's storage in it, Feast, MLflow, LightGBM, BentoML. Only the matches are
simulated. Later steps change what earlier ones made, so a step keeps what its tests ask of that moment.
"""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from serving import Serving, follower, until
from worlds import WORLD, Graph, Step, graph_on, nutshell, plant_forecasts, settings_for, step

from bentos.match_odds.contract import Answer
from betting_assets.betting.odds import MarginMethod
from betting_assets.defs.resources import Platform
from betting_assets.embedded.ports import free_port
from betting_assets.instance import dagster_home, environment
from betting_assets.modelling import feature_tables
from betting_assets.modelling.dataset import Dataset, assemble
from betting_assets.modelling.markets import modelled_market
from betting_assets.operate import roll_back
from betting_assets.sources.source import SimulatorSource
from betting_assets.warehouse import deployments
from betting_assets.warehouse.database import connect, create_databases, with_database
from betting_assets.warehouse.fixtures import upcoming_matches
from betting_assets.warehouse.history import read_books, read_matches, read_results, read_statistics
from betting_assets.warehouse.predictions import read_predictions

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
    settings = settings_for(story_url, home, hold_back=True, serving_port=free_port(), grpc_port=free_port())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(settings, story_url).items():
            patch.setenv(name, value)
        instance = dg.DagsterInstance.from_config(str(dagster_home(home)))
        yield Graph(Platform(settings, SimulatorSource(WORLD)), instance)
        instance.dispose()


@pytest.fixture(scope="session")
def ingested(graph: Graph) -> Step:
    return Step(graph, graph.run("ingest"))


@pytest.fixture(scope="session")
def featured(ingested: Step) -> Step:
    return Step(ingested.graph, ingested.graph.run("build_features"))


@pytest.fixture(scope="session")
def to_come(featured: Step) -> list[str]:
    """Ids of the matches that were upcoming when 1x2 was trained."""
    ids: list[str] = upcoming_matches(featured.graph.url)["match_id"].tolist()
    return ids


@pytest.fixture(scope="session")
def computed(featured: Step) -> Dataset:
    """The training set of 1x2 straight from the canonical tables: no feature tables of PostgreSQL's, no Feast."""
    url = featured.graph.url
    matches, results, books = read_matches(url), read_results(url), read_books(url)
    decided = feature_tables.decision_times(matches, feature_tables.first_quotes(books))
    ratings = feature_tables.ratings_table(matches, results, decided)
    form = feature_tables.form_table(matches, results, read_statistics(url), decided)
    settings = featured.graph.platform.settings
    reference, method = settings.reference_book, MarginMethod(settings.margin_method)
    return assemble(
        modelled_market("1x2"),
        matches,
        results,
        feature_tables.match_strength(matches, ratings, form),
        feature_tables.match_market(books, reference=reference, method=method),
        feature_tables.closing_line(books, reference=reference, method=method),
    )


@pytest.fixture(scope="session")
def trained(featured: Step, computed: Dataset, to_come: list[str]) -> Step:
    """1x2 trained for the first time: version 1 is the champion."""
    return step(featured.graph, featured.graph.run("train", "1x2"))


@pytest.fixture(scope="session")
def trained_again(trained: Step) -> Step:
    """The same data again: version 2 is the challenger, and equal to the champion."""
    return step(trained.graph, trained.graph.run("train", "1x2"))


@pytest.fixture(scope="session")
def deployed(trained_again: Step) -> Step:
    """The first deployment, of version 1; over_under has no champion."""
    return step(trained_again.graph, trained_again.graph.run("deploy"))


@pytest.fixture(scope="session")
def worse(deployed: Step) -> Step:
    """Version 2 evaluated against a champion whose stored forecasts are far better than any model's."""
    plant_forecasts(deployed.graph, certainty=0.9)
    return step(deployed.graph, deployed.graph.ad_hoc("model_evaluation", "champion_model", partition="1x2"))


@pytest.fixture(scope="session")
def better(worse: Step) -> Step:
    """Version 2 evaluated against a champion whose stored forecasts are far worse: it becomes the champion."""
    plant_forecasts(worse.graph, certainty=0.05)
    return step(worse.graph, worse.graph.ad_hoc("model_evaluation", "champion_model", partition="1x2"))


@pytest.fixture(scope="session")
def impostor(deployed: Step) -> Step:
    """The Bento of the first deployment, proposed with answers that it does not give."""
    graph = deployed.graph
    honest = deployments.history(graph.url, 1)[0]
    false = [answer | {"probabilities": answer["probabilities"][::-1]} for answer in honest.known_answers]
    deployments.propose(graph.url, honest.bento_tag, honest.market_versions, false)
    return step(graph, graph.ad_hoc("live_deployment"))


@pytest.fixture(scope="session")
def serving(impostor: Step) -> Iterator[Serving]:
    """The follower as a process, serving the first deployment."""
    graph = impostor.graph
    with follower(graph.platform) as serving:
        yield serving


@pytest.fixture(scope="session")
def deployed_again(serving: Serving, better: Step) -> Step:
    """The second deployment, of version 2, while a follower serves."""
    return step(better.graph, better.graph.run("deploy"))


@pytest.fixture(scope="session")
def asked(deployed_again: Step, serving: Serving, to_come: list[str]) -> Answer:
    """The service's answer for every upcoming match, once it stands in the log."""
    url = deployed_again.graph.url
    answer = serving.client.predict("1x2", to_come)
    until(lambda: len(read_predictions(url)) >= len(answer.predictions))
    return answer


@pytest.fixture(scope="session")
def watched(asked: Answer, deployed_again: Step) -> Step:
    """The watch, before the results of the predicted matches are there."""
    return step(deployed_again.graph, deployed_again.graph.run("monitor"))


@pytest.fixture(scope="session")
def revealed(watched: Step) -> Step:
    """The held back results come in, then the watch."""
    assert watched.graph.run("ingest", history={"hold_back": False}).success
    return step(watched.graph, watched.graph.run("monitor"))


@pytest.fixture(scope="session")
def rolled_back(revealed: Step) -> str:
    """What `betting rollback` says."""
    return roll_back(revealed.graph.platform.settings)


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
