"""What is kept of models in schema `ml`: snapshots, out-of-sample forecasts, evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from psycopg.types.json import Jsonb

from betting_assets.json_files import finite
from betting_assets.warehouse import tables
from betting_assets.warehouse.bulk import read_frame, upsert
from betting_assets.warehouse.database import connect

if TYPE_CHECKING:
    from collections.abc import Sequence


def record_snapshot(
    url: str, market: str, service: str, digest: str, rows: int, columns: Sequence[str], path: str
) -> None:
    """Enter a training snapshot, or note that the same data were frozen again just now."""
    with connect(url) as connection:
        connection.execute(
            """INSERT INTO ml.training_snapshot (snapshot_hash, market, feature_service, rows, columns, path)
               VALUES (%s, %s, %s, %s, %s, %s)
               ON CONFLICT (snapshot_hash) DO UPDATE SET path = EXCLUDED.path, created_at = now()""",
            [digest, market, service, rows, list(columns), path],
        )


def find_snapshot(url: str, market: str, digest: str | None = None) -> tuple[str, str]:
    """Hash and path of a market's newest snapshot, or of the one named.

    Raises:
        LookupError: there is none.
    """
    with connect(url) as connection:
        found = connection.execute(
            """SELECT snapshot_hash, path FROM ml.training_snapshot
                WHERE market = %s AND (%s::text IS NULL OR snapshot_hash = %s) ORDER BY created_at DESC LIMIT 1""",
            [market, digest, digest],
        ).fetchone()
    if found is None:
        raise LookupError(f"no training snapshot {digest or ''} for {market}: materialize training_set first")
    return str(found[0]), str(found[1])


def record_evaluation(
    url: str,
    run_id: str,
    market: str,
    match_ids: pd.Series,
    test_seasons: pd.Series,
    probabilities: Mapping[str, np.ndarray],
    metrics: Mapping[str, Mapping[str, Any]],
) -> None:
    """Keep each forecaster's out-of-sample probabilities (n, k) and its metrics; the same run again replaces them."""
    for variant, values in probabilities.items():
        there = np.isfinite(values).all(axis=1)
        frame = pd.DataFrame(
            {
                "run_id": run_id,
                "market": market,
                "variant": variant,
                "match_id": match_ids[there].to_numpy(),
                "probabilities": list(values[there]),
                "test_season": test_seasons[there].to_numpy(),
            }
        )
        if len(frame):
            upsert(url, tables.walk_forward_prediction, frame)
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO ml.evaluation (run_id, market, variant, metrics) VALUES (%s, %s, %s, %s)
               ON CONFLICT (run_id, market, variant) DO UPDATE SET metrics = EXCLUDED.metrics, created_at = now()""",
            [(run_id, market, variant, Jsonb(finite(dict(values)))) for variant, values in metrics.items()],
        )


def read_forecasts(url: str, run_id: str, market: str, variant: str) -> pd.DataFrame:
    """Out-of-sample forecasts of one evaluated candidate: match_id, probabilities (a list each)."""
    return read_frame(
        url,
        """SELECT match_id, probabilities FROM ml.walk_forward_prediction
            WHERE run_id = $1 AND market = $2 AND variant = $3""",
        [run_id, market, variant],
    )
