"""Where history comes from: the user's football-data.co.uk files, or the built-in simulator."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import pandas as pd

from betting_assets.sources.batch import Batch
from betting_assets.sources.errors import SourceError
from betting_assets.sources.football_data import Partition, list_partitions, read_folder
from betting_assets.sources.simulator import SimulatedWorld, SimulatorConfig, simulate


class Source(Protocol):
    """A history of matches, cut into (league, season) partitions."""

    @property
    def name(self) -> str: ...

    def partitions(self) -> list[Partition]: ...

    def load(self, leagues: Collection[str] | None = None, seasons: Collection[str] | None = None) -> Batch: ...


@dataclass(frozen=True)
class FootballDataSource:
    """CSV files below a folder; `leagues` limits what is read (empty: all)."""

    folder: Path
    leagues: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "football-data"

    def partitions(self) -> list[Partition]:
        return [place for place in list_partitions(self.folder) if not self.leagues or place[0] in self.leagues]

    def load(self, leagues: Collection[str] | None = None, seasons: Collection[str] | None = None) -> Batch:
        return read_folder(self.folder, _both(self.leagues, leagues), seasons)


@dataclass(frozen=True)
class SimulatorSource:
    """Simulated leagues; the world is made once and cut as asked."""

    config: SimulatorConfig = field(default_factory=SimulatorConfig)
    leagues: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "simulator"

    def partitions(self) -> list[Partition]:
        leagues = self.leagues or self.config.leagues
        return [(league, season) for league in sorted(leagues) for season in self.config.season_codes]

    def load(self, leagues: Collection[str] | None = None, seasons: Collection[str] | None = None) -> Batch:
        return self._batch.select(leagues, seasons)

    @property
    def truth(self) -> pd.DataFrame:
        """The true probabilities, see SimulatedWorld."""
        return self._world.truth

    @cached_property
    def _world(self) -> SimulatedWorld:
        return simulate(self.config)

    @cached_property
    def _batch(self) -> Batch:
        return self._world.batch.select(self.leagues or None)


def configured_source(data: Path | None, leagues: Collection[str]) -> Source:
    """The files below `data`, or the simulator where there is none; only these leagues (empty: all).

    SourceError names a folder that is missing or has no CSV file, and a league that the source does not have.
    """
    codes = tuple(dict.fromkeys(code.strip() for code in leagues if code.strip()))
    source: Source = FootballDataSource(data) if data is not None else SimulatorSource()
    present = sorted({league for league, _ in source.partitions()})
    if not present:
        raise SourceError(f"{data}: no CSV file holds a match; expected football-data.co.uk files such as 1718/E0.csv")
    if strange := [code for code in codes if code not in present]:
        raise SourceError(
            f"league {', '.join(strange)} is not in {data or 'the simulator'}; present are {', '.join(present)}"
        )
    return FootballDataSource(data, codes) if data is not None else SimulatorSource(leagues=codes)


def _both(allowed: tuple[str, ...], asked: Collection[str] | None) -> Collection[str] | None:
    if not allowed:
        return asked
    return allowed if asked is None else [code for code in asked if code in allowed]
