"""Rows for the two feature tables with invented matches and random values, in the declared columns and dtypes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from feast import ValueType

from betting_assets.warehouse.features import write_feature_table
from feature_repo.columns import market_columns, strength_columns

FRIDAY = pd.Timestamp("2021-03-05 15:00", tz="UTC")
TABLES = {"match_strength": strength_columns, "match_market": market_columns}


def rows(table: str, match_ids: Sequence[str], times: Sequence[pd.Timestamp], seed: int = 1) -> pd.DataFrame:
    """One row for each pair of match and time; about one number in ten is missing."""
    random = np.random.default_rng(seed)
    n = len(match_ids)
    frame = {"match_id": list(match_ids), "event_timestamp": pd.DatetimeIndex(times).as_unit("ns")}
    for name, kind in TABLES[table]().items():
        if kind.to_value_type() is ValueType.DOUBLE:
            frame[name] = np.where(random.random(n) < 0.1, np.nan, random.normal(size=n))
        elif kind.to_value_type() is ValueType.BOOL:
            frame[name] = random.random(n) < 0.5
        elif kind.to_value_type() is ValueType.STRING:
            frame[name] = random.choice(["north", "south"], n)
        else:
            frame[name] = frame["event_timestamp"].normalize() - pd.to_timedelta(random.integers(0, 30, n), "D")
    return pd.DataFrame(frame)


def write(url: str, match_ids: Sequence[str], times: Sequence[pd.Timestamp], seed: int = 1) -> dict[str, pd.DataFrame]:
    """Rows for both tables, written to the database and returned by table."""
    frames = {table: rows(table, match_ids, times, seed + i) for i, table in enumerate(TABLES)}
    for table, frame in frames.items():
        write_feature_table(url, table, frame)
    return frames


def side_by_side(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Both tables as one, for rows that were made in pairs."""
    return frames["match_strength"].merge(frames["match_market"], on=["match_id", "event_timestamp"])
