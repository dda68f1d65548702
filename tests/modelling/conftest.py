from __future__ import annotations

import pytest
from hypothesis import settings
from simulated_tables import Tables, tables_of

from betting_assets.modelling.bundle import Bundle, fit_bundle
from betting_assets.modelling.evaluation import MODELS, Forecasts, walk_forward
from betting_assets.sources.simulator import SimulatorConfig, simulate

settings.register_profile("no_deadline", deadline=None)  # a shared machine may be slow; no test is about time
settings.load_profile("no_deadline")


@pytest.fixture(scope="session")
def tables() -> Tables:
    """A small simulated world: two leagues of ten teams, five seasons, 900 matches."""
    return tables_of(simulate(SimulatorConfig(seed=5, leagues=("SIM1", "SIM2"), seasons=5, teams=10)).batch)


@pytest.fixture(scope="session")
def forecasts(tables: Tables) -> Forecasts:
    """Out-of-sample 1x2 forecasts of the last two seasons of the small world."""
    dataset = tables.dataset()
    return walk_forward(dataset, dataset.seasons[-2:], MODELS)


@pytest.fixture(scope="session")
def bundle(tables: Tables) -> Bundle:
    return fit_bundle(tables.dataset(), "power", "a1b2")
