"""The Dagster instance of the platform: its folder, its configuration, and the variables that the latter reads."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sqlalchemy import make_url

from betting_assets.settings import NO_TELEMETRY, PROJECT_ROOT, Settings

DATABASE = "dagster"


def dagster_home(home: Path) -> Path:
    """DAGSTER_HOME below the state folder, with the current dagster.yaml in it."""
    folder = home.resolve() / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT_ROOT / "dagster.yaml", folder / "dagster.yaml")
    return folder


def environment(settings: Settings, url: str) -> dict[str, str]:
    """Variables for every process of the platform: database, state folder, Dagster's storage, no telemetry.

    Args:
        url: of the platform's own database; Dagster's lies beside it on the same server.
    """
    database = make_url(url)
    home = settings.home.resolve()
    return {
        **NO_TELEMETRY,
        **settings.as_environment(),
        "BETTING_HOME": str(home),
        "BETTING_DATABASE_URL": url,
        "DAGSTER_HOME": str(dagster_home(home)),
        "BETTING_DAGSTER_LOGS": str(home / "logs" / "compute"),
        "BETTING_DAGSTER_PG_HOST": str(database.host),
        "BETTING_DAGSTER_PG_PORT": str(database.port or 5432),
        "BETTING_DAGSTER_PG_USER": str(database.username),
        "BETTING_DAGSTER_PG_PASSWORD": str(database.password or ""),
        "BETTING_DAGSTER_PG_DATABASE": DATABASE,
    }


def export(variables: dict[str, str]) -> None:
    """Set variables for this process and those it starts."""
    os.environ.update(variables)
