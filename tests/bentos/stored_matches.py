"""Three matches as the asset graph would leave them in the feature tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

DECIDED_AT = pd.Timestamp("2026-03-06 15:00", tz="UTC")
PRICED, UNPRICED, UNFIT = "xx_2026-03-07_a_b", "xx_2026-03-07_c_d", "xx_2026-03-07_e_f"
PRICES = {"home": 2.1, "draw": 3.4, "away": 5.2, "over": 1.8, "under": 2.2}
PROBABILITIES = {"market_home": 0.5, "market_draw": 0.3, "market_away": 0.2, "market_over": 0.55, "market_under": 0.45}


def feature_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables for three matches: one complete, one without prices, one without a feature that the model needs."""
    from feature_repo.columns import market_columns, strength_columns, typed

    ids = [PRICED, UNPRICED, UNFIT]
    keys = {"match_id": ids, "event_timestamp": [DECIDED_AT] * 3}
    rng = np.random.default_rng(5)
    strength = pd.DataFrame(keys | {name: rng.normal(size=3) for name in strength_columns()})
    strength = strength.assign(league="XX", last_input_at=DECIDED_AT)
    strength.loc[1, "away_goals_for_short"] = np.nan
    strength.loc[2, "elo_difference"] = np.nan
    market = pd.DataFrame(keys | {name: [PROBABILITIES.get(name, 1.0)] * 3 for name in market_columns()})
    for selection, price in PRICES.items():
        market[f"market_{selection}_best_price"] = price
    market.loc[1, [*PROBABILITIES, *(f"market_{selection}_best_price" for selection in PRICES)]] = np.nan
    market[["market_1x2_suspended", "market_over_under_suspended"]] = 0.0
    books = {name: "invented" for name in market if name.endswith("_book")}
    flags = {name: False for name in market if name.endswith("_fallback")}
    return typed(strength), typed(market.assign(**books, **flags))
