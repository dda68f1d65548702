"""The built Bento over HTTP: the same bits as in process, and a reason for every refusal."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pandas as pd
import psutil
import pytest

from bentos.match_odds.champions import Champions
from bentos.match_odds.client import MatchOddsClient, MatchOddsError
from bentos.match_odds.contract import MAX_BODY, Row
from bentos.match_odds.known_answers import KnownAnswer
from bentos.match_odds.runner import RunningBento
from bentos.match_odds.scoring import score
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
    return [a.probabilities for a in score(champions, [Row(market="1x2", features=f) for f in rows])]  # type: ignore[arg-type]


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
        lines = [line for line in text.splitlines() if line.startswith("bentoml_service_adaptive_batch_size_count")]
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


def test_the_batch_route_answers_row_by_row(running: RunningBento, known: list[KnownAnswer]) -> None:
    sent = [answer.row().model_dump(mode="json") for answer in known]
    sent[1]["features"].pop("month")
    answers = httpx.post(f"{running.url}/v1/batch", json={"rows": sent}).json()
    assert "missing feature 'month'" in answers[1]["error"]
    good = [i for i in range(len(known)) if i != 1]
    assert [answers[i]["probabilities"] for i in good] == [known[i].probabilities for i in good]


def changed(rows: list[Features], **changes: Any) -> str:
    return json.dumps({"market": "1x2", "rows": [rows[1], rows[1] | changes]})


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


def score_body(rows: list[Features], **other: Any) -> dict[str, Any]:
    return {"market": "1x2", "rows": rows} | other


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
        ("score", lambda r: score_body([r[1] | {"league": "X" * 81}]), 400, "rows.0.league"),
        ("score", lambda r: score_body([r[1] | {"league": "a\u0000b"}]), 400, "rows.0.league"),
        ("score", lambda r: score_body("x"), 400, "rows: Input should be a valid array"),
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


@pytest.mark.parametrize("path", ["score", "predict", "batch"])
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
    for path in ("score", "predict", "batch"):
        response = httpx.get(f"{running.url}/v1/{path}")
        assert response.status_code == 405
        assert "POST" in response.headers["allow"]


def test_probes_answer(running: RunningBento) -> None:
    assert httpx.get(f"{running.url}/livez").status_code == 200
    assert httpx.get(f"{running.url}/readyz").status_code == 200


def test_the_service_listens_on_loopback_only(running: RunningBento) -> None:
    parent = psutil.Process(running.pid)
    listening = [
        connection.laddr.ip
        for process in (parent, *parent.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert set(listening) == {"127.0.0.1"}


def test_what_is_sent_is_not_in_the_log(running: RunningBento, client: MatchOddsClient, rows: list[Features]) -> None:
    client.score("1x2", [rows[1] | {"league": "very-private"}])
    with pytest.raises(MatchOddsError):
        client.score("1x2", [rows[1] | {"league": "very-private", "very-private": 1.0}])
    httpx.post(f"{running.url}/v1/batch", json={"rows": [{"market": "very-private"}]})
    assert "very-private" not in running.log.read_text()
