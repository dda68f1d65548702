"""The model bundle: everything needed to turn features into probabilities, in one folder of plain files.

One class with one `predict`, used by training, evaluation and the service alike. A row with market probabilities is
answered by `market_residual`, one without by `fundamentals`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.modelling.calibration import Calibration
from betting_assets.modelling.dataset import Dataset
from betting_assets.modelling.linear import LinearModel
from betting_assets.modelling.markets import ModelledMarket, modelled_market
from betting_assets.modelling.variants import Variant, VariantName, fit_variant, numeric

Floats = npt.NDArray[np.float64]

FORMAT = 1
SERVED = (VariantName.MARKET_RESIDUAL, VariantName.FUNDAMENTALS)


@dataclass(frozen=True)
class Prediction:
    """Probabilities (n, k) in order of the market's selections, and the variant that gave each row."""

    probabilities: Floats
    variants: tuple[str, ...]


@dataclass(frozen=True)
class Bundle:
    """Both variants of one market. `nullable` features may be missing, because training saw them missing."""

    market: ModelledMarket
    margin_method: str
    variants: Mapping[VariantName, Variant]
    nullable: frozenset[str]
    data_hash: str
    trained_at: dt.datetime
    training_rows: int

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Every column `predict` reads: strength features, `league`, and the market's probabilities."""
        return (*self.variants[VariantName.FUNDAMENTALS].features, "league", *self.market.market_columns)

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """`features` without the league: the columns of `predict_values`, those of the market last."""
        return tuple(name for name in self.features if name != "league")

    def predict(self, frame: pd.DataFrame, variant: VariantName | None = None) -> Prediction:
        """Probabilities for a frame with the columns `features`.

        Args:
            variant: forces one variant; by default each row gets the best that its features allow.

        Raises:
            KeyError: a feature column is missing from `frame`.
        """
        if variant is not None:
            return Prediction(self.variants[variant].predict(frame), (variant.value,) * len(frame))
        return self.predict_values(numeric(frame, self.numbers), frame["league"].to_numpy(dtype=object))

    def predict_values(self, values: Floats, leagues: npt.NDArray[np.object_]) -> Prediction:
        """The same from arrays, each row by the best variant: `numbers` as (n, numbers), NaN for missing; leagues (n,).

        What a row gets does not depend on the rows beside it, to the last bit.
        """
        market = values[:, -len(self.market.selections) :]
        priced = np.asarray(np.isfinite(market).all(axis=1))
        if priced.all() or not priced.any():
            name = SERVED[0] if len(priced) and priced[0] else SERVED[1]
            return Prediction(self._of_variant(name, values, leagues, market), (name.value,) * len(values))
        probabilities = np.empty(market.shape)
        for name, rows in zip(SERVED, (priced, ~priced), strict=True):
            probabilities[rows] = self._of_variant(name, values[rows], leagues[rows], market[rows])
        return Prediction(probabilities, tuple(SERVED[0 if p else 1].value for p in priced))

    def _of_variant(
        self, name: VariantName, values: Floats, leagues: npt.NDArray[np.object_], market: Floats
    ) -> Floats:
        variant = self.variants[name]
        return variant.predict_values(values[:, self._places[name]], leagues, market)

    @cached_property
    def _places(self) -> dict[VariantName, slice | list[int]]:
        """By variant, where its features are in `numbers`; a slice where they lead it, which copies nothing."""
        return {name: _places_of(self.numbers, self.variants[name].features) for name in SERVED}

    def save(self, folder: Path) -> Path:
        """Write bundle.json and one text file a booster into `folder`, which is made if needed."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, variant in self.variants.items():
            if variant.booster is not None:
                (folder / f"{name.value}.lgb.txt").write_text(variant.booster.model_to_string())
        (folder / "bundle.json").write_text(json.dumps(self._to_dict(), indent=1))
        return folder

    def _to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "market": self.market.market.value,
            "margin_method": self.margin_method,
            "nullable": sorted(self.nullable),
            "data_hash": self.data_hash,
            "trained_at": self.trained_at.isoformat(),
            "training_rows": self.training_rows,
            "variants": {name.value: _variant_to_dict(variant) for name, variant in self.variants.items()},
        }


def load_bundle(folder: Path) -> Bundle:
    """Read what `Bundle.save` wrote.

    Raises:
        FileNotFoundError: there is no bundle in `folder`.
        ValueError: it was written by another format version.
    """
    data = json.loads((folder / "bundle.json").read_text())
    if data["format"] != FORMAT:
        raise ValueError(f"{folder}: bundle format {data['format']}, this version reads {FORMAT}: train the model anew")
    return Bundle(
        market=modelled_market(data["market"]),
        margin_method=data["margin_method"],
        variants={VariantName(k): _variant_from_dict(VariantName(k), v, folder) for k, v in data["variants"].items()},
        nullable=frozenset(data["nullable"]),
        data_hash=data["data_hash"],
        trained_at=dt.datetime.fromisoformat(data["trained_at"]),
        training_rows=data["training_rows"],
    )


def fit_bundle(dataset: Dataset, margin_method: str, data_hash: str, names: Sequence[VariantName] = SERVED) -> Bundle:
    """Fit the served variants on every row of `dataset`."""
    strength = dataset.frame[list(dataset.strength)]
    return Bundle(
        market=dataset.market,
        margin_method=margin_method,
        variants={name: fit_variant(dataset, name) for name in names},
        nullable=frozenset(str(column) for column in strength.columns[strength.isna().any()]),
        data_hash=data_hash,
        trained_at=dt.datetime.now(dt.UTC),
        training_rows=len(dataset),
    )


def _places_of(numbers: Sequence[str], features: Sequence[str]) -> slice | list[int]:
    if tuple(numbers[: len(features)]) == tuple(features):
        return slice(len(features))
    return [numbers.index(name) for name in features]


def _variant_to_dict(variant: Variant) -> dict[str, Any]:
    return {
        "features": list(variant.features),
        "market_columns": list(variant.market_columns),
        "linear": variant.linear.to_dict() if variant.linear else None,
        "boosted": variant.booster is not None,
        "temperature": variant.calibration.temperature,
        "shrinkage": variant.calibration.shrinkage,
    }


def _variant_from_dict(name: VariantName, data: dict[str, Any], folder: Path) -> Variant:
    import lightgbm as lgb

    return Variant(
        name=name,
        features=tuple(data["features"]),
        market_columns=tuple(data["market_columns"]),
        linear=LinearModel.from_dict(data["linear"]) if data["linear"] else None,
        booster=lgb.Booster(model_file=str(folder / f"{name.value}.lgb.txt")) if data["boosted"] else None,
        calibration=Calibration(data["temperature"], data["shrinkage"]),
    )
