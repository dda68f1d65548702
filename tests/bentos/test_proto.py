"""gRPC's messages say what contract.py says: the same fields, limits, words and bits."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import NULL_VALUE
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from bentos.match_odds import contract
from bentos.match_odds.contract import (
    MAX_ROWS,
    Answer,
    Degraded,
    ModelCard,
    Models,
    Prediction,
    PredictRequest,
    Reason,
    ScoreRequest,
    ScoreRow,
    Staking,
    WatchEvent,
    WatchRequest,
    Withheld,
    reason,
)
from bentos.match_odds.errors import BadRequest
from bentos.match_odds.proto import match_odds_pb2 as pb
from bentos.match_odds.proto import messages
from bentos.match_odds.proto.generate import HERE, STUBS, generate

SAME = ("Staking", "PredictRequest", "ScoreRow", "ScoreRequest", "WatchRequest")
SAME_ANSWERS = ("Withheld", "Prediction", "Answer", "WatchEvent", "ModelCard", "Models")

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
lists = st.lists(numbers, max_size=3)
times = st.datetimes(min_value=dt.datetime(1900, 1, 1), max_value=dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC))
markets = st.sampled_from(contract.MarketName)
maybe = st.none
withheld = st.builds(Withheld, reason=st.sampled_from(Reason), detail=words, fields=st.lists(words, max_size=3))
predictions = st.builds(
    Prediction,
    match_id=maybe() | words,
    variant=maybe() | words,
    probabilities=lists,
    fair_odds=lists,
    market_probabilities=lists,
    best_prices=lists,
    edges=lists,
    stakes=lists,
    feature_time=maybe() | times,
    feature_age_seconds=maybe() | numbers,
    feature_ages=st.dictionaries(words, numbers, max_size=4).map(lambda ages: dict(sorted(ages.items()))),
    cache_age_seconds=maybe() | numbers,
    withheld=maybe() | withheld,
)
answers = st.builds(
    Answer,
    market=markets,
    selections=st.lists(words, max_size=3),
    model_version=words,
    bento=words,
    request_id=words,
    predictions=st.lists(predictions, max_size=4),
    degraded=st.lists(st.sampled_from(Degraded), max_size=1),
)
cards = st.builds(
    ModelCard,
    market=markets,
    model_version=words,
    selections=st.lists(words, max_size=3),
    features=st.lists(words, max_size=3),
    nullable=st.lists(words, max_size=3),
    margin_method=words,
    data_hash=words,
    trained_at=times,
    training_rows=st.integers(min_value=0, max_value=2**63 - 1),
)
shares = st.floats(min_value=0.0, max_value=1.0, exclude_min=True)
stakings = st.none() | st.builds(Staking, kelly_fraction=shares, max_stake=shares)
match_ids = st.lists(st.from_regex(r"[a-z0-9_.-]{1,20}", fullmatch=True), min_size=1, max_size=4)
texts = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), min_size=1)
features = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True),
    st.none() | numbers | texts.map(lambda text: text[:80]),
    min_size=1,
    max_size=6,
)
prices = st.none() | st.lists(st.floats(min_value=1.01, max_value=1000.0), min_size=1, max_size=3)
ids = st.from_regex(r"[a-z0-9_.-]{1,20}", fullmatch=True)
rows = st.builds(ScoreRow, features=features, prices=prices) | st.builds(
    ScoreRow, features=features, prices=prices, match_id=ids, feature_time=st.none() | times
)


def on_the_wire(message: Any) -> Any:
    """What the other side reads."""
    return type(message).FromString(message.SerializeToString())


def refusal(kind: type[BaseModel], wanted: object) -> str:
    """What HTTP answers to this body."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(wanted)
    return reason(caught.value)


def test_the_stubs_are_those_of_the_proto_file(tmp_path: Path) -> None:
    written = generate(tmp_path)
    assert [path.name for path in written] == list(STUBS)
    for path in written:
        assert (HERE / path.name).read_bytes() == path.read_bytes(), (
            f"{path.name} is stale: python -m bentos.match_odds.proto.generate"
        )


