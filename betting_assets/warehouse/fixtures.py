"""The fixtures that can be predicted: matches to come, with features."""

from __future__ import annotations

import pandas as pd

from betting_assets.warehouse.bulk import read_frame

COLUMNS = ("match_id", "league", "match_date", "home", "away", "event_timestamp", "odds_time")


def upcoming_matches(url: str) -> pd.DataFrame:
    """Matches without a result that are not older than the newest result of their league, with their feature times."""
    made = read_frame(url, "SELECT to_regclass('features.match_market') IS NOT NULL AS made")["made"].iloc[0]
    if not made:
        return pd.DataFrame(columns=list(COLUMNS))
    return read_frame(
        url,
        """SELECT m.match_id, m.league, m.match_date, m.home, m.away, s.event_timestamp,
                  k.event_timestamp AS odds_time
             FROM core.match m
             JOIN (SELECT match_id, max(event_timestamp) AS event_timestamp
                     FROM features.match_strength GROUP BY match_id) s USING (match_id)
             LEFT JOIN (SELECT match_id, max(event_timestamp) AS event_timestamp
                          FROM features.match_market GROUP BY match_id) k USING (match_id)
             LEFT JOIN core.result r USING (match_id)
             LEFT JOIN (SELECT league, max(match_date) AS newest
                          FROM core.match JOIN core.result USING (match_id) GROUP BY league) l ON l.league = m.league
            WHERE r.match_id IS NULL AND (l.newest IS NULL OR m.match_date >= l.newest)
            ORDER BY m.match_date, m.match_id""",
    )
