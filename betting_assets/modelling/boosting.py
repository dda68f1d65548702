"""LightGBM on top of a base forecast: trees may only add what the base does not know.

The base's log-probabilities are the `init_score`. For `market_residual` the base is the margin-free market, for
`fundamentals` a regularized linear model: started from nothing, trees lose to both (docs/evaluation.md).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from betting_assets.modelling.calibration import Calibration, clearly_better
from betting_assets.modelling.tree_scores import tree_scores

if TYPE_CHECKING:
    import lightgbm

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BoostingParams:
    """Small, heavily regularized trees: the signal beyond a good base is weak."""

    learning_rate: float = 0.02
    num_leaves: int = 6
    min_data_in_leaf: int = 150
    feature_fraction: float = 0.3
    bagging_fraction: float = 0.7
    lambda_l2: float = 30.0
    max_rounds: int = 400
    patience: int = 40
    seed: int = 7

    def for_lightgbm(self, classes: int) -> dict[str, Any]:
        return {
            "objective": "multiclass",
            "num_class": classes,
            "metric": "multi_logloss",
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_data_in_leaf,
            "feature_fraction": self.feature_fraction,
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": 1,
            "lambda_l2": self.lambda_l2,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            # One: on two busy cores two threads wait for each other ten times as long as they compute.
            "num_threads": 1,
            "verbosity": -1,
        }


@dataclass(frozen=True)
class Block:
    """Rows for one fit: values (n, features), base log-probabilities (n, k), outcomes (n,)."""

    values: Floats
    base: Floats
    outcomes: Ints

    def __getitem__(self, rows: Any) -> Block:
        return Block(self.values[rows], self.base[rows], self.outcomes[rows])


@dataclass(frozen=True)
class Folded:
    """What the time-ordered folds taught: how many rounds, and each fold's out-of-fold scores.

    `scores` (m, k) are raw tree scores without the base, for rows `rows` of the training block.
    """

    rounds: int
    rows: Ints
    scores: Floats


def time_ordered_folds(n: int, folds: int = 4) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Expanding windows over rows in order of time: train on all before a block, validate on the block.

    The blocks share the second half of the rows evenly, so that every fit has at least half of the data.
    """
    cuts = np.linspace(n // 2, n, folds + 1).astype(int)
    position = np.arange(n)
    return [(position < lo, (position >= lo) & (position < hi)) for lo, hi in itertools.pairwise(cuts)]


def fit_folds(block: Block, params: BoostingParams) -> Folded:
    """Choose the number of rounds by early stopping on the mean of time-ordered folds; keep out-of-fold scores there.

    Zero rounds is an answer: then no trees are clearly better than the base alone.
    """
    import lightgbm as lgb

    folds = [(np.flatnonzero(train), np.flatnonzero(valid)) for train, valid in time_ordered_folds(len(block.outcomes))]
    classes = block.base.shape[1]
    history: dict[str, Any] = lgb.cv(
        params.for_lightgbm(classes),
        _lgb_data(block),
        num_boost_round=params.max_rounds,
        folds=folds,
        callbacks=[lgb.early_stopping(params.patience, verbose=False)],
        return_cvbooster=True,
    )
    rounds = 1 + int(np.argmin(history["valid multi_logloss-mean"]))
    rows = np.concatenate([valid for _, valid in folds])
    scores = np.vstack(
        [
            raw_scores(booster, block.values[valid], classes, rounds)
            for booster, (_, valid) in zip(history["cvbooster"].boosters, folds, strict=True)
        ]
    )
    known, untouched, as_is = block[rows], np.zeros_like(scores), Calibration()
    if clearly_better(as_is.apply(known.base, scores), as_is.apply(known.base, untouched), known.outcomes):
        return Folded(rounds, rows, scores)
    return Folded(0, rows, untouched)


def fit_all(block: Block, params: BoostingParams, rounds: int) -> lightgbm.Booster | None:
    """Fit on every row with a known number of rounds; None for zero rounds."""
    import lightgbm as lgb

    if rounds == 0:
        return None
    return lgb.train(params.for_lightgbm(block.base.shape[1]), _lgb_data(block), num_boost_round=rounds)


def raw_scores(booster: lightgbm.Booster | None, values: Floats, classes: int, rounds: int | None = None) -> Floats:
    """Scores that the trees add to the base, (n, classes); zero without trees."""
    if booster is None:
        return np.zeros((len(values), classes))
    if rounds is None:
        return tree_scores(booster, values, classes)
    scores = booster.predict(values, raw_score=True, num_iteration=rounds, num_threads=1)
    return np.asarray(scores, dtype=np.float64).reshape(len(values), classes)


def _lgb_data(block: Block) -> lightgbm.Dataset:
    import lightgbm as lgb

    return lgb.Dataset(block.values, block.outcomes, init_score=block.base, free_raw_data=False)
