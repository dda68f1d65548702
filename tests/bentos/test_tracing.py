"""Traces: a real collector on loopback gets the tree of a request, no payload, and nothing at all when off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from trace_collector import Collector, attributes

from bentos.match_odds.observing.tracing import batch_span, request_span, set_up_tracing, shut_down_tracing, span
from betting_assets.settings import Settings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT_SPAN = "00f067aa0ba902b7"
SECRET = "sim1_2024-05-04_ashby_brill"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    try:
        yield collector
    finally:
        shut_down_tracing()
        collector.close()


@pytest.fixture
def traced(collector: Collector) -> Collector:
    set_up_tracing(Settings(otlp_endpoint=collector.url))
    return collector


def _spans(collector: Collector) -> list[Span]:
    """Everything, once this process has sent the rest."""
    shut_down_tracing()
    return collector.spans()


async def _answer(matches: int) -> None:
    with span("features", matches=matches):
        await asyncio.sleep(0)
    with span("score", rows=matches):
        await asyncio.sleep(0.001)


def test_the_parts_of_a_request_belong_to_it_and_it_to_its_client(traced: Collector) -> None:
    with request_span("grpc", "predict", f"00-{TRACE}-{CLIENT_SPAN}-01"):
        asyncio.run(_answer(3))
    by_name = {one.name: one for one in _spans(traced)}
    request = by_name["grpc predict"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, CLIENT_SPAN)
    assert request.kind == Span.SPAN_KIND_SERVER
    assert attributes(request) == {"protocol": "grpc", "method": "predict"}
    for name, told in (("features", {"matches": 3}), ("score", {"rows": 3})):
        part = by_name[name]
        assert (part.trace_id, part.parent_span_id) == (request.trace_id, request.span_id)
        assert attributes(part) == told
        assert request.start_time_unix_nano <= part.start_time_unix_nano
        assert part.end_time_unix_nano <= request.end_time_unix_nano
    assert traced.paths == {"/v1/traces"}


def test_requests_at_the_same_time_keep_their_parts_apart(traced: Collector) -> None:
    async def request(number: int) -> None:
        with request_span("http", "predict", None):
            await _answer(number)

    async def all_at_once() -> None:
        await asyncio.gather(*(asyncio.create_task(request(number)) for number in range(1, 9)))

    asyncio.run(all_at_once())

    spans = _spans(traced)
    requests = [one for one in spans if one.name == "http predict"]
    assert len({one.trace_id for one in requests}) == len(requests) == 8
    for one in requests:
        parts = [part for part in spans if part.parent_span_id == one.span_id]
        assert {part.name for part in parts} == {"features", "score"}
        assert len({tuple(attributes(part).values()) for part in parts}) == 1
        assert {part.trace_id for part in parts} == {one.trace_id}


def test_a_batch_is_of_no_single_request(traced: Collector) -> None:
    with request_span("http", "predict", None), batch_span(64):
        pass
    by_name = {one.name: one for one in _spans(traced)}
    assert by_name["score_batch"].trace_id != by_name["http predict"].trace_id
    assert by_name["score_batch"].parent_span_id == b""
    assert attributes(by_name["score_batch"]) == {"rows": 64}


@pytest.mark.parametrize("error", [ValueError(SECRET), asyncio.CancelledError(SECRET)])
def test_an_error_is_told_by_its_type_only(traced: Collector, error: BaseException) -> None:
    with pytest.raises(type(error)), request_span("http", "score", None), span("score", rows=1):
        raise error
    spans = _spans(traced)
    assert len(spans) == 2
    for one in spans:
        assert attributes(one)["error.type"] == type(error).__name__
        assert one.status.code == Status.STATUS_CODE_ERROR
        assert not one.events
    assert all(SECRET.encode() not in body for body in traced.bodies)


@pytest.mark.parametrize("header", ["", "00-xyz", f"00-{'0' * 32}-{CLIENT_SPAN}-01", "é" * 100])
def test_a_broken_traceparent_begins_a_trace_of_its_own(traced: Collector, header: str) -> None:
    with request_span("http", "predict", header):
        pass
    (one,) = _spans(traced)
    assert one.parent_span_id == b""
    assert any(one.trace_id)


def test_without_an_endpoint_nothing_is_made_and_nothing_sent(collector: Collector) -> None:
    set_up_tracing(Settings(otlp_endpoint=None))
    off = span("score", rows=1)
    assert off is request_span("http", "predict", None) is batch_span(1)
    with off:
        pass
    with pytest.raises(ValueError, match=SECRET), off:
        raise ValueError(SECRET)
    assert _spans(collector) == []


def test_a_collector_that_is_away_stops_nobody(collector: Collector) -> None:
    url = collector.url
    collector.close()
    set_up_tracing(Settings(otlp_endpoint=f"{url}/v1/traces"))
    with request_span("http", "predict", None), span("score", rows=1):
        pass
    shut_down_tracing()
    assert span("score") is span("features")
