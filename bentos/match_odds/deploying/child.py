"""How BentoML is started as a process of its own.

BENTOML_HOME is read when BentoML is first imported, so it can be chosen for a child only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from betting_assets.settings import NO_TELEMETRY

RESPAWN_SECONDS = 0.5
SERVE = f"""\
import functools, sys
import bentoml._internal.utils.circus as circus
circus.create_standalone_arbiter = functools.partial(circus.create_standalone_arbiter, check_delay={RESPAWN_SECONDS})
from bentoml_cli.cli import cli
sys.argv[0] = "bentoml"
cli()
"""
"""`bentoml` whose supervisor looks for dead workers every half second; by itself it does every ten.

A program in a string, because a module of ours would import this package before BentoML loads the Bento's own one.
"""


def bentoml_home(home: Path) -> Path:
    """BentoML's store below the platform's state folder, made if needed."""
    folder = home.resolve() / "bentoml"
    (folder / "bentos").mkdir(parents=True, exist_ok=True)
    return folder


def bentoml_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bentoml", *arguments]


def serve_command(*arguments: str) -> list[str]:
    """`bentoml serve`, with dead workers replaced at once."""
    return [sys.executable, "-c", SERVE, "serve", *arguments]


def child_environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment, without telemetry, with the state folder and BentoML's store below it."""
    own = {"BETTING_HOME": str(home.resolve()), "BENTOML_HOME": str(bentoml_home(home)), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **NO_TELEMETRY, **own, **more}