@pytest.mark.parametrize("name", SAME + SAME_ANSWERS)
def test_both_protocols_have_the_same_fields(name: str) -> None:
    assert [field.name for field in getattr(pb, name).DESCRIPTOR.fields] == list(getattr(contract, name).model_fields)


@given(answers)
def test_an_answer_survives_the_way_to_the_bit(answer: Answer) -> None:
    read = messages.answer(on_the_wire(messages.answer_message(answer)))
    assert read == answer
    assert read.model_dump_json() == answer.model_dump_json()


@given(st.builds(WatchEvent, sent_at=times, answer=st.none() | answers))
def test_an_event_survives_the_way_to_the_bit(event: WatchEvent) -> None:
    read = messages.watch_event(on_the_wire(messages.watch_event_message(event)))
    assert read.model_dump_json() == event.model_dump_json()


@given(st.builds(Models, bento=words, models=st.lists(cards, max_size=3)))
def test_the_models_survive_the_way(models: Models) -> None:
    read = messages.models(on_the_wire(messages.models_message(models)))
    assert read.model_dump_json() == models.model_dump_json()


@given(st.builds(PredictRequest, market=markets, match_ids=match_ids, staking=stakings))
def test_a_request_by_id_is_what_json_would_have_asked(request: PredictRequest) -> None:
    sent = messages.predict_message(request.market, request.match_ids, request.staking)
    assert messages.predict_request(on_the_wire(sent)) == request


@given(st.builds(ScoreRequest, market=markets, rows=st.lists(rows, min_size=1, max_size=3), staking=stakings))
def test_a_request_with_features_is_what_json_would_have_asked(request: ScoreRequest) -> None:
    sent = messages.score_message(request.market, request.rows, request.staking)
    read = messages.score_request(on_the_wire(sent))
    assert read == request
    assert read == ScoreRequest.model_validate_json(request.model_dump_json())
    for one, other in zip(read.rows, request.rows, strict=True):
        assert {name: repr(value) for name, value in one.features.items()} == {
            name: repr(value) for name, value in other.features.items()
        }


@given(
    st.builds(
        WatchRequest,
        market=markets,
        match_ids=match_ids,
        staking=stakings,
        heartbeat_seconds=st.floats(min_value=0.1, max_value=60.0),
    )
)
def test_a_request_to_watch_is_what_the_query_would_have_asked(request: WatchRequest) -> None:
    sent = messages.watch_message(request.market, request.match_ids, request.staking, request.heartbeat_seconds)
    assert messages.watch_request(on_the_wire(sent)) == request


@given(rows, st.integers(min_value=0, max_value=6))
def test_features_that_are_prepared_in_part_make_the_same_request(row: ScoreRow, steady: int) -> None:
    items = list(row.features.items())
    prepared = messages.SteadyFeatures(messages.Steady(dict(items[:steady])), dict(items[steady:]))
    assert prepared == row.features
    same = row.model_copy(update={"features": prepared})
    for _ in range(2):  # what is prepared serves again
        assert messages.score_message("1x2", [same], None) == messages.score_message("1x2", [row], None)


def test_a_time_without_a_match_is_refused_in_the_words_of_http() -> None:
    sent = pb.ScoreRow(features={"home_elo": 1.0}, feature_time={"seconds": 1})
    row = {"features": {"home_elo": 1.0}, "feature_time": "1970-01-01T00:00:01Z"}
    with pytest.raises(BadRequest) as caught:
        messages.score_request(pb.ScoreRequest(market="1x2", rows=[sent]))
    with pytest.raises(ValidationError) as of_json:
        ScoreRequest.model_validate_json(json.dumps({"market": "1x2", "rows": [row]}))
    assert str(caught.value) == reason(of_json.value)
    assert "feature_time goes with match_id" in str(caught.value)


