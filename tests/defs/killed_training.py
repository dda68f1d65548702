"""A training for the tests to kill, as a program: evaluates 1x2 on the platform that the environment names."""

from __future__ import annotations

import dagster as dg
from worlds import WORLD, Graph

from betting_assets.defs.resources import Platform
from betting_assets.settings import settings
from betting_assets.sources.source import SimulatorSource

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        Graph(Platform(settings(), SimulatorSource(WORLD)), instance).materialize("model_evaluation", partition="1x2")
