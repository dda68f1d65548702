"""The built Bento over HTTP: the same bits as in process, and a reason for every refusal."""

from __future__ import annotations

import ipaddress
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pandas as pd
import psutil
import pytest

from bentos.match_odds.client import MatchOddsClient, MatchOddsError
from bentos.match_odds.contract import MAX_BODY, Reason, ScoreRow, Staking
from bentos.match_odds.deploying.runner import RunningBento
from bentos.match_odds.model.champions import Champions
from bentos.match_odds.model.scoring import model_row, score
from betting_assets.modelling.bundle import Bundle

pytestmark = pytest.mark.services
Features = dict[str, Any]


@pytest.fixture(scope="module")
def rows(trained: dict[str, tuple[Bundle, pd.DataFrame]]) -> list[Features]:
    """300 rows of market 1x2 as a client would send them; every seventh has no prices."""
    bundle, table = trained["1x2"]
    cells = table.head(300)[list(bundle.features)].astype(object).where(lambda frame: frame.notna(), None)
    found: list[Features] = cells.to_dict("records")
    for features in found[::7]:
        features |= dict.fromkeys(bundle.market.market_columns)
    return found


def in_process(champions: Champions, rows: list[Features]) -> list[list[float]]:
    return [answer.probabilities for answer in score([model_row(champions["1x2"], features) for features in rows])]


def over_http(client: MatchOddsClient, rows: list[Features]) -> list[list[float]]:
    return [prediction.probabilities for prediction in client.score("1x2", rows).predictions]


def test_http_answers_equal_the_bundle_to_the_bit(
    client: MatchOddsClient, champions: Champions, rows: list[Features]
) -> None:
    assert over_http(client, rows[:256]) == in_process(champions, rows[:256])


def test_rows_of_concurrent_requests_share_batches_and_keep_their_bits(
    running: RunningBento, client: MatchOddsClient, champions: Champions, rows: list[Features]
) -> None:
    def batches() -> float:
        text = httpx.get(f"{running.url}/metrics").text
        lines = [line for line in text.splitlines() if line.startswith("betting_batch_rows_count")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    before = batches()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda features: over_http(client, [features])[0], rows))
    assert answers == in_process(champions, rows)
    assert batches() - before < len(rows)


def test_an_answer_says_who_gave_it_and_what_it_is_worth(
    running: RunningBento, client: MatchOddsClient, rows: list[Features]
) -> None:
    answer = client.score("1x2", rows[:2])
    assert (answer.bento, answer.model_version) == (running.tag, "3")
    assert answer.selections == ["home", "draw", "away"]
    assert [prediction.variant for prediction in answer.predictions] == ["fundamentals", "market_residual"]
    for prediction in answer.predictions:
        assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-12)
        assert prediction.fair_odds == [1.0 / p for p in prediction.probabilities]


def test_models_lists_what_a_client_has_to_send(
    client: MatchOddsClient, trained: dict[str, tuple[Bundle, pd.DataFrame]]
) -> None:
    cards = {card.market.value: card for card in client.models().models}
    assert set(cards) == set(trained)
    for market, (bundle, _) in trained.items():
        assert cards[market].features == list(bundle.features)
        assert cards[market].data_hash == bundle.data_hash
        assert set(cards[market].nullable) == {"away_goals_for_short", *bundle.market.market_columns}


def test_the_way_into_the_batcher_is_not_open_from_outside(running: RunningBento) -> None:
    for path in ("/internal/batch", "/v1/batch", "/schema.json", "/v1/predict/", "/nothing"):
        response = httpx.post(f"{running.url}{path}", json={"rows": []})
        assert (response.status_code, "see /docs.json" in response.json()["error"]) == (404, True)


def changed(rows: list[Features], **changes: Any) -> str:
    return json.dumps(score_body([rows[1], rows[1] | changes]))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", '"NaN"', '"Infinity"', "true", "[]", "{}"])
