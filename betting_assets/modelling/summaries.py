"""Bundles and evaluations as flat tables: what a person, or MLflow, wants to see of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd

from betting_assets.modelling.boosting import BoostingParams
from betting_assets.modelling.bundle import Bundle
from betting_assets.modelling.variants import Variant


def parameters(bundle: Bundle) -> dict[str, Any]:
    """Hyperparameters and calibrations, named market.variant.parameter, for MLflow."""
    market = bundle.market.market.value
    calibrations = {
        f"{market}.{name.value}.{key}": value
        for name, variant in bundle.variants.items()
        for key, value in {**asdict(variant.calibration), "trees": _trees(variant)}.items()
    }
    return {**{f"{market}.{k}": v for k, v in asdict(BoostingParams()).items()}, **calibrations}


def _trees(variant: Variant) -> int:
    return 0 if variant.booster is None else int(variant.booster.current_iteration())


def calibrations(bundle: Bundle) -> pd.DataFrame:
    """Rounds, temperature and shrinkage of each variant."""
    return pd.DataFrame(
        [
            {
                "variant": name.value,
                "rounds": _trees(variant),
                "temperature": variant.calibration.temperature,
                "shrinkage": variant.calibration.shrinkage,
            }
            for name, variant in bundle.variants.items()
        ]
    )


def importance(bundle: Bundle) -> pd.DataFrame:
    """Total gain of the twenty strongest features of each variant that has trees."""
    parts = [
        pd.DataFrame(
            {"variant": name.value, "feature": variant.features, "gain": variant.booster.feature_importance("gain")}
        )
        for name, variant in bundle.variants.items()
        if variant.booster is not None
    ]
    if not parts:
        return pd.DataFrame({"variant": [], "feature": [], "gain": []})
    ordered = pd.concat(parts).sort_values(["variant", "gain"], ascending=[True, False])
    return ordered.groupby("variant").head(20)


def score_table(scores: dict[str, Any]) -> pd.DataFrame:
    """One row a forecaster, with its paired log-loss difference to the market before the close."""

    def flat(name: str, values: dict[str, Any]) -> dict[str, Any]:
        difference = values.get("diff_vs_market_pre", {}).get("log_loss", {})
        kept = {key: values.get(key) for key in ("n", "log_loss", "rps", "brier", "ece")}
        return {"model": name, **kept, **{f"vs_market_{key}": difference.get(key) for key in ("mean", "lo", "hi")}}

    return pd.DataFrame([flat(name, values) for name, values in scores.items()])


def bet_table(bets: dict[str, Any]) -> pd.DataFrame:
    """One row a model: paper bets, their closing-line value and their yield."""

    def flat(name: str, values: dict[str, Any]) -> dict[str, Any]:
        intervals = {
            f"{what}_{key}": values.get(what, {}).get(key) for what in ("clv", "yield") for key in ("mean", "lo", "hi")
        }
        return {"model": name, "bets": values["n"], **intervals}

    return pd.DataFrame([flat(name, values) for name, values in bets.items()])
