"""The two feature views, one row a match, written at the decision time: when the odds to bet against were taken."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from feast import FeatureView, Field
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.types import FeastType, String

from feature_repo.columns import market_columns, strength_columns
from feature_repo.entities import match

TTL = dt.timedelta(days=30)
"""Rows are written at the very decision time; a longer reach only costs time in the point-in-time join."""


def _view(name: str, columns: Mapping[str, FeastType], description: str, stage: str) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[match],
        ttl=TTL,
        schema=[Field(name="match_id", dtype=String), *(Field(name=n, dtype=t) for n, t in columns.items())],
        source=PostgreSQLSource(
            name=f"{name}_table",
            table=f"features.{name}",
            timestamp_field="event_timestamp",
            description=f"Written by the asset {stage}.",
        ),
        online=True,
        description=description,
        tags={"asset": stage},
    )


match_strength = _view(
    "match_strength",
    strength_columns(),
    "Ratings and form of both teams, league and month, from results known at decision time. No odds.",
    "match_features",
)
match_market = _view(
    "match_market",
    market_columns(),
    "Before the close: margin-free probabilities and prices of the reference book, best prices, suspensions. "
    "Closing prices are never here.",
    "match_features",
)