@pytest.mark.parametrize("column", ["elo_difference", "away_goals_for_short", "market_home"])
def test_what_is_no_finite_number_is_refused_with_its_place(
    running: RunningBento, rows: list[Features], column: str, value: str
) -> None:
    body = changed(rows, **{column: "HERE"}).replace('"HERE"', value)
    response = httpx.post(f"{running.url}/v1/score", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    reason = response.json()["error"]
    assert "rows.1" in reason
    assert column in reason
    assert "number" in reason
    assert "\n" not in reason


def score_body(rows: Any, **other: Any) -> dict[str, Any]:
    return {"market": "1x2", "rows": [{"features": row} for row in rows]} | other


def priced(features: Features, prices: list[float]) -> dict[str, Any]:
    return {"market": "1x2", "rows": [{"features": features, "prices": prices}]}


@pytest.mark.parametrize(
    ("path", "make", "status", "reason"),
    [
        ("score", lambda r: score_body(r[:1], market="corners"), 400, "market: Input should be '1x2' or 'over_under'"),
        ("score", lambda r: score_body([]), 400, "rows: List should have at least 1 item"),
        ("score", lambda r: score_body(r[:257]), 400, "rows: List should have at most 256 items"),
        ("score", lambda r: score_body(r[:1], extra=1), 400, "extra: Extra inputs are not permitted"),
        ("score", lambda r: {"market": "1x2"}, 400, "rows: Field required"),
        ("score", lambda r: score_body([r[1] | {"referee": 1}]), 400, "rows.0: unexpected feature 'referee'"),
        ("score", lambda r: score_body([r[1] | {"month": None}]), 400, "rows.0: feature 'month' is null"),
        ("score", lambda r: score_body([{"league": "XX"}]), 400, "rows.0: missing features 'elo_difference'"),
        ("score", lambda r: score_body([r[1] | {"league": "X" * 81}]), 400, "rows.0.features.league"),
        ("score", lambda r: score_body([r[1] | {"league": "a\u0000b"}]), 400, "rows.0.features.league"),
        ("score", lambda r: {"market": "1x2", "rows": "x"}, 400, "rows: Input should be a valid array"),
        ("score", lambda r: priced(r[1], [2.0, 3.0]), 400, "rows.0.prices: give 3 prices, of home, draw, away"),
        ("score", lambda r: priced(r[1], [2.0, 3.0, 1.0]), 400, "rows.0.prices.2: Input should be greater than 1"),
        ("score", lambda r: priced(r[1], [2.0, 3.0, 1e5]), 400, "rows.0.prices.2: Input should be less than"),
        ("score", lambda r: score_body(r[1:2], staking={"kelly_fraction": 0}), 400, "staking.kelly_fraction: Input"),
        ("score", lambda r: score_body(r[1:2], staking={"max_stake": 1.5}), 400, "staking.max_stake: Input should"),
        ("score", lambda r: [], 400, "Input should be an object"),
        ("predict", lambda r: {"market": "1x2", "match_ids": []}, 400, "match_ids: List should have at least 1 item"),
        ("predict", lambda r: {"market": "1x2", "match_ids": ["x"] * 257}, 400, "match_ids: List should have at most"),
        ("predict", lambda r: {"market": "1x2", "match_ids": [7]}, 400, "match_ids.0: Input should be a valid string"),
        ("predict", lambda r: {"market": "1x2", "match_ids": ["x" * 201]}, 400, "match_ids.0: String should have at"),
        ("predict", lambda r: {"market": "1x2", "match_ids": ["../etc"]}, 400, "match_ids.0: String should match"),
        ("predict", lambda r: {"market": "1x2", "match_ids": ["x"]}, 503, "no online store"),
    ],
)
def test_a_bad_request_is_refused_in_one_line(
    running: RunningBento, rows: list[Features], path: str, make: Any, status: int, reason: str
) -> None:
    response = httpx.post(f"{running.url}/v1/{path}", json=make(rows))
    assert response.status_code == status
    error = response.json()["error"]
    assert reason in error
    assert "\n" not in error
    assert len(error) < 500


@pytest.mark.parametrize("path", ["score", "predict"])
@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"market=1x2", "application/x-www-form-urlencoded", 415),
        (b"\x80\x04N.", "application/vnd.bentoml+pickle", 415),
        (b" " * (MAX_BODY + 1), "application/json", 413),
    ],
)
def test_a_body_that_is_not_json_or_too_large_is_refused(
    running: RunningBento, path: str, body: bytes, kind: str, status: int
) -> None:
    response = httpx.post(f"{running.url}/v1/{path}", content=body, headers={"content-type": kind})
    assert response.status_code == status
    assert response.json()["error"]


