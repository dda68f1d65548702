"""The simulator's held back match days as a feed."""

from __future__ import annotations

from betting_assets.settings import Settings
from betting_assets.sources.errors import SourceError
from betting_assets.sources.feed import Event
from betting_assets.sources.hold_back import hold_back_last_match_days
from betting_assets.sources.simulation.live import Shift, match_days
from betting_assets.sources.simulator import SimulatedWorld
from betting_assets.sources.source import SimulatorSource, configured_source


def simulated_match_days(
    settings: Settings, days: int = 1, *, seed: int = 1, ticks_per_match: int = 60, plant: Shift | None = None
) -> list[list[Event]]:
    """Live events of the last `days` match days of the simulated world that the settings name, oldest first.

    Raises:
        SourceError: the settings name files, not the simulator.
    """
    source = configured_source(settings.data, settings.leagues.split(","))
    if not isinstance(source, SimulatorSource):
        raise SourceError(f"{settings.data}: live simulation needs the simulator; unset BETTING_DATA")
    world = SimulatedWorld(source.load(), source.truth)
    _, held = hold_back_last_match_days(world.batch, days)
    return match_days(world, held, seed, ticks_per_match, plant)
