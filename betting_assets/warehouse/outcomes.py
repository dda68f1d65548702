"""What became of the logged predictions, in serving.prediction_outcome: found by match, so that little is read.

The log has wide rows and grows by the minute; its index by match and the narrow outcomes tell which matches have
something to settle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pandas as pd

from betting_assets.warehouse import tables
from betting_assets.warehouse.bulk import UpsertCounts, merge, read_frame, stage
from betting_assets.warehouse.database import adbc
from betting_assets.warehouse.predictions import MadeAt

OPEN = "AND NOT EXISTS (SELECT FROM serving.prediction_outcome o WHERE o.prediction_id = l.id)"


def settled_by_match(url: str) -> pd.DataFrame:
    """By what the outcomes were settled: match_id, market, outcome, settled_at, and how many rows say so (n)."""
    return read_frame(
        url,
        """SELECT match_id, market, outcome, settled_at, count(*) AS n FROM serving.prediction_outcome
            GROUP BY match_id, market, outcome, settled_at""",
    )


def logged_by_match(url: str) -> pd.DataFrame:
    """Rows of the log by match, with its result: match_id, n, home_score, away_score, known_at (NaT without result)."""
    return read_frame(
        url,
        """SELECT match_id, n, home_score, away_score, known_at
             FROM (SELECT match_id, count(*) AS n FROM serving.prediction_log GROUP BY match_id) logged
             LEFT JOIN core.result USING (match_id) ORDER BY match_id""",
    )


def read_logged(url: str, match_ids: Sequence[str], *, unsettled: bool = False) -> pd.DataFrame:
    """The log of these matches, both roles, with their results; `unsettled`: only rows that have no outcome.

    Returns:
        prediction_id, predicted_at, feature_time, match_id, market, probabilities, home_score, away_score, known_at.
    """
    return read_frame(
        url,
        f"""SELECT l.id AS prediction_id, l.predicted_at, l.feature_time, l.match_id, l.market, l.probabilities,
                  r.home_score, r.away_score, r.known_at
             FROM serving.prediction_log l LEFT JOIN core.result r USING (match_id)
            WHERE l.match_id = ANY($1) {OPEN if unsettled else ""} ORDER BY l.id""",  # noqa: S608
        [list(match_ids)],
    )


def write_outcomes(url: str, outcomes: pd.DataFrame, without: Sequence[int] = ()) -> UpsertCounts:
    """Make these the outcomes of their predictions, and let the predictions `without` have none, in one transaction.

    The same again changes nothing.
    """
    columns = [column.name for column in tables.prediction_outcome.columns]
    with adbc(url) as connection:
        deleted = 0
        if without:
            with connection.cursor() as cursor:
                cursor.execute(
                    """WITH gone AS (DELETE FROM serving.prediction_outcome WHERE prediction_id = ANY($1) RETURNING 1)
                       SELECT count(*) FROM gone""",
                    [[int(number) for number in without]],
                )
                deleted = int(cursor.fetchall()[0][0])
        stage(connection, tables.prediction_outcome, outcomes[columns])
        counts = merge(connection, tables.prediction_outcome, columns)
    return UpsertCounts(counts.inserted, counts.updated, counts.unchanged, deleted)


def count_outcomes(url: str) -> int:
    """How many predictions are settled."""
    return int(read_frame(url, "SELECT count(*) AS n FROM serving.prediction_outcome")["n"].iloc[0])


def newest_outcomes(url: str, most: int = 10) -> pd.DataFrame:
    """The outcomes of the newest predictions, newest first."""
    return read_frame(
        url, "SELECT * FROM serving.prediction_outcome ORDER BY prediction_id DESC LIMIT $1::bigint", [most]
    )


def read_counting_outcomes(
    url: str,
    made_at: MadeAt,
    date_only_start: dt.timedelta,
    market: str | None = None,
    model_version: str | None = None,
) -> pd.DataFrame:
    """The outcomes that a model is judged by: of each match, market, model version and role the last prediction before
    the start; of two made at one moment the later in the log.

    Args:
        made_at: the column that tells when a prediction was made, see `performance.time_column`.
        date_only_start: when a match starts of which only the date is known.
        market, model_version: only these.

    Returns:
        prediction_id, match_id, market, model_version, role, variant, match_date, predicted_at, settled_at, outcome,
        probabilities, log_loss, rps, brier; by prediction_id.
    """
    return read_frame(
        url,
        f"""WITH counting AS MATERIALIZED (
               SELECT DISTINCT ON (o.match_id, o.market, l.model_version, l.role) o.prediction_id, m.match_date
                 FROM serving.prediction_outcome o
                 JOIN serving.prediction_log l ON l.id = o.prediction_id
                 JOIN core.match m ON m.match_id = o.match_id
                WHERE l.{made_at} <= o.settled_at
                  AND l.{made_at} < coalesce(
                          m.kickoff, (m.match_date + $1::float8 * interval '1 second') AT TIME ZONE 'UTC')
                  AND ($2::text IS NULL OR o.market = $2) AND ($3::text IS NULL OR l.model_version = $3)
                ORDER BY o.match_id, o.market, l.model_version, l.role, l.{made_at} DESC, o.prediction_id DESC)
           SELECT prediction_id, o.match_id, o.market, l.model_version, l.role, l.variant, c.match_date,
                  l.predicted_at, o.settled_at, o.outcome, l.probabilities, o.log_loss, o.rps, o.brier
             FROM counting c
             JOIN serving.prediction_outcome o USING (prediction_id)
             JOIN serving.prediction_log l ON l.id = prediction_id
            ORDER BY prediction_id""",  # noqa: S608
        [date_only_start.total_seconds(), market, model_version],
    )
