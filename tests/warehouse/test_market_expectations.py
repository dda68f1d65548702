"""The rules for best prices and suspensions fail on what they are there to find."""

from __future__ import annotations

import pandas as pd
import pytest

from betting_assets.betting.odds import MarginMethod
from betting_assets.modelling.feature_tables import match_market
from betting_assets.sources.simulator import SimulatorConfig, simulate
from betting_assets.warehouse.expectations import validate_frame
from betting_assets.warehouse.features import write_feature_table

TABLE = "features.match_market"


@pytest.fixture(scope="module")
def market() -> pd.DataFrame:
    books = simulate(SimulatorConfig(seed=5, leagues=("SIM1",), seasons=1)).batch.books
    return match_market(books, reference="pinnacle", method=MarginMethod.POWER)


@pytest.mark.parametrize(
    ("column", "value"),
    [("market_home_best_price", 1.0), ("market_under_best_price", 5000.0), ("market_1x2_suspended", 0.5)],
)
def test_an_implausible_value_fails(market: pd.DataFrame, column: str, value: float) -> None:
    result = validate_frame(TABLE, market.assign(**{column: market[column].where(market.index != 7, value)}))
    assert set(result.rules.loc[~result.rules["passed"], "column"]) == {column}


@pytest.mark.parametrize("column", ["market_away_best_price", "market_over_under_suspended"])
def test_rows_from_before_the_columns_pass(market: pd.DataFrame, column: str) -> None:
    result = validate_frame(TABLE, market.assign(**{column: market[column].where(market.index > 7)}))
    assert result.passed, result.markdown()


def test_a_table_without_the_columns_fails(market: pd.DataFrame) -> None:
    gone = [name for name in market if name.endswith(("_best_price", "_suspended"))]
    assert not validate_frame(TABLE, market.drop(columns=gone)).passed


def test_the_next_batch_gives_an_older_table_the_columns(market: pd.DataFrame, database: str) -> None:
    gone = [name for name in market if name.endswith(("_best_price", "_suspended"))]
    write_feature_table(database, "match_market", market.drop(columns=gone))
    assert write_feature_table(database, "match_market", market, replace=True).updated == len(market)
