"""How BentoML is started as a process of its own.

BENTOML_HOME is read when BentoML is first imported, so it can be chosen for a child only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from betting_assets.settings import NO_TELEMETRY


def bentoml_home(home: Path) -> Path:
    """BentoML's store below the platform's state folder, made if needed."""
    folder = home.resolve() / "bentoml"
    (folder / "bentos").mkdir(parents=True, exist_ok=True)
    return folder


def bentoml_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bentoml", *arguments]


def child_environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment, without telemetry, with the state folder and BentoML's store below it."""
    own = {"BETTING_HOME": str(home.resolve()), "BENTOML_HOME": str(bentoml_home(home)), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **NO_TELEMETRY, **own, **more}
