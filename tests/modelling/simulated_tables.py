"""Simulated history as feature tables and data sets, by the same functions as in the asset graph."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.betting.odds import MarginMethod
from betting_assets.modelling import feature_tables
from betting_assets.modelling.dataset import Dataset, assemble
from betting_assets.modelling.markets import modelled_market
from betting_assets.sources.batch import Batch


@dataclass(frozen=True)
class Tables:
    batch: Batch
    strength: pd.DataFrame
    prices: pd.DataFrame
    closing: pd.DataFrame

    def dataset(self, market: str = "1x2") -> Dataset:
        spec = modelled_market(market)
        return assemble(spec, self.batch.matches, self.batch.results, self.strength, self.prices, self.closing)


def tables_of(batch: Batch) -> Tables:
    matches, results = batch.matches, batch.results
    decided = feature_tables.decision_times(matches, feature_tables.first_quotes(batch.books))
    strength = feature_tables.match_strength(
        matches,
        feature_tables.ratings_table(matches, results, decided),
        feature_tables.form_table(matches, results, batch.statistics, decided),
    )
    prices = feature_tables.match_market(batch.books, reference="pinnacle", method=MarginMethod.POWER)
    closing = feature_tables.closing_line(batch.books, reference="pinnacle", method=MarginMethod.POWER)
    return Tables(batch, strength, prices, closing)


def with_frame(dataset: Dataset, **columns: object) -> Dataset:
    """The same data set with some columns replaced or added; it passes the leak check again."""
    return replace(dataset, frame=dataset.frame.assign(**columns))


def draw(probabilities: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.int64]:
    """One outcome a row of (n, k) probabilities."""
    u = np.random.default_rng(seed).random(len(probabilities))
    return (u[:, None] > np.cumsum(probabilities, axis=1)[:, :-1]).sum(axis=1).astype(np.int64)


def softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))
