"""The built Bento over gRPC: the same bits and the same refusals as over HTTP, whatever is sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pandas as pd
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.match_odds.client import MatchOddsClient, MatchOddsError
from bentos.match_odds.contract import MAX_BODY, MAX_ROWS, Answer, PredictRequest, ScoreRequest, Staking
from bentos.match_odds.deploying.runner import RunningBento
from bentos.match_odds.model.champions import Champions
from bentos.match_odds.model.scoring import model_row, score
from bentos.match_odds.proto import match_odds_pb2, match_odds_pb2_grpc
from betting_assets.modelling.bundle import Bundle

pytestmark = pytest.mark.services
Features = dict[str, Any]
SERVICE = "betting.v1.MatchOdds"


@pytest.fixture(scope="module")
def rows(trained: dict[str, tuple[Bundle, pd.DataFrame]]) -> list[Features]:
    bundle, table = trained["1x2"]
    cells = table.head(MAX_ROWS)[list(bundle.features)].astype(object).where(lambda frame: frame.notna(), None)
    found: list[Features] = cells.to_dict("records")
    for features in found[::7]:
        features |= dict.fromkeys(bundle.market.market_columns)
    return found


@pytest.fixture(scope="module")
def over_grpc(running: RunningBento) -> Iterator[MatchOddsClient]:
    with MatchOddsClient(f"grpc://127.0.0.1:{running.grpc_port}") as client:
        yield client


@pytest.fixture(scope="module")
def channel(running: RunningBento) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
        yield channel


def told(answer: Answer) -> dict[str, Any]:
    return answer.model_dump(exclude={"request_id"})


def test_http_grpc_in_process_and_batched_answers_are_equal_to_the_bit(
    client: MatchOddsClient, over_grpc: MatchOddsClient, champions: Champions, rows: list[Features]
) -> None:
    staking = Staking(kelly_fraction=0.3, max_stake=0.07)
    http, rpc = client.score("1x2", rows, staking=staking), over_grpc.score("1x2", rows, staking=staking)
    assert told(http) == told(rpc)
    alone = [over_grpc.score("1x2", [row]).predictions[0].probabilities for row in rows[:20]]
    in_process = [answer.probabilities for answer in score([model_row(champions["1x2"], row) for row in rows])]
    assert [prediction.probabilities for prediction in rpc.predictions] == in_process
    assert alone == in_process[:20]


def test_both_protocols_name_the_same_models(client: MatchOddsClient, over_grpc: MatchOddsClient) -> None:
    assert client.models() == over_grpc.models()


@pytest.mark.parametrize(
    ("market", "match_ids"),
    [
        ("corners", ["a"]),
        ("1x2", []),
        ("1x2", ["x"] * (MAX_ROWS + 1)),
        ("1x2", ["x" * 201]),
        ("1x2", ["../etc"]),
        ("1x2", ["ok", "a\x00b"]),
        ("1x2", ["x"]),
    ],
)
def test_both_protocols_refuse_the_same_requests_with_the_same_words(
    client: MatchOddsClient, over_grpc: MatchOddsClient, market: str, match_ids: list[str]
) -> None:
    refusals = []
    for one in (client, over_grpc):
        with pytest.raises(MatchOddsError) as caught:
            one.predict(market, match_ids)
        refusals.append((caught.value.status, str(caught.value)))
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_say_is_refused_over_grpc_too(
    channel: grpc.Channel, rows: list[Features], bad: float
) -> None:
    request = match_odds_pb2.ScoreRequest(market="1x2")
    request.rows.add().features.update({**rows[1], "elo_difference": 0.0})
    request.rows[0].features.fields["elo_difference"].number_value = bad
    with pytest.raises(grpc.RpcError) as caught:
        match_odds_pb2_grpc.MatchOddsStub(channel).Score(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "elo_difference" in caught.value.details()


@settings(max_examples=150, deadline=None)
@given(payload=st.binary(max_size=400), method=st.sampled_from(["Predict", "Score", "Models", "Nothing"]))
def test_whatever_bytes_are_sent_the_call_ends_with_a_status_and_the_server_lives(
    channel: grpc.Channel, payload: bytes, method: str
) -> None:
    call = channel.unary_unary(f"/{SERVICE}/{method}")
    try:
        call(payload, timeout=10)
    except grpc.RpcError as error:
        assert error.code() in (  # noqa: PT017
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.UNIMPLEMENTED,
            grpc.StatusCode.UNAVAILABLE,  # a request that is right: there is no store here
        )


VALUES = st.one_of(
    st.none(),
    st.floats(allow_nan=True),
    st.text(max_size=20),
    st.booleans(),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=2),
)


@settings(max_examples=150, deadline=None)
@given(
    market=st.sampled_from(["1x2", "over_under", "", "x"]),
    features=st.dictionaries(st.sampled_from(["league", "month", "elo_difference", "Ä", "", "x" * 90]), VALUES),
    prices=st.lists(st.floats(), max_size=4),
    fraction=st.none() | st.floats(),
)
def test_well_formed_nonsense_is_an_invalid_argument_in_one_line(
    channel: grpc.Channel, market: str, features: Features, prices: list[float], fraction: float | None
) -> None:
    request = match_odds_pb2.ScoreRequest(market=market)
    row = request.rows.add()
    row.features.update(features)
    row.prices.extend(prices)
    if fraction is not None:
        request.staking.kelly_fraction = fraction
    with pytest.raises(grpc.RpcError) as caught:
        match_odds_pb2_grpc.MatchOddsStub(channel).Score(request, timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "\n" not in caught.value.details()


@pytest.mark.parametrize(
    "noise", [b"\x00" * 64, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 99]
)
def test_noise_on_the_port_does_no_harm(running: RunningBento, over_grpc: MatchOddsClient, noise: bytes) -> None:
    with socket.create_connection(("127.0.0.1", running.grpc_port), timeout=5) as raw:
        raw.sendall(noise)
    assert over_grpc.ready()


def test_a_message_too_large_is_refused(channel: grpc.Channel) -> None:
    request = match_odds_pb2.PredictRequest(market="1x2", match_ids=["x" * (MAX_BODY + 1)])
    with pytest.raises(grpc.RpcError) as caught:
        match_odds_pb2_grpc.MatchOddsStub(channel).Predict(request)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_health_is_told_by_grpcs_own_protocol(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == 1
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="betting.v1.Nothing"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_tools_can_ask_what_there_is(channel: grpc.Channel) -> None:
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    assert SERVICE in ProtoReflectionDescriptorDatabase(channel).get_services()


def test_every_request_type_of_the_contract_has_its_message() -> None:
    for model, message in (
        (PredictRequest, match_odds_pb2.PredictRequest),
        (ScoreRequest, match_odds_pb2.ScoreRequest),
    ):
        assert set(model.model_fields) == set(message.DESCRIPTOR.fields_by_name)
    assert set(Answer.model_fields) == set(match_odds_pb2.Answer.DESCRIPTOR.fields_by_name)


def test_every_call_is_counted_exactly_once_with_its_status(
    running: RunningBento, over_grpc: MatchOddsClient, rows: list[Features]
) -> None:
    def counted(code: str) -> float:
        start = f'betting_requests_total{{code="{code}",method="score",protocol="grpc"}}'
        lines = httpx.get(f"{running.url}/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))

    good, bad = counted("OK"), counted("INVALID_ARGUMENT")
    for _ in range(37):
        over_grpc.score("1x2", rows[1:3])
    for _ in range(11):
        with pytest.raises(MatchOddsError):
            over_grpc.score("1x2", [{"league": "XX"}])
    assert (counted("OK") - good, counted("INVALID_ARGUMENT") - bad) == (37, 11)


def test_every_method_of_the_proto_is_served(channel: grpc.Channel) -> None:
    for method in match_odds_pb2.DESCRIPTOR.services_by_name["MatchOdds"].methods:
        call = channel.unary_unary(f"/{SERVICE}/{method.name}")
        try:
            call(b"", timeout=10)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # noqa: PT017
