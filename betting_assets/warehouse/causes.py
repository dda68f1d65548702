"""What the database knows of the causes of a retraining: results since the newest training, and what was served."""

from __future__ import annotations

import datetime as dt
import json

import pandas as pd

from betting_assets.warehouse.bulk import read_frame
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.predictions import REACH


def newest_training(url: str, market: str) -> dt.datetime | None:
    """When the newest training set of a market was frozen; None where there is none."""
    with connect(url) as connection:
        row = connection.execute(
            "SELECT max(created_at) FROM ml.training_snapshot WHERE market = %s", [market]
        ).fetchone()
    return None if row is None else row[0]


def count_results_since(url: str, moment: dt.datetime) -> int:
    """Results that came or were corrected after `moment`."""
    with connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM core.result WHERE updated_at > %s", [moment]).fetchone()
    assert row is not None
    return int(row[0])


def served_versions(url: str) -> dict[str, str]:
    """Model version by market of the current deployment; empty where nothing is served."""
    with connect(url) as connection:
        row = connection.execute("SELECT market_versions FROM serving.deployment WHERE status = 'current'").fetchone()
    return {} if row is None else dict(row[0])


def newest_features(url: str, market: str, model_version: str, most: int, reach: int = REACH) -> pd.DataFrame:
    """The features that a champion was last given for each of the newest matches; a match counts once, however often it
    was asked for.

    Args:
        most: how many matches.
        reach: how many of the newest answers are looked at: what bounds the cost.

    Returns:
        One row a match, in order of the log: match_id, and a column for each feature.
    """
    frame = read_frame(
        url,
        """WITH newest AS (
               SELECT id, match_id FROM serving.prediction_log
                WHERE role = 'champion' AND market = $1 AND model_version = $2 AND features IS NOT NULL
                ORDER BY id DESC LIMIT $3::bigint),
           last AS (SELECT max(id) AS id FROM newest GROUP BY match_id ORDER BY 1 DESC LIMIT $4::bigint)
           SELECT l.match_id, l.features::text AS features
             FROM last JOIN serving.prediction_log l USING (id) ORDER BY l.id""",
        [market, model_version, reach, most],
    )
    features = pd.DataFrame([json.loads(one) for one in frame["features"]], index=frame.index)
    return pd.concat([frame[["match_id"]], features], axis=1)
