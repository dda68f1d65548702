"""The columns of the two feature tables and their Feast types, taken from the functions that make the tables.

There is no second list to keep in step: the functions run once on one invented match, and what comes out is what the
feature views declare. `typed` gives every frame that leaves Feast the same dtypes, so that training and serving agree.
"""

from __future__ import annotations

from functools import lru_cache

import pandas as pd
from feast import ValueType
from feast.types import Bool, FeastType, Float64, String, UnixTimestamp

from betting_assets.betting.odds import MarginMethod
from betting_assets.modelling.feature_tables import (
    KEYS,
    form_table,
    match_market,
    match_strength,
    ratings_table,
)
from betting_assets.modelling.markets import MARKETS

DTYPES = {
    ValueType.DOUBLE: "float64",
    ValueType.BOOL: "boolean",
    ValueType.STRING: "object",
    ValueType.UNIX_TIMESTAMP: "datetime64[ns, UTC]",
}
"""pandas dtype of each Feast type in use."""


DECIDED_AT = pd.Timestamp("2000-01-07 15:00", tz="UTC")
REFERENCE = "reference"


@lru_cache(maxsize=1)
def strength_columns() -> dict[str, FeastType]:
    """Name → type of every column of features.match_strength but its keys."""
    matches, results, statistics = _one_match()
    decided_at = pd.Series([DECIDED_AT])
    ratings = ratings_table(matches, results, decided_at)
    form = form_table(matches, results, statistics, decided_at)
    return _types(match_strength(matches, ratings, form))


@lru_cache(maxsize=1)
def market_columns() -> dict[str, FeastType]:
    """Name → type of every column of features.match_market but its keys."""
    return _types(match_market(_books_of_one_match(), reference=REFERENCE, method=MarginMethod.POWER))


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with the declared dtype for every feature column it has: float64, boolean, object or UTC nanoseconds."""
    declared = {**strength_columns(), **market_columns()}
    dtypes = {name: DTYPES[declared[name].to_value_type()] for name in frame.columns if name in declared}
    wrong = {name: dtype for name, dtype in dtypes.items() if frame[name].dtype != dtype}
    times = {name: pd.to_datetime(frame[name], utc=True) for name, dtype in wrong.items() if dtype.startswith("date")}
    return frame.assign(**times).astype(wrong)


def _types(table: pd.DataFrame) -> dict[str, FeastType]:
    return {str(name): _type(table[name]) for name in table.columns if name not in KEYS}


def _type(column: pd.Series) -> FeastType:
    """Counts are declared as Float64 too: they may be missing, and models read floats."""
    if pd.api.types.is_bool_dtype(column):
        return Bool
    if pd.api.types.is_numeric_dtype(column):
        return Float64
    if pd.api.types.is_datetime64_any_dtype(column):
        return UnixTimestamp
    return String


def _one_match() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Matches, results and statistics of one invented match."""
    key = {"match_id": ["x"]}
    matches = pd.DataFrame(
        key
        | {"league": ["x"], "season": ["0001"], "rating_pool": ["x"], "home": ["a"], "away": ["b"]}
        | {"match_date": pd.to_datetime(["2000-01-08"]), "kickoff": pd.to_datetime(["2000-01-08 15:00"], utc=True)}
    )
    results = pd.DataFrame(
        key | {"home_score": [1], "away_score": [0], "known_at": pd.to_datetime(["2000-01-09"], utc=True)}
    )
    counts = {f"{side}_{what}": [1.0] for side in ("home", "away") for what in ("shots", "shots_on_target")}
    return matches, results, pd.DataFrame(key | counts)


def _books_of_one_match() -> pd.DataFrame:
    """A book in every modelled market."""
    return pd.DataFrame(
        {
            "match_id": "x",
            "bookmaker": REFERENCE,
            "market": [spec.market.value for spec in MARKETS.values()],
            "line": [spec.line for spec in MARKETS.values()],
            "phase": "pre_close",
            "prices": [[0.95 * len(spec.selections)] * len(spec.selections) for spec in MARKETS.values()],
            "taken_at": DECIDED_AT,
            "flag": None,
        }
    )
