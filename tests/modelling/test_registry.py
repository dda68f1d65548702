"""The registry on a real PostgreSQL: versions count up, aliases move, nothing is copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from simulated_tables import Tables

from betting_assets.modelling.bundle import Bundle
from betting_assets.modelling.registry import CHALLENGER, CHAMPION, Registered, Registry
from betting_assets.warehouse.database import connect, with_database, with_driver

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def registry(postgres_url: str) -> Iterator[Registry]:
    with connect(postgres_url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE mlflow_registry")
        yield Registry(with_driver(with_database(postgres_url, "mlflow_registry"), "psycopg2"))
        conn.execute("DROP DATABASE mlflow_registry WITH (FORCE)")


@pytest.fixture(scope="module")
def register(registry: Registry, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    artifacts = tmp_path_factory.mktemp("artifacts of MLflow")  # with a blank: the URI is quoted
    client = registry.client
    experiment = client.create_experiment("match_odds", artifacts.as_uri())

    def _register(market: str, tags: dict[str, str]) -> Registered:
        run = client.create_run(experiment).info.run_id
        return registry.register(market, run, bundle.save(tmp_path_factory.mktemp("bundle")), tags)

    return _register


def test_versions_count_up_the_newest_is_challenger_and_the_champion_stays_until_it_is_made(  # type: ignore[no-untyped-def]
    registry: Registry, register, bundle: Bundle, tables: Tables
) -> None:
    assert registry.by_alias("1x2", CHALLENGER) is None  # not even a registered model yet
    first = register("1x2", {"data_hash": "aa"})
    assert registry.by_alias("1x2", CHALLENGER) == first
    assert registry.by_alias("1x2", CHAMPION) is None
    registry.make_champion("1x2", first.version)

    second = register("1x2", {"data_hash": "bb"})
    assert (first.version, second.version) == ("1", "2")
    assert (second.name, second.tags["data_hash"]) == ("match_odds_1x2/2", "bb")
    assert registry.by_alias("1x2", CHALLENGER) == second
    assert registry.by_alias("1x2", CHAMPION) == first

    registry.make_champion("1x2", second.version)
    assert registry.by_alias("1x2", CHAMPION) == second
    assert registry.version("1x2", "1") == first

    frame = tables.dataset().frame.tail(10)
    assert np.array_equal(second.bundle().predict(frame).probabilities, bundle.predict(frame).probabilities)
    assert first.folder != second.folder
    assert isinstance(first.folder, Path)


def test_each_market_counts_for_itself(registry: Registry, register) -> None:  # type: ignore[no-untyped-def]
    assert register("over_under", {}).version == "1"
    assert registry.by_alias("over_under", CHAMPION) is None


def test_artifacts_that_are_not_on_a_disk_are_refused(registry: Registry) -> None:
    client = registry.client
    client.create_registered_model("match_odds_elsewhere")
    client.create_model_version("match_odds_elsewhere", "s3://bucket/bundle")
    with pytest.raises(ValueError, match="must lie on a local or mounted disk, this version's do not: s3://"):
        registry.version("elsewhere", "1")
