"""Whatever is in a message: it is understood, or there is one word and one line that say why not."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages_by_hand import MATCH, NOW, encoded, message, prediction, result, tick

from betting_assets.sources.records import Record
from betting_assets.streaming.landing.batch import Batch, Sorter
from betting_assets.streaming.landing.faults import MAX_DETAIL, Fault
from betting_assets.streaming.landing.records import Message
from betting_assets.streaming.landing.validation import AHEAD, OLDEST, Validator, repeated
from betting_assets.streaming.messages import MAX_BYTES, MatchResult, OddsTick, Prediction
from betting_assets.streaming.topics import TOPICS

LATEST = NOW - OLDEST + AHEAD


def judged(one: Message, kind: type[Record] = OddsTick) -> Record | Fault:
    said = Validator(kind)(one, LATEST)
    return said if isinstance(said, Fault) else said[0]


def without(content: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != field}


def text(**changes: str) -> bytes:
    """A tick in which fields are replaced by raw JSON, for what Python would not write."""
    raw = encoded(tick(**dict.fromkeys(changes, "HERE"))).decode()
    for field, value in changes.items():
        raw = raw.replace(f'"{field}":"HERE"', f'"{field}":{value}')
    return raw.encode("utf-8", "surrogatepass")


POISON: dict[str, list[Message]] = {
    "tombstone": [message(None)],
    "empty": [message(b"")],
    "oversized": [message(b'{"match_id":"' + b"a" * MAX_BYTES + b'"}')],
    "not_utf8": [message(b"\xff\xfe"), message(encoded(tick()).replace(b"by-hand", b"by-\x80hand"))],
    "not_json": [message(b"match_id=x"), message(encoded(tick())[:-1]), message(b"{} {}"), message(b"\0")],
    "byte_order_mark": [message(b"\xef\xbb\xbf" + encoded(tick()))],
    "nested_too_deeply": [message(b"[" * 30_000), message(text(fixture="[" * 5_000 + "]" * 5_000))],
    "lone_surrogate": [message(text(source='"\\ud800"'))],
    "not_an_object": [message(b"[]"), message(b"1"), message(b'"tick"'), message(b"null")],
    "unknown_schema_version": [message(tick(schema_version=2)), message(tick(schema_version=2, volume=1.5))],
    "missing_field": [message(without(tick(), "prices"))],
    "unknown_field": [message(tick(volume=100)), message(tick(**{"new\0line\n": 1}))],
    "wrong_type": [
        message(tick(line="0")),
        message(tick(prices={"home": 2.0})),
        message(tick(in_play=1)),
        message(tick(sequence=1.0)),
        message(tick(prices=[2.0, "3.0", 4.0])),
        message(tick(match_id=None)),
        message(tick(taken_at=1_795_273_198)),
    ],
    "nul_character": [message(tick(bookmaker="pinna\0cle"))],
    "control_character": [message(tick(bookmaker="pinna\ncle")), message(tick(source="a\x7fb"))],
    "forbidden_character": [message(tick(bookmaker="Pinnacle")), message(tick(bookmaker="a'; DROP TABLE x; --"))],
    "empty_text": [message(tick(bookmaker=""))],
    "text_too_long": [message(tick(bookmaker="b" * 201))],
    "number_too_large": [message(text(sequence="9" * 5_000))],
    "sequence_out_of_range": [message(tick(sequence=2**63)), message(tick(sequence=-1))],
    "price_out_of_range": [
        message(tick(prices=[1.0, 3.4, 3.9])),
        message(tick(prices=[-2.0, 3.4, 3.9])),
        message(tick(prices=[1001.01, 3.4, 3.9])),
        message(tick(lay=[0.0, 3.4, 3.9])),
    ],
    "line_out_of_range": [message(tick(line=501)), message(tick(line=-100.5))],
    "not_finite": [
        message(text(line="NaN")),
        message(text(line="Infinity")),
        message(text(line="1e999")),
        message(text(prices="[NaN,3.4,3.9]")),
    ],
    "too_many_items": [message(tick(prices=[2.0] * 4))],
    "wrong_number_of_prices": [message(tick(prices=[2.1, 3.4])), message(tick(lay=[2.1])), message(tick(prices=[]))],
    "open_without_prices": [message(tick(prices=[None, None, None]))],
    "unknown_market": [message(tick(market="correct_score"))],
    "unknown_trading": [message(tick(trading="halted"))],
    "time_without_zone": [message(tick(taken_at="2026-11-21T14:59:58"))],
    "not_a_time": [message(tick(taken_at="yesterday")), message(tick(taken_at="2026-13-01T00:00:00Z"))],
    "before_2000": [
        message(tick(taken_at="1970-01-21T10:40:00Z")),
        message(tick(taken_at="0001-01-01T00:00:00+14:00")),
    ],
    "from_the_future": [
        message(tick(taken_at="2026-11-21T15:05:01Z")),
        message(tick(taken_at="9999-12-31T23:59:59-14:00")),
    ],
    "bad_timestamp": [message(tick(), timestamp=-1), message(tick(), timestamp=2**62)],
    "key_missing": [message(tick(), None)],
    "key_is_not_match_id": [message(tick(), b""), message(tick(), b"\xff"), message(tick(), MATCH.upper().encode())],
    "repeated_field": [
        message(text(line='0.0,"line":1.0')),
        message(text(line='0.0,"line" : 1.0')),
        message(text(line='0.0,\n"line"\t:1.0')),
        message(text(line='0.0,"li\\u006ee":1.0')),
    ],
}  # fmt: skip
"""Ticks that cannot be used, by the reason that must be given."""

OTHER_POISON = [
    (MatchResult, result(home_score=None), "score_and_status_disagree"),
    (MatchResult, result(status="void"), "score_and_status_disagree"),
    (MatchResult, result(status="postponed"), "unknown_value"),
    (MatchResult, result(home_score=201), "number_out_of_range"),
    (MatchResult, result(statistics={f"s{n}": 1 for n in range(41)}), "too_many_items"),
    (MatchResult, result(statistics={"Home Shots": 1}), "forbidden_character"),
    (MatchResult, result(fixture=result()["fixture"] | {"home": "a\0"}), "nul_character"),
    (MatchResult, result(fixture=result()["fixture"] | {"match_date": "21/11/2026"}), "not_a_date"),
    (MatchResult, result(finished_at="2026-11-21T16:00:00Z"), "from_the_future"),
    (MatchResult, encoded(result()).replace(b'"home_shots":11', b'"home_shots":11,"home_shots":12'), "repeated_field"),
    (Prediction, prediction(probabilities=[1.5, 0.0, 0.0]), "number_out_of_range"),
    (Prediction, prediction(withheld_detail="two\nlines"), "control_character"),
    (Prediction, prediction(tick_offset=-1), "number_out_of_range"),
]


@pytest.mark.parametrize(("reason", "one"), [(reason, one) for reason, some in POISON.items() for one in some])
def test_every_kind_of_poison_has_its_own_reason(reason: str, one: Message) -> None:
    fault = judged(one)
    assert isinstance(fault, Fault)
    assert fault.reason == reason, fault
    assert fault.detail
    assert fault.detail.isprintable()
    assert len(fault.detail) <= MAX_DETAIL


@pytest.mark.parametrize(("kind", "content", "reason"), OTHER_POISON)
def test_results_and_predictions_have_their_reasons_too(kind: type[Record], content: Any, reason: str) -> None:
    fault = judged(message(content), kind)
    assert isinstance(fault, Fault)
    assert fault.reason == reason, fault


def test_there_are_at_least_25_reasons() -> None:
    assert len(POISON) >= 25


def test_a_detail_names_the_field_the_fault_and_what_was_got() -> None:
    fault = judged(message(tick(prices=[0.5, 3.4, 3.9])))
    assert fault == Fault("price_out_of_range", "field prices.0: Input should be greater than 1; got 0.5")


@pytest.mark.parametrize(("kind", "content"), [(OddsTick, tick()), (MatchResult, result()), (Prediction, prediction())])
def test_a_valid_message_is_understood_however_its_json_is_spaced(kind: type[Record], content: dict[str, Any]) -> None:
    for spaced in (encoded(content), json.dumps(content).encode(), json.dumps(content, indent="\t").encode()):
        assert isinstance(judged(message(spaced), kind), kind)


def test_the_fields_that_have_defaults_may_be_left_out() -> None:
    short = {
        name: tick()[name]
        for name in ("match_id", "bookmaker", "market", "line", "prices", "taken_at", "sequence", "source")
    }
    assert isinstance(judged(message(short)), OddsTick)


def test_numbers_that_no_column_holds_are_poison_too() -> None:
    batch, topic = Batch(), next(topic for topic in TOPICS if topic.message is Prediction)
    for content in (prediction(tick_epoch=2**40), prediction(tick_partition=2**40)):
        sorter = Sorter(topic, "predictions.v1", 1)
        fresh = dt.datetime.now(dt.UTC).isoformat()
        sorter.add(batch, None, 0, [message(content | {"scored_at": fresh})])
    assert [letter.fault.reason for letter in batch.letters] == ["number_too_large"] * 2


@given(st.binary(max_size=200))
def test_no_bytes_break_the_validator(payload: bytes) -> None:
    assert isinstance(judged(message(payload)), Fault)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(tick())), JSON)
def test_no_value_of_a_field_breaks_the_validator(field: str, value: Any) -> None:
    said = judged(message(tick(**{field: value})))
    assert isinstance(said, OddsTick) or (re.fullmatch("[a-z0-9_]+", said.reason) and said.detail.isprintable())


@given(st.integers(0, 3), st.sampled_from(sorted(tick())), st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
def test_a_repeated_field_is_found_wherever_it_stands(place: int, field: str, separators: tuple[str, str]) -> None:
    pairs = list(tick().items())
    pairs.insert(place, (field, tick()[field]))
    comma, colon = separators
    payload = "{" + comma.join(json.dumps(name) + colon + json.dumps(value) for name, value in pairs) + "}"
    fault = judged(message(payload.encode()))
    assert isinstance(fault, Fault)
    assert fault.reason == "repeated_field"
    assert repeated(payload.encode()) == field
