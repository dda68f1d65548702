"""Predictions by match id: features from the real online store, answers in the real prediction log."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import psycopg
import pytest
from invented_models import free_port
from stored_matches import DECIDED_AT, PRICED, PRICES, UNFIT, UNPRICED, feature_tables

from bentos.match_odds.client import MatchOddsClient
from bentos.match_odds.contract import Reason, ScoreRow, Staking
from bentos.match_odds.deploying.runner import RunningBento
from bentos.match_odds.model.champions import Champions
from bentos.match_odds.model.scoring import model_row, score
from betting_assets.warehouse.database import connect, with_database

pytestmark = pytest.mark.services


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
        expected = score([model_row(champions[name], features)])[0]
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
        assert prediction.cache_age_seconds is not None
        assert 0.0 <= prediction.cache_age_seconds <= 0.25


def test_edges_and_stakes_are_against_the_best_stored_prices(stored: MatchOddsClient) -> None:
    (one,) = stored.predict("1x2", [PRICED], staking=Staking(kelly_fraction=0.5, max_stake=0.1)).predictions
    best = [PRICES[selection] for selection in ("home", "draw", "away")]
    assert (one.best_prices, one.withheld) == (best, None)
    assert one.edges == [p * price - 1.0 for p, price in zip(one.probabilities, best, strict=True)]
    assert 0.0 <= sum(one.stakes) <= 0.1 + 1e-12
    assert one.market_probabilities == [0.5, 0.3, 0.2]


def test_what_cannot_be_told_of_one_match_is_withheld_with_its_reason_and_the_others_are_answered(
    stored: MatchOddsClient,
) -> None:
    asked = [PRICED, "xx_nowhere", UNFIT, UNPRICED]
    good, unknown, unfit, unpriced = stored.predict("1x2", asked, staking=Staking()).predictions
    assert good.withheld is None
    for prediction, detail in ((unknown, "xx_nowhere"), (unfit, "feature 'elo_difference' is null")):
        assert prediction.withheld is not None
        assert prediction.withheld.reason is Reason.MISSING_FEATURES
        assert detail in prediction.withheld.detail
        assert (prediction.probabilities, prediction.fair_odds, prediction.stakes) == ([], [], [])
    assert unpriced.withheld is not None
    assert unpriced.withheld.reason is Reason.NO_ODDS
    assert (unpriced.variant, len(unpriced.probabilities), unpriced.edges) == ("fundamentals", 3, [])


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


def test_without_its_store_it_says_so_scores_explicit_features_and_recovers_by_itself(
    stored_bento: RunningBento, stored: MatchOddsClient, store_url: str
) -> None:
    name = store_url.rsplit("/", 1)[1].partition("?")[0]
    body = {"market": "1x2", "match_ids": [PRICED]}
    with connect(with_database(store_url, "postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        until(lambda: httpx.post(f"{stored_bento.url}/v1/predict", json=body).status_code == 503)
        refused = httpx.post(f"{stored_bento.url}/v1/predict", json=body)
        assert "online store" in refused.json()["error"]
        assert int(refused.headers["retry-after"]) >= 1
        until(lambda: httpx.get(f"{stored_bento.url}/readyz").status_code == 503)
        assert "online store" in httpx.get(f"{stored_bento.url}/readyz").json()["reasons"][0]
        assert httpx.get(f"{stored_bento.url}/livez").status_code == 200
        assert not stored.ready()
        assert stored_bento.ask_known() > 0
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    until(lambda: httpx.post(f"{stored_bento.url}/v1/predict", json=body).status_code == 200)
    until(stored.ready)


def until(holds: Callable[[], bool], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "not within the time allowed"
        time.sleep(0.05)


def test_explicit_features_of_a_named_match_are_logged_as_a_prediction_by_id_is(
    stored_bento: RunningBento, store_url: str, champions: Champions
) -> None:
    strength, market = feature_tables()
    table = strength.merge(market, on="match_id").set_index("match_id")
    given = table.loc[PRICED, list(champions["1x2"].bundle.features)].to_dict()
    moment = DECIDED_AT.to_pydatetime() + dt.timedelta(microseconds=7)
    rows = [ScoreRow(features=given), ScoreRow(features=given, match_id="xx_named", feature_time=moment)]
    rows.append(ScoreRow(features=given, match_id="xx_timeless"))
    for name, url in (("http", stored_bento.url), ("grpc", f"grpc://127.0.0.1:{stored_bento.grpc_port}")):
        with MatchOddsClient(url) as client:
            answer = client.score("1x2", rows, request_id=f"named-{name}")
            by_id = client.predict("1x2", [PRICED], request_id=f"by-id-{name}")
        named, timeless = logged(store_url, f"named-{name}")
        [same] = logged(store_url, f"by-id-{name}")
        assert named[:7] == ("xx_named", *same[1:5], answer.predictions[1].probabilities, moment)
        assert named[5] == by_id.predictions[0].probabilities
        assert named[7] == same[7]
        assert (timeless[0], timeless[6]) == ("xx_timeless", None)
    with psycopg.connect(store_url) as connection:
        query = (
            "SELECT count(*) FROM serving.prediction_log WHERE request_id LIKE 'named-%' AND feature_read_at IS NULL"
        )
        assert connection.execute(query).fetchone() == (4,)
