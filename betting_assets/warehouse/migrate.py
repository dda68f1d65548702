"""Bring a database to the newest schema. The steps lie in migrations/versions; the goal is warehouse/tables.py."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from betting_assets.warehouse.database import engine

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(url: str) -> None:
    """Upgrade the database at `url`, all or nothing. Up to date: nothing happens. Processes at once take turns."""
    pool = engine(url)
    try:
        with pool.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('betting migrate'))"))
            command.upgrade(alembic_config(connection), "head")
    finally:
        pool.dispose()


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration without a file: where the steps lie, and the connection that they run on."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
