"""The prediction log and what became of it, in schema `serving`."""

from __future__ import annotations

import json

import pandas as pd

from betting_assets.warehouse import tables
from betting_assets.warehouse.bulk import UpsertCounts, read_frame, upsert


def read_predictions(url: str, market: str | None = None, model_version: str | None = None) -> pd.DataFrame:
    """Rows of the log by id, of one market and one model if asked for; `features` as a dict, or None."""
    frame = read_frame(
        url,
        """SELECT id, predicted_at, match_id, market, variant, model_version, bento_tag, probabilities,
                  features::text AS features, feature_time
             FROM serving.prediction_log
            WHERE ($1::text IS NULL OR market = $1) AND ($2::text IS NULL OR model_version = $2)
            ORDER BY id""",
        [market, model_version],
    )
    parsed = [None if text is None else json.loads(text) for text in frame["features"]]
    return frame.assign(features=pd.Series(parsed, index=frame.index, dtype=object))


def write_outcomes(url: str, outcomes: pd.DataFrame) -> UpsertCounts:
    """Settled predictions (see performance.settle) into serving.prediction_outcome; the same again changes nothing."""
    columns = [column.name for column in tables.prediction_outcome.columns if column.name in outcomes.columns]
    return upsert(url, tables.prediction_outcome, outcomes[columns])
