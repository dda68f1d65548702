"""The data of the feature store benchmark: matches, 60 features of theirs in four views, and Feast's definitions."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.types import FeastType, Float64, String

OFFLINE_SCHEMA = "offline"
NULLS = 0.05
LEAGUES = ("e0", "e1", "sp1", "i1", "d1", "f1", "n1", "p1")
NEWEST = pd.Timestamp.now("UTC").floor("min") - pd.Timedelta(days=1)
"""The newest event time of the first load; all of it lies within the views' time to live."""

COLUMNS: dict[str, dict[str, FeastType]] = {
    view: {f"{view}_{i:02}": Float64 for i in range(15)} for view in ("strength", "form", "goals", "market")
}
COLUMNS["market"]["market_14"] = String
FEATURES = [name for columns in COLUMNS.values() for name in columns]

match = Entity(name="match", join_keys=["match_id"], value_type=ValueType.STRING)


def _view(name: str, columns: dict[str, FeastType]) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[match],
        ttl=dt.timedelta(days=30),
        schema=[Field(name="match_id", dtype=String), *(Field(name=n, dtype=t) for n, t in columns.items())],
        source=PostgreSQLSource(
            name=f"{name}_table", table=f"{OFFLINE_SCHEMA}.{name}", timestamp_field="event_timestamp"
        ),
        online=True,
    )


def definitions() -> tuple[list[FeatureView], FeatureService]:
    """New objects for each store: Feast writes into what it applies."""
    views = [_view(name, columns) for name, columns in COLUMNS.items()]
    return views, FeatureService(name="benchmark", features=list(views))


def match_ids(n: int, seed: int = 0) -> list[str]:
    """n different ids such as e0-2021-03-05-sheffield-wed-07-leeds-12, of realistic length."""
    rng = np.random.default_rng(seed)
    clubs = [f"{town}-{i:02}" for i in range(20) for town in ("northport", "eastham", "st-mary-vale", "oxbridge-town")]
    days = np.datetime64("2004-08-01") + rng.integers(0, 7000, 2 * n)
    pairs = rng.choice(clubs, (2 * n, 2))
    leagues = rng.choice(LEAGUES, 2 * n)
    ids = dict.fromkeys(
        f"{league}-{day}-{home}-{away}" for league, day, (home, away) in zip(leagues, days, pairs, strict=True)
    )
    return list(ids)[:n]


def frame(view: str, ids: list[str], times: pd.DatetimeIndex | pd.Timestamp, seed: int) -> pd.DataFrame:
    """Feature rows of a view: match_id, event_timestamp (UTC, microseconds) and every feature, 5 % of them null."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(ids), len(COLUMNS[view])))
    values[rng.random(values.shape) < NULLS] = np.nan
    table = pd.DataFrame(values, columns=list(COLUMNS[view]))
    for name, kind in COLUMNS[view].items():
        if kind is String:
            names = pd.Series(rng.choice(LEAGUES, len(ids)), dtype=object)
            table[name] = names.where(table[name].notna(), None)
    table.insert(0, "match_id", pd.Series(ids, dtype=object))
    table.insert(1, "event_timestamp", times)
    return table.astype({"event_timestamp": "datetime64[us, UTC]"})


def first_load(n: int) -> dict[str, pd.DataFrame]:
    """One row a match and view, by view; event times over the last ten days."""
    ids = match_ids(n)
    hours = np.random.default_rng(1).uniform(0, 240, n)
    times = pd.DatetimeIndex(NEWEST - pd.to_timedelta(hours, unit="h"))
    return {view: frame(view, ids, times, seed) for seed, view in enumerate(COLUMNS, start=10)}
