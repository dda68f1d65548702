"""One terminal for each file of tests: its own state folder, working folder and ports."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminals import Terminal

from betting_assets.embedded.platform_lock import PlatformLock
from betting_assets.embedded.ports import free_port
from betting_assets.embedded.postgres import EmbeddedPostgres

SETTING = "BETTING_"


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    # The system's temporary folder: PostgreSQL's own user must be able to pass, when root runs the tests.
    with tempfile.TemporaryDirectory(prefix="betting-cli-") as state:
        Path(state).chmod(0o755)
        settings = {
            "BETTING_HOME": str(Path(state) / "platform"),
            "BETTING_DAGSTER_PORT": str(free_port()),
            "BETTING_MLFLOW_PORT": str(free_port()),
            "BETTING_SERVING_PORT": str(free_port()),
            "BETTING_GRPC_PORT": str(free_port()),
            "BETTING_KAFKA_PORT": str(free_port()),
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(SETTING)}
        yield Terminal(tmp_path_factory.mktemp("working"), inherited | settings)
        _end_what_a_failed_test_left(Path(state))


def _end_what_a_failed_test_left(state: Path) -> None:
    for home in (state / "platform", state / "demo"):
        if home.exists():
            with PlatformLock(home, {}):
                EmbeddedPostgres(home / "postgres").delete()
