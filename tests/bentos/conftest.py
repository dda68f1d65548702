"""Two small models, and a real Bento built from them once for the session."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from invented_models import VERSIONS, free_port, invented_bundle
from stored_matches import DECIDED_AT, feature_tables

from bentos.match_odds.client import MatchOddsClient
from bentos.match_odds.deploying.build import build_bento
from bentos.match_odds.deploying.runner import RunningBento
from bentos.match_odds.model.champions import Champion, Champions
from bentos.match_odds.model.known_answers import KnownAnswer, known_answers
from betting_assets.modelling.bundle import Bundle
from betting_assets.modelling.markets import MARKETS
from betting_assets.warehouse.database import connect, with_database
from betting_assets.warehouse.features import write_feature_table


@pytest.fixture(scope="session")
def trained() -> dict[str, tuple[Bundle, pd.DataFrame]]:
    """Market → bundle and the table that it was trained on."""
    return {market: invented_bundle(market) for market in MARKETS}


@pytest.fixture(scope="session")
def champions(trained: dict[str, tuple[Bundle, pd.DataFrame]]) -> Champions:
    return Champions({market: Champion(bundle, VERSIONS[market]) for market, (bundle, _) in trained.items()})


@pytest.fixture(scope="session")
def known(trained: dict[str, tuple[Bundle, pd.DataFrame]]) -> list[KnownAnswer]:
    return [answer for bundle, frame in trained.values() for answer in known_answers(bundle, frame)]


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="betting-bento-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def tag(trained: dict[str, tuple[Bundle, pd.DataFrame]], known: list[KnownAnswer], home: Path) -> str:
    folders = {market: bundle.save(home / "champions" / market) for market, (bundle, _) in trained.items()}
    return build_bento(folders, VERSIONS, known, home)


@pytest.fixture(scope="session")
def running(tag: str, home: Path) -> Iterator[RunningBento]:
    """The Bento without a database: it serves explicit features."""
    with RunningBento(tag, free_port(), home) as bento:
        yield bento


@pytest.fixture(scope="session")
def store_url(postgres_url: str, _migrated_template: str) -> Iterator[str]:
    """A database whose online store holds three matches."""
    from feature_repo.operations import apply_definitions, materialize_upcoming
    from feature_repo.store import feature_store, forget

    url = with_database(postgres_url, "bentos")
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE bentos TEMPLATE {_migrated_template}")
    strength, market = feature_tables()
    write_feature_table(url, "match_strength", strength)
    write_feature_table(url, "match_market", market)
    store = feature_store(url)
    apply_definitions(store)
    materialize_upcoming(store, DECIDED_AT - dt.timedelta(days=1), DECIDED_AT + dt.timedelta(days=1))
    yield url
    forget()
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE bentos WITH (FORCE)")


@pytest.fixture(scope="session")
def client(running: RunningBento) -> Iterator[MatchOddsClient]:
    with MatchOddsClient(running.url) as client:
        yield client
