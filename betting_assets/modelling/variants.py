"""A variant: base forecast + trees + calibration, for one market.

`market_residual` starts from the margin-free market, `fundamentals` from a linear model on the same features, so that
it needs no odds. `fundamentals_linear` is that linear model alone, the challenger.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.betting import goal_model
from betting_assets.modelling.boosting import Block, BoostingParams, fit_all, fit_folds, raw_scores, time_ordered_folds
from betting_assets.modelling.calibration import Calibration, fit_calibration
from betting_assets.modelling.linear import LinearModel, fit_linear, log_softmax

if TYPE_CHECKING:
    import lightgbm

    from betting_assets.modelling.dataset import Dataset

Floats = npt.NDArray[np.float64]


class VariantName(StrEnum):
    FUNDAMENTALS = "fundamentals"
    FUNDAMENTALS_LINEAR = "fundamentals_linear"
    MARKET_RESIDUAL = "market_residual"
    ODDS_AS_FEATURES = "odds_as_features"
    """A baseline, not for serving: trees that see the odds as plain features."""


@dataclass(frozen=True)
class Variant:
    """A fitted variant. `features` are numeric columns; `league` is used beside them by the linear base."""

    name: VariantName
    features: tuple[str, ...]
    market_columns: tuple[str, ...]
    linear: LinearModel | None
    booster: lightgbm.Booster | None
    calibration: Calibration

    @property
    def needs_market(self) -> bool:
        return self.linear is None

    def predict(self, frame: pd.DataFrame) -> Floats:
        """Probabilities (n, k), rows summing to 1, from a frame that has `features`, `league`, market columns."""
        values = numeric(frame, self.features)
        market = numeric(frame, self.market_columns) if self.needs_market else None
        return self.predict_values(values, frame["league"].to_numpy(dtype=object), market)

    def predict_values(self, values: Floats, leagues: npt.NDArray[np.object_], market: Floats | None) -> Floats:
        """The same from arrays: `features` as (n, features), leagues (n,), the market's probabilities (n, k)."""
        base = self._base(values, leagues, market)
        trees = raw_scores(self.booster, values, base.shape[1])
        return self.calibration.apply(base, trees)

    def _base(self, values: Floats, leagues: npt.NDArray[np.object_], market: Floats | None) -> Floats:
        if self.linear is not None:
            return self.linear.log_probabilities(values, leagues)
        if market is None:
            raise ValueError(f"{self.name} needs the market's probabilities")
        return np.asarray(np.log(market))


def numeric(frame: pd.DataFrame, features: tuple[str, ...]) -> Floats:
    """The feature columns as (n, features) float64, NaN for missing."""
    return frame[list(features)].to_numpy(dtype=np.float64, na_value=np.nan)


def market_log_probabilities(frame: pd.DataFrame, columns: tuple[str, ...]) -> Floats:
    return np.asarray(np.log(frame[list(columns)].to_numpy(dtype=np.float64)))


def feature_columns(dataset: Dataset, name: VariantName) -> tuple[str, ...]:
    """The numeric features of a variant: strength for all, market probabilities where the variant sees odds."""
    strength = tuple(column for column in dataset.strength if column != "league")
    if name in (VariantName.MARKET_RESIDUAL, VariantName.ODDS_AS_FEATURES):
        return (*strength, *dataset.market.market_columns)
    return strength


def fit_variant(dataset: Dataset, name: VariantName, params: BoostingParams | None = None) -> Variant:
    """Fit one variant on every row of `dataset`, which must be in order of time.

    The number of trees, their shrinkage and the temperature are chosen on time-ordered folds, out of fold.
    """
    params = params or BoostingParams()
    features = feature_columns(dataset, name)
    market_columns = tuple(dataset.market.market_columns)
    values = numeric(dataset.frame, features)
    leagues = dataset.frame["league"].to_numpy(dtype=object)
    linear, base, base_out_of_fold = _fit_base(dataset, name, features, values, leagues)
    if name is VariantName.FUNDAMENTALS_LINEAR:
        rows, fold_base = base_out_of_fold
        trees = np.zeros_like(fold_base)
        calibration = fit_calibration(fold_base, trees, dataset.outcomes[rows])
        return Variant(name, features, market_columns, linear, None, calibration)
    block = Block(values, base, dataset.outcomes)
    folded = fit_folds(block, params)
    calibration = fit_calibration(base_out_of_fold[1], folded.scores, dataset.outcomes[folded.rows])
    booster = fit_all(block, params, folded.rounds)
    return Variant(name, features, market_columns, linear, booster, calibration)


def _fit_base(
    dataset: Dataset,
    name: VariantName,
    features: tuple[str, ...],
    values: Floats,
    leagues: npt.NDArray[np.object_],
) -> tuple[LinearModel | None, Floats, tuple[npt.NDArray[np.int64], Floats]]:
    """The base model, its log-probabilities on all rows, and its out-of-fold log-probabilities with their rows."""
    classes = len(dataset.market.selections)
    folds = time_ordered_folds(len(dataset))
    rows = np.concatenate([np.flatnonzero(valid) for _, valid in folds])
    if name is VariantName.MARKET_RESIDUAL:
        base = market_log_probabilities(dataset.frame, tuple(dataset.market.market_columns))
        return None, base, (rows, base[rows])
    if name is VariantName.ODDS_AS_FEATURES:
        return _no_base(features, values, dataset.outcomes, classes, rows)

    def fit(some: npt.NDArray[np.bool_]) -> LinearModel:
        return fit_linear(features, values[some], leagues[some], dataset.outcomes[some], classes, goal_model.COLUMNS)

    linear = fit(np.ones(len(dataset), dtype=bool))
    out_of_fold = [fit(train).log_probabilities(values[valid], leagues[valid]) for train, valid in folds]
    return linear, linear.log_probabilities(values, leagues), (rows, np.vstack(out_of_fold))


def _no_base(
    features: tuple[str, ...],
    values: Floats,
    outcomes: npt.NDArray[np.int64],
    classes: int,
    rows: npt.NDArray[np.int64],
) -> tuple[LinearModel, Floats, tuple[npt.NDArray[np.int64], Floats]]:
    """A base that knows the base rates only, written as a linear model without weights."""
    rates = np.log(np.bincount(outcomes, minlength=classes) / len(outcomes))
    zeros, ones = np.zeros(len(features)), np.ones(len(features))
    constant = LinearModel(features, (), zeros, ones, np.zeros((len(features), classes)), rates)
    base = log_softmax(np.tile(rates, (len(values), 1)))
    return constant, base, (rows, base[rows])