def test_the_client_raises_the_reason(client: MatchOddsClient) -> None:
    with pytest.raises(MatchOddsError, match="400: rows: List should have at least 1 item") as caught:
        client.score("1x2", [])
    assert caught.value.status == 400


def test_the_wrong_method_is_refused(running: RunningBento) -> None:
    for path in ("score", "predict"):
        response = httpx.get(f"{running.url}/v1/{path}")
        assert response.status_code == 405
        assert response.json()["error"] == f"/v1/{path} takes POST"


def test_probes_answer(running: RunningBento) -> None:
    assert httpx.get(f"{running.url}/livez").status_code == 200
    ready = httpx.get(f"{running.url}/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "reasons": []})


def test_the_pages_for_people_are_served(running: RunningBento) -> None:
    page = httpx.get(f"{running.url}/")
    assert page.status_code == 200
    assert "docs.json" in page.text or "swagger" in page.text.lower()


@pytest.mark.parametrize(("given", "kept"), [("mine-7", True), ("x" * 81, False), ("", False)])
def test_an_answer_carries_the_clients_request_id_or_one_of_its_own(
    running: RunningBento, rows: list[Features], given: str, kept: bool
) -> None:
    response = httpx.post(f"{running.url}/v1/score", json=score_body(rows[1:2]), headers={"x-request-id": given})
    assert response.headers["x-request-id"] == response.json()["request_id"]
    assert (response.json()["request_id"] == given) is kept
    assert response.json()["request_id"]


def test_stakes_are_told_where_they_were_asked_for_and_there_are_prices(
    client: MatchOddsClient, rows: list[Features]
) -> None:
    with_prices = ScoreRow(features=rows[1], prices=[9.0, 9.0, 9.0])
    asked = client.score("1x2", [with_prices, rows[1]], staking=Staking(kelly_fraction=0.5, max_stake=0.1))
    first, second = asked.predictions
    assert first.edges == [p * 9.0 - 1.0 for p in first.probabilities]
    assert 0.0 < sum(first.stakes) <= 0.1 + 1e-12
    assert first.withheld is None
    assert second.withheld is not None
    assert second.withheld.reason is Reason.NO_ODDS
    assert set(second.withheld.fields) >= {"edges", "stakes"}
    unasked = client.score("1x2", [with_prices]).predictions[0]
    assert (unasked.edges, unasked.stakes, unasked.best_prices) == ([], [], [9.0, 9.0, 9.0])


def test_the_service_listens_on_loopback_only(running: RunningBento) -> None:
    parent = psutil.Process(running.pid)
    listening = [
        connection.laddr.ip
        for process in (parent, *parent.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    addresses = [ipaddress.ip_address(ip.removeprefix("::ffff:")) for ip in listening]  # as gRPC writes it
    assert all(address.is_loopback for address in addresses)


def test_what_is_sent_is_not_in_the_log(running: RunningBento, client: MatchOddsClient, rows: list[Features]) -> None:
    client.score("1x2", [rows[1] | {"league": "very-private"}])
    with pytest.raises(MatchOddsError):
        client.score("1x2", [rows[1] | {"league": "very-private", "very-private": 1.0}])
    httpx.post(f"{running.url}/v1/very-private", json={"rows": [{"market": "very-private"}]})
    assert "very-private" not in running.log.read_text()
