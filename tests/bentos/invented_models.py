"""Small models on invented matches, and a free port."""

from __future__ import annotations

import socket

import numpy as np
import pandas as pd

from betting_assets.modelling.boosting import BoostingParams
from betting_assets.modelling.bundle import SERVED, Bundle
from betting_assets.modelling.dataset import Dataset
from betting_assets.modelling.markets import MARKETS
from betting_assets.modelling.variants import fit_variant

STRENGTH = ("elo_difference", "pi_goal_difference", "home_goals_for_short", "away_goals_for_short", "month")
PARAMS = BoostingParams(min_data_in_leaf=20, max_rounds=40, learning_rate=0.1, num_leaves=5, lambda_l2=1.0)
VERSIONS = {"1x2": "3", "over_under": "7"}


def invented_dataset(market: str, seed: int, rows: int = 900) -> Dataset:
    """Matches of no real league, whose trees have something to learn beside a biased market."""
    rng = np.random.default_rng(seed)
    spec = MARKETS[market]
    classes = len(spec.selections)
    frame = pd.DataFrame(rng.normal(size=(rows, len(STRENGTH))), columns=list(STRENGTH))
    scores = np.outer(frame["elo_difference"], np.linspace(0.8, -0.8, classes))
    truth = np.exp(scores + 0.8 * np.outer(frame["pi_goal_difference"] > 0.5, np.linspace(1, -1, classes)))
    truth /= truth.sum(axis=1, keepdims=True)
    price = np.exp(scores + rng.normal(scale=0.1, size=scores.shape))
    price /= price.sum(axis=1, keepdims=True)
    closing = np.sqrt(price * truth)
    frame[spec.market_columns] = price
    frame[spec.closing_columns] = closing / closing.sum(axis=1, keepdims=True)
    frame["outcome"] = (truth.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, classes - 1)
    frame.loc[rng.random(rows) < 0.1, "away_goals_for_short"] = np.nan
    dates = pd.Timestamp("2020-08-01") + pd.to_timedelta(np.arange(rows) // 5, unit="D")
    frame = frame.assign(
        match_id=[f"xx_{i}" for i in range(rows)],
        league=rng.choice(["XX", "YY"], rows),
        season="2021",
        match_date=dates,
        event_timestamp=dates.tz_localize("UTC"),
    )
    return Dataset(spec, frame, STRENGTH, {})


def invented_bundle(market: str, seed: int = 1) -> tuple[Bundle, pd.DataFrame]:
    dataset = invented_dataset(market, seed)
    bundle = Bundle(
        market=dataset.market,
        margin_method="power",
        variants={name: fit_variant(dataset, name, PARAMS) for name in SERVED},
        nullable=frozenset({"away_goals_for_short"}),
        data_hash=f"{seed:064d}",
        trained_at=pd.Timestamp("2021-06-01", tz="UTC").to_pydatetime(),
        training_rows=len(dataset),
    )
    return bundle, dataset.frame


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
