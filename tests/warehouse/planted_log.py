"""A prediction log with what was said of invented matches, straight into the tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from betting_assets.warehouse.database import connect

FIRST_DAY = dt.date(2021, 8, 7)
KICKOFF = dt.time(15, 0)

MATCH = """INSERT INTO core.match (match_id, sport, league, season, rating_pool, match_date, kickoff, home, away,
                                  source)
           VALUES (%s, 'football', 'XX', '2122', 'x', %s, %s, 'ash', 'birch', 'test')"""
RESULT = "INSERT INTO core.result (match_id, home_score, away_score, known_at) VALUES (%s, %s, %s, %s)"
SAID = """INSERT INTO serving.prediction_log (predicted_at, request_id, match_id, market, variant, model_version,
                                            bento_tag, probabilities, features, feature_time, feature_read_at,
                                            served_by, role)
          VALUES (%s, %s, %s, %s, 'market_residual', %s, 'b', %s, %s, %s, %s, 'h:1', %s)"""


@dataclass(frozen=True)
class Said:
    """One row of the log. `at` is when it was predicted; the features are an hour older unless `features_at` is set."""

    match_id: str
    version: str
    at: dt.datetime
    probabilities: tuple[float, ...] = (0.5, 0.3, 0.2)
    role: str = "champion"
    request: str = "r"
    market: str = "1x2"
    features: str | None = None
    features_at: dt.datetime | None = None

    def by_challenger(self, version: str, *probabilities: float, **more: Any) -> Said:
        """What a challenger said to the same request."""
        said = probabilities or self.probabilities
        return replace(self, version=version, probabilities=said, role="challenger", features=None, **more)


def plant_match(
    url: str,
    match_id: str,
    date: dt.date = FIRST_DAY,
    score: tuple[int, int] | None = (2, 1),
    kickoff: bool = True,
    known_at: dt.datetime | None = None,
) -> None:
    starts = dt.datetime.combine(date, KICKOFF, dt.UTC) if kickoff else None
    known = known_at or dt.datetime.combine(date + dt.timedelta(days=1), dt.time(), dt.UTC)
    with connect(url) as connection:
        connection.execute(MATCH, [match_id, date, starts])
        if score is not None:
            connection.execute(RESULT, [match_id, *score, known])


def plant(url: str, said: Sequence[Said]) -> None:
    rows = []
    for one in said:
        features_at = one.features_at or one.at - dt.timedelta(hours=1)
        what = (one.version, list(one.probabilities), one.features, features_at, one.at, one.role)
        rows.append((one.at, one.request, one.match_id, one.market, *what))
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.executemany(SAID, rows)


def at(hour: int, minute: int = 0, date: dt.date = FIRST_DAY) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(hour, minute), dt.UTC)
