"""Predictions by match id: features from the real online store, answers in the real prediction log."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psycopg
import pytest
from invented_models import free_port

from bentos.match_odds.champions import Champions
from bentos.match_odds.client import MatchOddsClient, MatchOddsError
from bentos.match_odds.contract import Row
from bentos.match_odds.runner import RunningBento
from bentos.match_odds.scoring import score
from betting_assets.warehouse.database import connect, with_database
from betting_assets.warehouse.features import write_feature_table

pytestmark = pytest.mark.services

DECIDED_AT = pd.Timestamp("2026-03-06 15:00", tz="UTC")
PRICED, UNPRICED, UNFIT = "xx_2026-03-07_a_b", "xx_2026-03-07_c_d", "xx_2026-03-07_e_f"
PROBABILITIES = {"market_home": 0.5, "market_draw": 0.3, "market_away": 0.2, "market_over": 0.55, "market_under": 0.45}


def feature_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables for three matches: one complete, one without prices, one without a feature that the model needs."""
    from feature_repo.columns import market_columns, strength_columns, typed

    ids = [PRICED, UNPRICED, UNFIT]
    keys = {"match_id": ids, "event_timestamp": [DECIDED_AT] * 3}
    rng = np.random.default_rng(5)
    strength = pd.DataFrame(keys | {name: rng.normal(size=3) for name in strength_columns()})
    strength = strength.assign(league="XX", last_input_at=DECIDED_AT)
    strength.loc[1, "away_goals_for_short"] = np.nan
    strength.loc[2, "elo_difference"] = np.nan
    market = pd.DataFrame(keys | {name: [PROBABILITIES.get(name, 1.0)] * 3 for name in market_columns()})
    market.loc[1, list(PROBABILITIES)] = np.nan
    books = {name: "invented" for name in market if name.endswith("_book")}
    flags = {name: False for name in market if name.endswith("_fallback")}
    return typed(strength), typed(market.assign(**books, **flags))


@pytest.fixture(scope="module")
def store_url(postgres_url: str, _migrated_template: str) -> Iterator[str]:
    """A database whose online store holds three matches."""
    from feature_repo.operations import apply_definitions, materialize_upcoming
    from feature_repo.store import feature_store, forget

    url = with_database(postgres_url, "bentos")
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE bentos TEMPLATE {_migrated_template}")
    strength, market = feature_tables()
    write_feature_table(url, "match_strength", strength)
    write_feature_table(url, "match_market", market)
    store = feature_store(url)
    apply_definitions(store)
    materialize_upcoming(store, DECIDED_AT - dt.timedelta(days=1), DECIDED_AT + dt.timedelta(days=1))
    yield url
    forget()
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE bentos WITH (FORCE)")


@pytest.fixture(scope="module")
def stored_bento(tag: str, home: Path, store_url: str) -> Iterator[RunningBento]:
    with RunningBento(tag, free_port(), home, store_url) as bento:
        yield bento


@pytest.fixture
def stored(stored_bento: RunningBento) -> Iterator[MatchOddsClient]:
    with MatchOddsClient(stored_bento.url) as client:
        yield client


def logged(url: str, request_id: str) -> list[tuple[Any, ...]]:
    """Rows of the prediction log for a request, as soon as there are any."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(200):
            found = connection.execute(
                "SELECT match_id, market, variant, model_version, bento_tag, probabilities, feature_time, features "
                "FROM serving.prediction_log WHERE request_id = %s ORDER BY match_id",
                [request_id],
            ).fetchall()
            if found:
                return found
            time.sleep(0.05)
    return []


def test_a_prediction_equals_the_bundle_on_the_stored_features_to_the_bit(
    stored: MatchOddsClient, champions: Champions
) -> None:
    strength, market = feature_tables()
    table = strength.merge(market, on="match_id").set_index("match_id")
    for name, match_id in itertools.product(champions, (PRICED, UNPRICED)):
        cells = table.loc[match_id, list(champions[name].bundle.features)]
        features = {str(key): None if pd.isna(value) else value for key, value in cells.items()}
        expected = score(champions, [Row(market=name, features=features)])[0]  # type: ignore[arg-type]
        (prediction,) = stored.predict(name, [match_id]).predictions
        assert (prediction.probabilities, prediction.variant) == (expected.probabilities, expected.variant)


def test_predictions_come_in_the_order_asked_for_with_the_age_of_their_features(stored: MatchOddsClient) -> None:
    predictions = stored.predict("1x2", [UNPRICED, PRICED, UNPRICED]).predictions
    assert [prediction.match_id for prediction in predictions] == [UNPRICED, PRICED, UNPRICED]
    assert predictions[0] == predictions[2]
    assert [prediction.variant for prediction in predictions[:2]] == ["fundamentals", "market_residual"]
    for prediction in predictions:
        assert prediction.feature_time == DECIDED_AT
        assert prediction.feature_age_seconds == 0.0
        assert prediction.feature_ages == {"match_strength": 0.0, "match_market": 0.0}


def test_unknown_matches_are_named(stored: MatchOddsClient) -> None:
    with pytest.raises(MatchOddsError, match="404: no features for 1 of the matches: xx_nowhere") as caught:
        stored.predict("1x2", [PRICED, "xx_nowhere"])
    assert caught.value.status == 404


def test_stored_features_that_do_not_fit_the_model_are_a_conflict(stored: MatchOddsClient) -> None:
    with pytest.raises(MatchOddsError, match=f"stored features of {UNFIT}: feature 'elo_difference' is null") as caught:
        stored.predict("1x2", [PRICED, UNFIT])
    assert caught.value.status == 409


def test_every_answered_match_is_logged_with_what_it_was_answered_from(
    stored_bento: RunningBento, stored: MatchOddsClient, store_url: str
) -> None:
    body = {"market": "over_under", "match_ids": [PRICED, UNPRICED]}
    answer = httpx.post(f"{stored_bento.url}/v1/predict", json=body, headers={"x-request-id": "mine-1"}).json()
    expected = [
        (p["match_id"], "over_under", p["variant"], "7", stored_bento.tag, p["probabilities"], DECIDED_AT)
        for p in answer["predictions"]
    ]
    found = logged(store_url, "mine-1")
    assert [row[:-1] for row in found] == expected
    features = {card.market.value: card.features for card in stored.models().models}["over_under"]
    assert all(set(row[-1]) == set(features) for row in found)
    assert found[0][-1]["market_over"] == 0.55
    assert found[1][-1]["market_over"] is None


def test_an_unreachable_store_is_said_and_explicit_features_are_still_scored(
    stored_bento: RunningBento, stored: MatchOddsClient, store_url: str
) -> None:
    name = store_url.rsplit("/", 1)[1].partition("?")[0]
    with connect(with_database(store_url, "postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        with pytest.raises(MatchOddsError, match=r"the online store (cannot be reached|did not answer)") as caught:
            stored.predict("1x2", [PRICED])
        assert caught.value.status == 503
        assert stored_bento.ask_known() > 0
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    end = time.monotonic() + 40.0
    body = {"market": "1x2", "match_ids": [PRICED]}
    while (answer := httpx.post(f"{stored_bento.url}/v1/predict", json=body, timeout=10.0)).status_code == 503:
        assert time.monotonic() < end, f"the store did not come back: {answer.text}"
    assert answer.status_code == 200
