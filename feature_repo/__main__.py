"""Feast's own command with the platform's settings: `python -m feature_repo apply`."""

from __future__ import annotations

import os
import sys

from feast.cli.cli import cli

from betting_assets.settings import PROJECT_ROOT, settings
from betting_assets.warehouse.database import resolve_url
from feature_repo.store import FOLDER, environment, feature_store


def main() -> None:
    """Run `feast` on this folder. Opening the store first creates the registry's schema."""
    url = resolve_url(settings())
    feature_store(url)
    os.environ.update(environment(url))
    os.chdir(PROJECT_ROOT)
    cli(["--chdir", str(FOLDER), *sys.argv[1:]], prog_name="python -m feature_repo")


if __name__ == "__main__":
    main()
