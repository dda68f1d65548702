from __future__ import annotations

import os
from pathlib import Path

import pytest

from betting_assets.sources.batch import Batch
from betting_assets.sources.football_data import read_folder
from betting_assets.sources.simulator import SimulatedWorld, simulate


@pytest.fixture(scope="session")
def football_folder() -> Path:
    """The private test input; a test that needs it is skipped, visibly, where it is absent."""
    root = Path(os.environ.get("BETTING_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    folder = root / "A_football"
    if not folder.is_dir():
        pytest.skip("no real data: set BETTING_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def real_batch(football_folder: Path) -> Batch:
    """All 72 season files."""
    return read_folder(football_folder / "mmz4281")


@pytest.fixture(scope="session")
def world() -> SimulatedWorld:
    return simulate()
