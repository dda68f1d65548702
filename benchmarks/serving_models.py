"""Invented upcoming matches and full-size models of both markets: what is served has the cost of the real thing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bentos.match_odds.model.known_answers import KnownAnswer, known_answers
from betting_assets.modelling.boosting import Block, BoostingParams, fit_all
from betting_assets.modelling.bundle import SERVED, Bundle
from betting_assets.modelling.calibration import Calibration
from betting_assets.modelling.linear import fit_linear
from betting_assets.modelling.markets import MARKETS, ModelledMarket
from betting_assets.modelling.variants import Variant, VariantName

TREES = 300
"""Of one variant in all; a round of boosting makes one for each outcome of the market."""

TRAINED_ON = 4_000
LEAGUES = ("E0", "SP1", "I1")
Market = str


@dataclass(frozen=True)
class Matches:
    """Both feature tables of upcoming matches; the same row is the same match."""

    strength: pd.DataFrame
    market: pd.DataFrame

    @property
    def ids(self) -> list[str]:
        return [str(name) for name in self.strength["match_id"]]

    def joined(self) -> pd.DataFrame:
        return self.strength.merge(self.market.drop(columns="event_timestamp"), on="match_id", validate="one_to_one")


def upcoming(count: int, seed: int = 11) -> Matches:
    """Matches whose odds were taken in the last hours, all with every feature and price."""
    from feature_repo.columns import market_columns, strength_columns, typed

    rng = np.random.default_rng(seed)
    times = pd.Timestamp.now("UTC").floor("s") - pd.to_timedelta(rng.uniform(1, 6, count), unit="h").floor("s")
    clubs = [f"{town}-{i:02}" for i in range(20) for town in ("northport", "eastham", "st-mary-vale", "oxbridge-town")]
    pairs = [rng.choice(clubs, 2, replace=False) for _ in range(count)]
    leagues = rng.choice(LEAGUES, count)
    day = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).date()
    ids = [f"{league.lower()}_{day}_{a}_{b}_{i}" for i, (league, (a, b)) in enumerate(zip(leagues, pairs, strict=True))]
    keys = {"match_id": ids, "event_timestamp": times}
    strength = pd.DataFrame(keys | {name: rng.normal(size=count) for name in strength_columns()})
    strength = strength.assign(league=leagues, last_input_at=times)
    market = pd.DataFrame(keys | {name: [1.0] * count for name in market_columns()})
    for spec in MARKETS.values():
        chances = _chances(rng, count, spec)
        market[spec.market_columns] = chances
        market[spec.price_columns] = 0.95 / chances
        market[spec.best_price_columns] = 0.99 / chances
        market[spec.suspended_column] = 0.0
    names = [str(name) for name in market]
    texts = {name: "invented" for name in names if name.endswith("_book")}
    flags = {name: False for name in names if name.endswith("_fallback")}
    return Matches(typed(strength), typed(market.assign(**texts, **flags)))


def numeric_strength() -> tuple[str, ...]:
    """Every number that the platform knows of a match without odds."""
    from feast.types import Float64

    from feature_repo.columns import strength_columns

    return tuple(name for name, kind in strength_columns().items() if kind == Float64)


def bundle(market: Market, seed: int) -> tuple[Bundle, list[KnownAnswer]]:
    """A model of every feature with `TREES` trees, and answers that it must give. Other seeds give other answers."""
    spec, names = MARKETS[market], numeric_strength()
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(TRAINED_ON, len(names)))
    leagues = rng.choice(np.array(LEAGUES, dtype=object), TRAINED_ON)
    chances = _chances(rng, TRAINED_ON, spec)
    truth = chances * np.exp(0.5 * np.outer(values[:, 0] + values[:, 1] ** 2, np.linspace(1, -1, chances.shape[1])))
    truth /= truth.sum(axis=1, keepdims=True)
    outcomes = (truth.cumsum(axis=1) < rng.random((TRAINED_ON, 1))).sum(axis=1).clip(0, chances.shape[1] - 1)
    linear = fit_linear(names, values, leagues, outcomes, chances.shape[1])
    bases = {VariantName.MARKET_RESIDUAL: np.log(chances), VariantName.FUNDAMENTALS: None}
    variants = {}
    for name in SERVED:
        base = bases[name] if bases[name] is not None else linear.log_probabilities(values, leagues)
        booster = fit_all(Block(values, base, outcomes), BoostingParams(), TREES // chances.shape[1])
        own = None if name is VariantName.MARKET_RESIDUAL else linear
        variants[name] = Variant(name, names, tuple(spec.market_columns), own, booster, Calibration())
    made = Bundle(spec, "power", variants, frozenset(), f"{seed:064d}", dt.datetime.now(dt.UTC), TRAINED_ON)
    table = pd.DataFrame(values, columns=list(names)).assign(league=leagues)
    table[spec.market_columns] = chances
    return made, known_answers(made, table)


def save(folder: Path, seed: int) -> tuple[dict[Market, Path], list[KnownAnswer], dict[Market, Bundle]]:
    """Bundles of all markets: their folders, known answers and selves."""
    folders, known, bundles = {}, [], {}
    for market in MARKETS:
        bundles[market], answers = bundle(market, seed)
        folders[market] = bundles[market].save(folder / market)
        known += answers
    return folders, known, bundles


def expected(bundles: dict[Market, Bundle], market: Market, matches: Matches) -> dict[str, list[float]]:
    """Match → probabilities, worked out in this process."""
    found = bundles[market].predict(matches.joined()).probabilities
    return dict(zip(matches.ids, found.tolist(), strict=True))


def _chances(rng: np.random.Generator, count: int, spec: ModelledMarket) -> np.ndarray:
    raw = np.exp(rng.normal(scale=0.4, size=(count, len(spec.selections))))
    return np.asarray(raw / raw.sum(axis=1, keepdims=True))


def in_turn(ids: Sequence[str], size: int, count: int, seed: int = 3) -> list[list[str]]:
    """`count` questions for `size` different matches each; where size is 1, every match comes as often as another."""
    if size == 1:
        return [[ids[i % len(ids)]] for i in range(count)]
    rng = np.random.default_rng(seed)
    return [[ids[i] for i in rng.choice(len(ids), size, replace=False).tolist()] for _ in range(count)]
