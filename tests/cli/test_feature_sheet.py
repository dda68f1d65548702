"""`betting features show`, against a real PostgreSQL and Feast."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from feast import FeatureStore
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parent.parent / "feature_repo"))

from invented_features import FRIDAY, rows, write

from betting_assets.feature_sheet import FeatureSheet, feature_sheet
from betting_assets.operate import OperationError
from betting_assets.settings import Settings
from betting_assets.warehouse.features import write_feature_table
from feature_repo.operations import apply_definitions, materialize_upcoming
from feature_repo.store import feature_store, forget

HOUR = dt.timedelta(hours=1)
NOON = FRIDAY.to_pydatetime()


@pytest.fixture
def chosen(database: str, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, database_url=SecretStr(database))


@pytest.fixture
def store(database: str) -> Iterator[FeatureStore]:
    """A store with features of one match, decided on Friday."""
    store = feature_store(database)
    apply_definitions(store)
    write(database, ["a"], [FRIDAY])
    materialize_upcoming(store, FRIDAY, FRIDAY)
    yield store
    forget()


def cells(sheet: FeatureSheet) -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in sheet.rows}


def test_what_is_served_stands_beside_what_training_would_see(chosen: Settings, store: FeatureStore) -> None:
    sheet = feature_sheet(chosen, "a")
    expected = rows("match_market", ["a"], [FRIDAY], seed=2)["market_home_price"][0]
    assert cells(sheet)["market_home_price"] == [f"{expected:.6g}", f"{expected:.6g}", ""]
    assert all(row[3] == "" for row in sheet.rows)
    assert sheet.views == [
        f"{view}: PRESENT, row of 2021-03-05 15:00 UTC, 0:00:00 old" for view in ("match_strength", "match_market")
    ]


def test_a_feature_that_differs_between_the_stores_is_marked(
    chosen: Settings, store: FeatureStore, database: str
) -> None:
    stored = rows("match_market", ["a"], [FRIDAY], seed=2)
    write_feature_table(database, "match_market", stored.assign(market_home_price=77.5))
    sheet = feature_sheet(chosen, "a")
    assert cells(sheet)["market_home_price"][1:] == ["77.5", "differs"]
    assert sum(row[3] == "differs" for row in sheet.rows) == 1


def test_at_a_time_only_what_was_known_then_is_shown(chosen: Settings, store: FeatureStore, database: str) -> None:
    later = rows("match_market", ["a"], [FRIDAY + HOUR * 2], seed=2).assign(market_home_price=77.5)
    write_feature_table(database, "match_market", later)
    before, after = (feature_sheet(chosen, "a", NOON + HOUR * n) for n in (1, 3))
    assert cells(before)["market_home_price"] != cells(after)["market_home_price"] == ["77.5"]
    with pytest.raises(OperationError, match="no features that were known at 2021-03-05 14:00 UTC"):
        feature_sheet(chosen, "a", NOON - HOUR)


def test_an_unknown_match_is_refused(chosen: Settings, store: FeatureStore) -> None:
    with pytest.raises(OperationError, match="nobody has no features, online or offline"):
        feature_sheet(chosen, "nobody")


def test_definitions_that_were_never_applied_are_told(chosen: Settings, database: str) -> None:
    with pytest.raises(OperationError, match="not in the registry: run `python -m feature_repo apply`"):
        feature_sheet(chosen, "a")
    forget()
