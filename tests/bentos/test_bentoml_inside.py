"""What is used of BentoML beyond its public interface behaves as bentoml_inside.py needs, or a test says where not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import bentoml
import pytest
from bentoml.exceptions import ServiceUnavailable

from bentos.match_odds.errors import Overloaded
from bentos.match_odds.model.bentoml_inside import LONGEST_WAIT, VERSION, Inside, batcher, found, put_in_front

Submit = Callable[[list[Any]], Awaitable[list[Any]]]
batches: list[list[Any]] = []


class Gate:
    """Opened and closed by the tests; its event belongs to the loop of the test that runs."""

    event: asyncio.Event


gate = Gate()


@bentoml.service(name="inside", metrics={"enabled": False})
class Doubling:
    """Doubles numbers, when the gate is open."""

    @bentoml.api(route="/batch", batchable=True, max_batch_size=8, max_latency_ms=500)  # type: ignore[untyped-decorator]
    async def batch(self, rows: list[Any]) -> list[Any]:
        batches.append(list(rows))
        await gate.event.wait()
        if "bad" in rows:
            raise ValueError("bad row")
        return [2 * row for row in rows]


Doubling.add_asgi_middleware(Inside)  # type: ignore[attr-defined]


class Running:
    """The application between the start and the end of its lifespan, as a server would run it."""

    async def __aenter__(self) -> Running:
        gate.event = asyncio.Event()
        gate.event.set()
        batches.clear()
        self.observed: list[tuple[int, list[float]]] = []
        self.app = Doubling.to_asgi(is_main=True)  # type: ignore[attr-defined]
        self._inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._outbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._life = asyncio.ensure_future(self.app({"type": "lifespan"}, self._inbox.get, self._outbox.put))
        await self._inbox.put({"type": "lifespan.startup"})
        assert (await self._outbox.get())["type"] == "lifespan.startup.complete"
        self.submit = batcher(found()[1], "batch", self._observe)
        for _ in range(20):
            await self.submit([1])
        batches.clear()
        self.observed.clear()
        return self

    async def __aexit__(self, *error: object) -> None:
        gate.event.set()
        await self._inbox.put({"type": "lifespan.shutdown"})
        await self._life

    def _observe(self, rows: int, waits: Sequence[float]) -> None:
        self.observed.append((rows, list(waits)))


def test_this_is_the_version_that_the_module_was_written_for() -> None:
    assert bentoml.__version__ == VERSION, "read bentoml_inside.py against the new version, then change VERSION"


def test_rows_of_concurrent_callers_share_batches_and_every_caller_gets_its_own() -> None:
    async def scenario() -> None:
        async with Running() as running:
            gate.event.clear()
            calls = [asyncio.ensure_future(running.submit([i, 100 + i])) for i in range(8)]
            await asyncio.sleep(0.05)
            gate.event.set()
            assert await asyncio.gather(*calls) == [[2 * i, 200 + 2 * i] for i in range(8)]
            assert len(batches) < 8
            assert sorted(row for batch in batches for row in batch) == sorted([*range(8), *range(100, 108)])
            assert sum(rows for rows, _ in running.observed) == 16
            assert sum(len(waits) for _, waits in running.observed) == 8

    asyncio.run(scenario())


def test_rows_of_one_caller_are_never_split_and_no_batch_is_too_large() -> None:
    async def scenario() -> None:
        async with Running() as running:
            gate.event.clear()
            calls = [asyncio.ensure_future(running.submit([i] * 5)) for i in range(6)]
            await asyncio.sleep(0.05)
            gate.event.set()
            await asyncio.gather(*calls)
            assert all(len(batch) <= 8 for batch in batches)
            assert all(batch.count(row) == 5 for batch in batches for row in set(batch))

    asyncio.run(scenario())


def test_a_cancelled_callers_rows_leave_the_queue_and_it_learns_of_its_cancellation() -> None:
    async def scenario() -> None:
        async with Running() as running:
            gate.event.clear()
            first = asyncio.ensure_future(running.submit([1]))
            await asyncio.sleep(0.02)
            waiting = [asyncio.ensure_future(running.submit([i])) for i in (10, 11, 12)]
            await asyncio.sleep(0.02)
            waiting[1].cancel()
            gate.event.set()
            assert await first == [2]
            assert await waiting[0] == [20]
            assert await waiting[2] == [24]
            with pytest.raises(asyncio.CancelledError):
                await waiting[1]
            assert 11 not in [row for batch in batches for row in batch]

    asyncio.run(scenario())


def test_when_all_that_wait_were_cancelled_the_next_caller_is_still_answered() -> None:
    async def scenario() -> None:
        async with Running() as running:
            gate.event.clear()
            first = asyncio.ensure_future(running.submit([1]))
            await asyncio.sleep(0.02)
            waiting = [asyncio.ensure_future(running.submit([i])) for i in (10, 11)]
            await asyncio.sleep(0.02)
            for call in waiting:
                call.cancel()
            gate.event.set()
            await first
            await asyncio.sleep(0.02)
            assert await running.submit([5]) == [10]

    asyncio.run(scenario())


def test_what_waits_longer_than_max_latency_is_shed_as_overload() -> None:
    async def scenario() -> None:
        async with Running() as running:
            gate.event.clear()
            first = asyncio.ensure_future(running.submit([1]))
            await asyncio.sleep(0.02)
            late = [asyncio.ensure_future(running.submit([i] * 8)) for i in range(4)]
            answers = await asyncio.wait_for(asyncio.gather(*late[:3], return_exceptions=True), 5)
            assert all(isinstance(answer, Overloaded) for answer in answers)
            gate.event.set()
            await first
            await asyncio.gather(*late, return_exceptions=True)

    asyncio.run(scenario())


def test_an_error_of_the_method_reaches_every_caller_of_the_batch() -> None:
    async def scenario() -> None:
        async with Running() as running:
            with pytest.raises(ValueError, match="bad row"):
                await running.submit(["bad"])
            assert await running.submit([1]) == [2]

    asyncio.run(scenario())


def test_whatever_the_batcher_learns_it_waits_no_longer_than_the_cap() -> None:
    async def scenario() -> None:
        async with Running() as running:
            optimizer = found()[1].dispatchers["batch"].optimizer
            for _ in range(60):
                optimizer.o_stat.append((1, 0.001, 0.5))
            optimizer.trigger_refresh()  # type: ignore[no-untyped-call]
            assert optimizer.wait <= LONGEST_WAIT <= 0.005
            assert await running.submit([3]) == [6]

    asyncio.run(scenario())


def test_company_is_waited_for_only_while_requests_come_close_together() -> None:
    async def scenario() -> None:
        async with Running():
            optimizer: Any = found()[1].dispatchers["batch"].optimizer
            now = optimizer.last
            for gap, expected in ((0.001, LONGEST_WAIT), (1.0, 0.0), (0.002, LONGEST_WAIT), (0.01, 0.0)):
                for _ in range(80):
                    now += gap
                    optimizer.arrived(now)
                assert optimizer.wait == expected, gap

    asyncio.run(scenario())


def test_the_front_gets_every_request_before_bentoml_and_may_let_it_through() -> None:
    async def scenario() -> list[int]:
        statuses = []

        def front(rest: Any) -> Any:
            async def app(scope: Any, receive: Any, send: Any) -> None:
                if scope["path"] == "/mine":
                    await send({"type": "http.response.start", "status": 299, "headers": []})
                    await send({"type": "http.response.body", "body": b""})
                else:
                    await rest(scope, receive, send)

            return app

        async with Running() as running:
            put_in_front(found()[0], front)
            for path in ("/mine", "/livez"):
                statuses.append(await _status(running.app, path))
        return statuses

    assert asyncio.run(scenario()) == [299, 200]


async def _status(app: Any, path: str) -> int:
    import httpx

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        return (await client.get(path)).status_code


def test_bentomls_word_for_overload_is_still_the_one_that_is_caught() -> None:
    async def scenario() -> None:
        async with Running():
            with pytest.raises(ServiceUnavailable):
                found()[1].dispatchers["batch"].fallback()

    asyncio.run(scenario())
