"""What is read of the prediction log, serving.prediction_log; see outcomes.py for what became of it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.warehouse.bulk import read_frame

MadeAt = Literal["predicted_at", "feature_time"]

REACH = 100_000
"""Newest answers that a sample is drawn from, whatever the time: what bounds its cost."""


def read_predictions(
    url: str, market: str | None = None, model_version: str | None = None, most: int | None = None
) -> pd.DataFrame:
    """What was answered: the champions' rows by id, of one market and one model if asked for.

    Args:
        most: only so many, the newest.

    Returns:
        id, predicted_at, match_id, market, variant, model_version, bento_tag, probabilities, features (a dict, or
        None), feature_time.
    """
    frame = read_frame(
        url,
        """SELECT id, predicted_at, match_id, market, variant, model_version, bento_tag, probabilities,
                  features::text AS features, feature_time
             FROM serving.prediction_log
            WHERE role = 'champion' AND ($1::text IS NULL OR market = $1) AND ($2::text IS NULL OR model_version = $2)
            ORDER BY id DESC LIMIT $3::bigint""",
        [market, model_version, most],
    )
    return _parsed(frame.iloc[::-1].reset_index(drop=True))


def read_shadow_pairs(
    url: str,
    made_at: MadeAt,
    date_only_start: dt.timedelta,
    market: str | None = None,
    challenger: str | None = None,
    champion: str | None = None,
) -> pd.DataFrame:
    """What a challenger and a champion said to the same request about a match that has its result.

    One pair for each match, market, challenger and champion: the last before the start of the match.

    Args:
        made_at: the column that tells when a prediction was made, see `performance.time_column`.
        date_only_start: when a match starts of which only the date is known.
        market, challenger, champion: only these, the latter two by model version.

    Returns:
        market, match_id, match_date, challenger, champion, challenger_probabilities, champion_probabilities,
        home_score, away_score; by market, versions and match.
    """
    return read_frame(
        url,
        f"""SELECT DISTINCT ON (hidden.market, challenger, champion, hidden.match_id)
                   hidden.market, hidden.match_id, m.match_date,
                   hidden.model_version AS challenger, shown.model_version AS champion,
                   hidden.probabilities AS challenger_probabilities, shown.probabilities AS champion_probabilities,
                   r.home_score, r.away_score
              FROM serving.prediction_log hidden
              JOIN serving.prediction_log shown USING (match_id, request_id, market, predicted_at)
              JOIN core.match m USING (match_id)
              JOIN core.result r USING (match_id)
             WHERE hidden.role = 'challenger' AND shown.role = 'champion'
               AND ($2::text IS NULL OR hidden.market = $2)
               AND ($3::text IS NULL OR hidden.model_version = $3)
               AND ($4::text IS NULL OR shown.model_version = $4)
               AND hidden.{made_at} <= r.known_at
               AND hidden.{made_at} < coalesce(
                       m.kickoff, (m.match_date + $1::float8 * interval '1 second') AT TIME ZONE 'UTC')
             ORDER BY hidden.market, challenger, champion, hidden.match_id,
                      hidden.{made_at} DESC, hidden.id DESC, shown.id DESC""",  # noqa: S608
        [date_only_start.total_seconds(), market, challenger, champion],
    )


def sample_online_reads(url: str, most: int = 2_000, days: int = 7, reach: int = REACH) -> pd.DataFrame:
    """A sample of the answers (champions' only) whose features came from the online store, by id.

    Of the newest `reach` answers of the last `days` days those `most` whose ids have the smallest SHA-256 (bottom-k
    sampling, Cohen and Kaplan 2007). So the same log gives the same sample in every process, version and collation of
    PostgreSQL, and a growing log changes it by few rows.

    Returns:
        id, predicted_at, match_id, market, features (dict), feature_read_at, and known_at: the time at which the
        features can be recomputed. That is the store's clock at the read; where a row is stamped with a time still to
        come (the decision time of a match without prices), it is that time.
    """
    frame = read_frame(
        url,
        """WITH newest AS (
               SELECT id, features IS NOT NULL AND feature_read_at IS NOT NULL AS online FROM serving.prediction_log
                WHERE role = 'champion' AND predicted_at > now() - $2::float8 * interval '1 day'
                ORDER BY predicted_at DESC, id DESC LIMIT $3::bigint),
           sample AS (
               SELECT id FROM newest WHERE online ORDER BY sha256(int8send(id)) LIMIT $1::bigint)
           SELECT id, predicted_at, match_id, market, features::text AS features, feature_read_at,
                  greatest(feature_read_at, feature_time) AS known_at
             FROM sample JOIN serving.prediction_log USING (id) ORDER BY id""",
        [most, float(days), reach],
    )
    return _parsed(frame)


def rewritten_since(url: str, table: str, ids: Sequence[int]) -> npt.NDArray[np.bool_]:
    """For each logged answer: was its row of features.<table> written anew after the answer was given?

    Its row is the newest that was known at the read. Where there is none, the match's rows have moved to later times,
    and any that was written since counts.
    """
    rows = f'FROM features."{table}" t WHERE t.match_id = l.match_id'
    frame = read_frame(
        url,
        f"""SELECT l.id, coalesce(
                  (SELECT t.updated_at > l.predicted_at {rows}
                      AND t.event_timestamp <= greatest(l.feature_read_at, l.feature_time)
                    ORDER BY t.event_timestamp DESC LIMIT 1),
                  (SELECT bool_or(t.updated_at > l.predicted_at) {rows}),
                  false) AS rewritten
             FROM serving.prediction_log l WHERE l.id = ANY($1)""",  # noqa: S608
        [[int(i) for i in ids]],
    )
    return frame.set_index("id")["rewritten"].reindex(list(ids), fill_value=False).to_numpy(np.bool_)


def _parsed(frame: pd.DataFrame) -> pd.DataFrame:
    parsed = [None if text is None else json.loads(text) for text in frame["features"]]
    return frame.assign(features=pd.Series(parsed, index=frame.index, dtype=object))
