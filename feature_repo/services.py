"""A feature service for every model, `{market}_{variant}`, and `{market}_training` for the table it is trained on.

Training also needs the prices (for the backtest) and the time of the newest input (for the leakage check). `serving` is
what the Bento reads: one look at the store gives every market, and what tells whether a bet is of value.
"""

from __future__ import annotations

from feast import FeatureService

from betting_assets.modelling.dataset import NOT_FEATURES
from betting_assets.modelling.markets import MARKETS, ModelledMarket, modelled_market
from feature_repo.columns import strength_columns
from feature_repo.views import match_market, match_strength

SERVING = "serving"


def _services(spec: ModelledMarket) -> list[FeatureService]:
    name, strength = spec.market.value, match_strength[_strength()]
    return [
        FeatureService(
            name=f"{name}_fundamentals",
            features=[strength],
            description=f"What the {name} model reads of a match without odds.",
            tags={"market": name},
        ),
        FeatureService(
            name=f"{name}_market_residual",
            features=[strength, match_market[spec.market_columns]],
            description=f"What the {name} model reads of a match with odds.",
            tags={"market": name},
        ),
        FeatureService(
            name=f"{name}_training",
            features=[match_strength, match_market[[*spec.market_columns, *spec.price_columns]]],
            description=f"Training table of {name}: features, prices, and the time of the newest input.",
            tags={"market": name},
        ),
    ]


def _strength() -> list[str]:
    return [name for name in strength_columns() if name not in NOT_FEATURES]


def _serving() -> FeatureService:
    columns = [
        name
        for spec in MARKETS.values()
        for name in (*spec.market_columns, *spec.best_price_columns, spec.suspended_column)
    ]
    return FeatureService(
        name=SERVING,
        features=[match_strength[_strength()], match_market[columns]],
        description="What the Bento reads of a match, for all markets: features, best prices, suspensions.",
    )


FEATURE_SERVICES = [*(service for spec in MARKETS.values() for service in _services(spec)), _serving()]
globals().update({service.name: service for service in FEATURE_SERVICES})
"""The `feast` command finds definitions only as attributes of a module."""


def feature_service(market: str, variant: str) -> FeatureService:
    """The service `{market}_{variant}`. Raises ValueError for a market or variant that has none."""
    return _named(f"{modelled_market(market).market.value}_{variant}")


def serving_service() -> FeatureService:
    """The service that the Bento reads."""
    return _named(SERVING)


def _named(name: str) -> FeatureService:
    for service in FEATURE_SERVICES:
        if service.name == name:
            return service
    raise ValueError(f"no feature service {name}; there are {', '.join(service.name for service in FEATURE_SERVICES)}")


def feature_names(service: FeatureService) -> list[str]:
    """Columns in the order of their definition: the order in which Feast returns them changes between processes."""
    return [feature.name for view in service.feature_view_projections for feature in view.features]
