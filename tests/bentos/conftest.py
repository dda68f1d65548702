"""Two small models, and a real Bento built from them once for the session."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from invented_models import VERSIONS, free_port, invented_bundle

from bentos.match_odds.build import build_bento
from bentos.match_odds.champions import Champion, Champions
from bentos.match_odds.client import MatchOddsClient
from bentos.match_odds.known_answers import KnownAnswer, known_answers
from bentos.match_odds.runner import RunningBento
from betting_assets.modelling.bundle import Bundle
from betting_assets.modelling.markets import MARKETS


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
def client(running: RunningBento) -> Iterator[MatchOddsClient]:
    with MatchOddsClient(running.url) as client:
        yield client
