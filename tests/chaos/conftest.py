"""A Dagster instance of one test's own, in its database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from betting_assets.embedded.ports import free_port
from betting_assets.instance import dagster_home, environment
from betting_assets.settings import Settings
from betting_assets.warehouse.database import create_databases


@pytest.fixture
def variables(database: str, postgres_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of the platform's processes; its broker is away."""
    create_databases(postgres_url)
    settings = Settings(_env_file=None, home=tmp_path / "home", kafka_servers=f"127.0.0.1:{free_port()}")
    return environment(settings, database)


@pytest.fixture
def instance(variables: dict[str, str], tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        found = dg.DagsterInstance.from_config(str(dagster_home(tmp_path / "home")))
        found.wipe()
        yield found
        found.dispose()
