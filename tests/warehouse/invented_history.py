"""Small canonical frames with invented teams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from betting_assets.sources.batch import STATISTICS, Batch, frame

NAN = float("nan")


def batch(
    matches: Sequence[str] = ("xx_2021-08-07_ash_birch", "xx_2021-08-07_cedar_elm"),
    prices: Sequence[float] = (2.0, 3.5, NAN),
    line: float = 0.0,
    **more: Any,
) -> Batch:
    """One result, one row of statistics, and one 1x2 book of `prices` for each match."""
    ids, n = list(matches), len(matches)
    night = pd.Timestamp("2021-08-08", tz="UTC")
    frames = {
        "matches": frame(
            "matches",
            {
                "match_id": ids,
                "sport": ["football"] * n,
                "league": [name.split("_")[0].upper() for name in ids],
                "season": ["2122"] * n,
                "rating_pool": ["x"] * n,
                "match_date": [pd.Timestamp(name.split("_")[1]) for name in ids],
                "kickoff": [pd.NaT] * n,
                "home": [name.split("_")[2] for name in ids],
                "away": [name.split("_")[3] for name in ids],
            },
        ),
        "results": frame(
            "results", {"match_id": ids, "home_score": [2] * n, "away_score": [1] * n, "known_at": [night] * n}
        ),
        "statistics": frame("statistics", {"match_id": ids} | {name: [pd.NA] * n for name in STATISTICS}),
        "books": frame(
            "books",
            {
                "match_id": ids,
                "bookmaker": ["acme"] * n,
                "market": ["1x2"] * n,
                "line": [line] * n,
                "phase": ["pre_close"] * n,
                "prices": [list(prices)] * n,
                "taken_at": [night - pd.Timedelta("33h")] * n,
                "flag": [None] * n,
            },
        ),
    }
    return Batch(**(frames | more))
