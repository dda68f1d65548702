"""Materialization by Feast's Ray engine, through the configuration file that the platform ships and Feast's command."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml
from feast import FeatureStore
from invented_features import side_by_side, write
from ray_cluster import CONFIGURATION, Run, cluster, feast, ray_variables

from betting_assets.warehouse.database import connect
from feature_repo.operations import materialize_upcoming, online_features
from feature_repo.services import feature_names, feature_service
from feature_repo.store import FOLDER
from feature_repo.views import TTL

NOW = pd.Timestamp.now(tz="UTC").floor("s")
HOUR = pd.Timedelta(hours=1)
IMPATIENT = {"RAY_NUM_REDIS_GET_RETRIES": "1"}
"""Ray does not tell a refusal from a head that is not up yet, and tries for 20 seconds."""


@pytest.fixture(scope="module")
def at_an_address() -> Iterator[dict[str, str]]:
    """Variables of a cluster that runs already."""
    with ray_variables() as variables, cluster(variables) as with_address:
        yield with_address | IMPATIENT


@pytest.fixture
def on_its_own() -> Iterator[dict[str, str]]:
    """Variables without an address: the command starts a Ray for itself and ends it."""
    with ray_variables() as variables:
        yield variables


def materialize(url: str, variables: dict[str, str]) -> Run:
    """Both views, the last 90 days."""
    return feast(url, variables, "materialize", (NOW - TTL * 3).isoformat(), NOW.isoformat())


def served(store: FeatureStore, ids: list[str]) -> list[bytes]:
    """What the SDK answers, to the last bit: values, statuses and event times, one item a feature."""
    found = []
    for market in ("1x2", "over_under"):
        answer = store.get_online_features(feature_service(market, "market_residual"), {"match_id": ids}).proto
        found += [column.SerializeToString(deterministic=True) for column in answer.results]
    return found


def written(url: str, view: str) -> int:
    """Number of matches in the online table of a view, expired ones as well."""
    with connect(url) as connection:
        row = connection.execute(f'SELECT count(*) FROM feast."betting:{view}"').fetchone()  # noqa: S608
    assert row is not None
    return int(row[0])


def test_the_two_configurations_differ_in_the_engine_alone() -> None:
    plain = yaml.safe_load((FOLDER / "feature_store.yaml").read_text())
    ray = yaml.safe_load(CONFIGURATION.read_text())
    assert ray.pop("batch_engine")["type"] == "ray.engine"
    assert ray == plain


@pytest.mark.services
def test_ray_serves_what_the_plain_configuration_serves(
    store: FeatureStore, database: str, on_its_own: dict[str, str]
) -> None:
    known = [f"m{i}" for i in range(600)]  # more than one batch of writes
    newest = side_by_side(write(database, known, [NOW - HOUR * (i % 40) for i in range(600)]))
    write(database, known[:50], [NOW - HOUR * 50] * 50, seed=3)
    write(database, ["later"], [NOW + HOUR])
    run = materialize(database, on_its_own)
    assert run.code == 0, run.output
    assert run.listened == {"127.0.0.1"}

    features = feature_names(feature_service("1x2", "market_residual"))
    expected = newest.rename(columns={"event_timestamp": "feature_time"})[["match_id", "feature_time", *features]]
    pd.testing.assert_frame_equal(online_features(store, "1x2", [*known, "later"]), expected)
    by_ray = served(store, [*known, "later"])
    assert materialize_upcoming(store, NOW - TTL * 3, NOW) == {"match_strength": 600, "match_market": 600}
    assert by_ray == served(store, [*known, "later"])


@pytest.mark.services
def test_what_ray_leaves_out_it_does_not_tell(
    store: FeatureStore, database: str, at_an_address: dict[str, str]
) -> None:
    """Feast's engine drops old rows by the wall clock, and a task that fails says so to its worker's log alone.

    These are the reasons why the file is not for a replay of history, and why it says to count afterwards.
    """
    write(database, ["old", "new"], [NOW - TTL * 2, NOW - HOUR])
    with connect(database, autocommit=True) as connection:
        connection.execute('ALTER TABLE feast."betting:match_market" ADD CONSTRAINT none CHECK (false)')
    run = materialize(database, at_an_address)
    assert run.code == 0, run.output
    assert run.listened == {"127.0.0.1"}
    assert written(database, "match_strength") == 1
    assert written(database, "match_market") == 0
    with connect(database, autocommit=True) as connection:
        connection.execute('ALTER TABLE feast."betting:match_market" DROP CONSTRAINT none')
    materialize_upcoming(store, NOW - TTL * 3, NOW)
    assert written(database, "match_strength") == written(database, "match_market") == 2


@pytest.mark.services
def test_a_caller_with_another_token_is_refused(
    store: FeatureStore, database: str, at_an_address: dict[str, str], tmp_path: Path
) -> None:
    write(database, ["a"], [NOW - HOUR])
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(32))
    run = materialize(database, {**at_an_address, "RAY_AUTH_TOKEN_PATH": str(token)})
    assert run.code != 0
    assert "ConnectionError: Failed to connect to Ray cluster" in run.output
    assert written(database, "match_strength") == 0
