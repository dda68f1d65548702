"""Too much work is refused at once, with a word on when to try again; what was given up by its client is not done."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invented_models import free_port

from bentos.match_odds.calling.retries import Retries
from bentos.match_odds.client import AsyncMatchOddsClient, MatchOddsClient, MatchOddsError
from bentos.match_odds.deploying.runner import RunningBento
from bentos.match_odds.errors import Overloaded
from bentos.match_odds.model.batching import MAX_BATCH, Batcher
from bentos.match_odds.model.champions import Champions
from bentos.match_odds.model.rows import ModelRow, RowAnswer
from bentos.match_odds.model.scoring import model_row
from betting_assets.modelling.bundle import Bundle

Trained = dict[str, tuple[Bundle, pd.DataFrame]]
MOST = 128
UNFINISHED = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
ONCE = Retries(attempts=1)


class Slow:
    """In the place of BentoML's batcher: answers when it is told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.seen: list[int] = []

    async def submit(self, rows: list[ModelRow]) -> list[RowAnswer]:
        self.seen.append(len(rows))
        await self.open.wait()
        return [RowAnswer([row.values[0]], "x") for row in rows]


@pytest.fixture
def row(champions: Champions, trained: Trained) -> ModelRow:
    bundle, table = trained["1x2"]
    features = {name: None if pd.isna(value) else value for name, value in table.iloc[0][list(bundle.features)].items()}
    return model_row(champions["1x2"], features)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 256), max_size=12), given_up=st.sets(st.integers(0, 11)))
def test_no_more_rows_wait_than_are_allowed_and_none_is_counted_for_ever(
    champions: Champions, sizes: list[int], given_up: set[int]
) -> None:
    one = ModelRow(champions["1x2"], pd.Series([1.0]).to_numpy(), "x")

    async def scenario() -> None:
        slow = Slow()
        batcher = Batcher(slow.submit, MOST)
        calls = [asyncio.ensure_future(batcher.score([one] * size)) for size in sizes]
        await asyncio.sleep(0)
        first = sizes[0] if sizes else 0
        assert batcher.waiting <= max(MOST, first)
        for place in given_up & set(range(len(calls))):
            calls[place].cancel()
        slow.open.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert batcher.waiting == 0
        for size, result in zip(sizes, results, strict=True):
            assert isinstance(result, Overloaded | asyncio.CancelledError) or len(result) == size  # type: ignore[arg-type]
        assert max(slow.seen, default=0) <= MAX_BATCH

    asyncio.run(scenario())


def test_a_lone_request_is_never_refused_however_large(row: ModelRow) -> None:
    async def scenario() -> int:
        slow = Slow()
        slow.open.set()
        return len(await Batcher(slow.submit, 10).score([row] * 256))

    assert asyncio.run(scenario()) == 256


@pytest.fixture(scope="module")
def small(tag: str, home: Path) -> Iterator[RunningBento]:
    """A worker that lets few rows wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BETTING_MAX_WAITING_ROWS", str(MOST))
        with RunningBento(tag, free_port(), home) as bento:
            yield bento


@pytest.fixture(scope="module")
def rows(trained: Trained) -> list[dict[str, Any]]:
    bundle, table = trained["1x2"]
    cells = table.head(64)[list(bundle.features)].astype(object).where(lambda frame: frame.notna(), None)
    found: list[dict[str, Any]] = cells.to_dict("records")
    return found


async def storm(url: str, rows: Sequence[dict[str, Any]], requests: int) -> list[object]:
    async with AsyncMatchOddsClient(url, retries=ONCE, timeout=60.0) as client:
        asked = (client.score("1x2", rows) for _ in range(requests))
        return list(await asyncio.gather(*asked, return_exceptions=True))


@pytest.mark.services
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_storm_is_answered_or_refused_never_failed_and_leaves_nothing_behind(
    small: RunningBento, rows: list[dict[str, Any]], protocol: str
) -> None:
    url = small.url if protocol == "http" else small.grpc_url
    results = asyncio.run(storm(url, rows, 80))
    kinds = Counter(type(result).__name__ for result in results)
    assert set(kinds) <= {"Answer", "MatchOddsError"}
    refused = [result for result in results if isinstance(result, MatchOddsError)]
    assert {error.status for error in refused} <= {503}
    assert all("try again" in str(error) for error in refused)
    with MatchOddsClient(url, retries=ONCE) as client:
        assert len(client.score("1x2", rows).predictions) == 64


@pytest.mark.services
def test_an_overloaded_service_says_when_to_try_again_and_counts_what_it_shed(
    small: RunningBento, rows: list[dict[str, Any]]
) -> None:
    body = {"market": "1x2", "rows": [{"features": features} for features in rows]}

    async def refused() -> httpx.Response:
        async with httpx.AsyncClient(timeout=60.0) as http:
            for _ in range(10):
                asked = (http.post(f"{small.url}/v1/score", json=body) for _ in range(60))
                for response in await asyncio.gather(*asked):
                    if response.status_code == 503:
                        return response
        raise AssertionError("600 requests at once were not too much")

    response = asyncio.run(refused())
    assert int(response.headers["retry-after"]) >= 1
    assert float(response.headers["retry-after-ms"]) > 0
    shed = [
        line for line in httpx.get(f"{small.url}/metrics").text.splitlines() if line.startswith("betting_shed_total")
    ]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in shed) > 0


@pytest.mark.services
def test_clients_that_send_slowly_or_leave_keep_nobody_else_waiting(
    small: RunningBento, rows: list[dict[str, Any]]
) -> None:
    slow = [socket.create_connection(("127.0.0.1", small.port)) for _ in range(50)]
    try:
        for one in slow:
            one.sendall(
                b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
            )
        for one in slow[:25]:
            one.close()
        with MatchOddsClient(small.url, retries=ONCE) as client:
            for _ in range(20):
                client.score("1x2", rows[:1])  # raises when it is not answered in time
    finally:
        for one in slow:
            one.close()
    assert httpx.get(f"{small.url}/readyz").status_code == 200
