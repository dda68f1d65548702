"""What happens to a stream that has begun: its end is its only answer, whatever goes wrong."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from bentos.match_odds.contract import WatchEvent
from bentos.match_odds.errors import NotFound
from bentos.match_odds.front.http_front import Front
from bentos.match_odds.front.request_log import Refusals


class Counting:
    """In the place of the metrics."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def request(self, protocol: str, method: str, code: str, seconds: float) -> None:
        self.codes.append(code)


class Breaking:
    """In the place of a worker: one event, then an error."""

    api_keys = None

    def __init__(self, error: Exception) -> None:
        self.metrics = Counting()
        self.refusals = Refusals(lambda protocol: None)
        self._error = error

    async def watch(self, request: object, request_id: str) -> AsyncGenerator[WatchEvent]:
        yield WatchEvent(sent_at=dt.datetime.now(dt.UTC))
        raise self._error


@pytest.mark.parametrize("error", [NotFound("the market has no champion any more"), RuntimeError("unforeseen")])
def test_an_error_after_the_first_event_cuts_the_stream_and_begins_no_second_answer(error: Exception) -> None:
    """It began one, which the server refused with an error of its own."""
    sent: list[dict[str, Any]] = []
    worker = Breaking(error)

    async def scenario() -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        query = b"market=1x2&match_id=a"
        scope = {"type": "http", "path": "/v1/watch", "method": "GET", "headers": [], "query_string": query}
        await Front(None, worker)(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(scenario())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[-1]["more_body"] is True
    assert worker.metrics.codes == [str(getattr(error, "status", 500))]
