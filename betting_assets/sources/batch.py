"""`Batch`: what every source hands over, as one data frame per canonical record."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

UTC_TIME = "datetime64[ns, UTC]"
STATISTICS = tuple(
    f"{side}_{what}"
    for what in ("shots", "shots_on_target", "corners", "yellow_cards", "red_cards")
    for side in ("home", "away")
)

FRAMES: dict[str, dict[str, str]] = {
    "matches": {
        "match_id": "object",
        "sport": "object",
        "league": "object",
        "season": "object",
        "rating_pool": "object",
        "match_date": "datetime64[ns]",
        "kickoff": UTC_TIME,
        "home": "object",
        "away": "object",
    },
    "results": {"match_id": "object", "home_score": "int64", "away_score": "int64", "known_at": UTC_TIME},
    "statistics": {"match_id": "object"} | dict.fromkeys(STATISTICS, "Int64"),
    "books": {
        "match_id": "object",
        "bookmaker": "object",
        "market": "object",
        "line": "float64",
        "phase": "object",
        "prices": "object",
        "taken_at": UTC_TIME,
        "flag": "object",
    },
    "rejected": {"file": "object", "line": "int64", "reason": "object", "content": "object"},
}
"""Columns and dtypes of every frame. `prices` holds lists of floats in order of SELECTIONS[market], missing: NaN."""

_REPLACED_TOGETHER = {
    "matches": ["match_id"],
    "results": ["match_id"],
    "statistics": ["match_id"],
    "books": ["match_id", "bookmaker", "market", "phase"],
}


def frame(name: str, columns: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """A frame with the columns, order and dtypes of FRAMES[name]; without columns: empty."""
    data = columns if columns is not None else {}
    return pd.DataFrame({key: pd.Series(data.get(key, []), dtype=dtype) for key, dtype in FRAMES[name].items()})


@dataclass(frozen=True)
class Batch:
    """Canonical records of one read; every frame has the columns and dtypes of `FRAMES`.

    A match without a row in `results` is a fixture. `rejected` holds rows ("row: ...") that were left out and single
    cells ("cell: ...") that were left empty. `warnings` are for the person who brought the data.
    """

    matches: pd.DataFrame = field(default_factory=lambda: frame("matches"))
    results: pd.DataFrame = field(default_factory=lambda: frame("results"))
    statistics: pd.DataFrame = field(default_factory=lambda: frame("statistics"))
    books: pd.DataFrame = field(default_factory=lambda: frame("books"))
    rejected: pd.DataFrame = field(default_factory=lambda: frame("rejected"))
    warnings: list[str] = field(default_factory=list)

    @staticmethod
    def merge(batches: Iterable[Batch]) -> Batch:
        """All records together; what a later batch says about a match replaces what an earlier one said.

        Replaced are whole rows of matches, results and statistics, and all books of one bookmaker, market and phase
        of a match (so that a corrected handicap line does not leave the old one behind). What the later batch does
        not mention stays: a fixtures file read after a season's file takes no result away.
        """
        parts = list(batches)
        merged = {name: _stack(name, [getattr(part, name) for part in parts]) for name in FRAMES}
        warnings = list(dict.fromkeys(text for part in parts for text in part.warnings))
        return Batch(**merged, warnings=warnings)

    def select(self, leagues: Collection[str] | None = None, seasons: Collection[str] | None = None) -> Batch:
        """The records of these leagues and seasons; None: all. Rejected rows and warnings stay."""
        wanted = pd.Series(True, index=self.matches.index)
        if leagues is not None:
            wanted &= self.matches["league"].isin(list(leagues))
        if seasons is not None:
            wanted &= self.matches["season"].isin(list(seasons))
        if wanted.all():
            return self
        return self.keep(self.matches.loc[wanted, "match_id"])

    def keep(self, match_ids: Collection[str] | pd.Series[str]) -> Batch:
        """The records of these matches only."""
        kept = {
            item.name: (table := getattr(self, item.name))[table["match_id"].isin(match_ids)].reset_index(drop=True)
            for item in fields(self)
            if item.name in _REPLACED_TOGETHER
        }
        return Batch(**kept, rejected=self.rejected, warnings=self.warnings)


def _stack(name: str, tables: list[pd.DataFrame]) -> pd.DataFrame:
    tables = [table for table in tables if len(table)]
    if not tables:
        return frame(name)
    if len(tables) == 1:
        return tables[0].reset_index(drop=True)
    together = pd.concat(tables, ignore_index=True)
    keys = _REPLACED_TOGETHER.get(name)
    if keys is None:
        return together.drop_duplicates(ignore_index=True)
    part = pd.Series(np.repeat(np.arange(len(tables)), [len(table) for table in tables]))
    if not pd.DataFrame({"id": together["match_id"], "part": part}).drop_duplicates().duplicated("id").any():
        return together
    newest = part.groupby([together[key] for key in keys], sort=False).transform("max")
    return together[part == newest].reset_index(drop=True)