@pytest.mark.parametrize("seconds", [-(2**62), 2**62])
def test_a_time_that_is_none_is_refused_and_no_accident(seconds: int) -> None:
    row = pb.ScoreRow(features={"home_elo": 1.0}, match_id="x", feature_time={"seconds": seconds})
    with pytest.raises(BadRequest, match="feature_time: is no time"):
        messages.score_request(on_the_wire(pb.ScoreRequest(market="1x2", rows=[row])))


def test_what_is_not_set_is_the_contracts_default() -> None:
    plain = pb.WatchRequest(market="1x2", match_ids=["a"])
    assert messages.watch_request(plain) == WatchRequest(market="1x2", match_ids=["a"])
    half = pb.PredictRequest(market="1x2", match_ids=["a"], staking=pb.Staking(max_stake=0.5))
    assert messages.predict_request(half).staking == Staking(max_stake=0.5)
    bare = pb.PredictRequest(market="1x2", match_ids=["a"], staking=pb.Staking())
    assert messages.predict_request(bare).staking == Staking()


def test_a_share_of_zero_is_not_taken_for_an_unset_one() -> None:
    zero = pb.PredictRequest(market="1x2", match_ids=["a"], staking=pb.Staking(kelly_fraction=0.0))
    with pytest.raises(BadRequest, match=r"staking\.kelly_fraction: Input should be greater than 0"):
        messages.predict_request(zero)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_feature_that_is_not_finite_is_refused_in_the_words_of_http(number: float) -> None:
    row = pb.ScoreRow()
    row.features.fields["home_elo"].number_value = number
    with pytest.raises(BadRequest) as caught:
        messages.score_request(pb.ScoreRequest(market="1x2", rows=[row]))
    assert str(caught.value) == refusal(ScoreRequest, {"market": "1x2", "rows": [{"features": {"home_elo": number}}]})
    assert "rows.0.features.home_elo: must be a finite number" in str(caught.value)


@pytest.mark.parametrize("kind", ["bool", "list", "struct", "nothing"])
def test_a_feature_is_a_number_a_text_or_null_and_nothing_else(kind: str) -> None:
    row = pb.ScoreRow()
    value = row.features.fields["home_elo"]
    if kind == "bool":
        value.bool_value = True
    elif kind == "list":
        value.list_value.values.add().number_value = 1.0
    elif kind == "struct":
        value.struct_value.fields["a"].null_value = NULL_VALUE
    with pytest.raises(BadRequest, match=r"rows\.0\.features\.home_elo: must be a finite number, null or"):
        messages.score_request(pb.ScoreRequest(market="1x2", rows=[row]))


@pytest.mark.parametrize(
    "wanted",
    [
        {"market": "corners", "match_ids": ["a"]},
        {"market": "1x2", "match_ids": []},
        {"market": "1x2", "match_ids": ["a"] * (MAX_ROWS + 1)},
        {"market": "1x2", "match_ids": ["a", "NOT AN ID"]},
        {"market": "1x2", "match_ids": ["a" * 201]},
        {"market": "1x2", "match_ids": ["a\x00"]},
        {"market": "1x2", "match_ids": ["a"], "staking": {"kelly_fraction": 1.5}},
        {"market": "1x2", "match_ids": ["a"], "staking": {"max_stake": float("nan")}},
    ],
)
def test_a_limit_is_refused_in_the_words_of_http(wanted: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        messages.predict_request(on_the_wire(pb.PredictRequest(**wanted)))
    assert str(caught.value) == refusal(PredictRequest, wanted)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0.0, 0.05, 61.0, float("nan"), float("inf")])
def test_a_heartbeat_outside_its_limits_is_refused(seconds: float) -> None:
    with pytest.raises(BadRequest, match="heartbeat_seconds"):
        messages.watch_request(pb.WatchRequest(market="1x2", match_ids=["a"], heartbeat_seconds=seconds))
