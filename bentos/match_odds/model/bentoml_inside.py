"""Everything of BentoML that is not public and that this service uses; held to by tests/bentos/test_bentoml_inside.py.

Three things: the application's factory (no public way leads to it), the queue of its adaptive batcher (`to_async` would
be a whole request to oneself: JSON, validation and the ASGI stack, about a millisecond), and a place before its
middlewares (they cost more than the answer).
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from bentos.match_odds.errors import Overloaded

if TYPE_CHECKING:
    from _bentoml_impl.server.app import ServiceAppFactory
    from bentoml._internal.marshal.dispatcher import CorkDispatcher
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

VERSION = "1.4.39"
"""BentoML's version that this was written for."""

LONGEST_WAIT = 0.003
"""Seconds that a request waits for company. Left alone, the batcher learns from a burst to hold the lone request that
follows it for up to 150 ms."""

CLOSE_TOGETHER, FAR_APART, REMEMBERED = 0.004, 0.02, 16
"""Requests are expected to meet where the last sixteen or so came less than 4 ms apart; a gap counts at most 20 ms."""


class Inside:
    """ASGI middleware that keeps the application and its factory when the server starts.

    The application's lifespan is a method of the factory.
    """

    application: Starlette | None = None
    factory: ServiceAppFactory | None = None

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            Inside.application = scope["app"]
            Inside.factory = scope["app"].router.lifespan_context.__self__
        await self.app(scope, receive, send)


def found() -> tuple[Starlette, ServiceAppFactory]:
    """The application and its factory. Raises RuntimeError before the server has started."""
    if Inside.application is None or Inside.factory is None:
        raise RuntimeError("BentoML started the service without its middlewares")
    return Inside.application, Inside.factory


def put_in_front(application: Starlette, front: Callable[[ASGIApp], ASGIApp]) -> None:
    """Let every request come to `front(rest)` before it comes to any middleware of BentoML."""
    if application.middleware_stack is None:
        raise RuntimeError("BentoML has not built its middlewares yet")
    application.middleware_stack = front(application.middleware_stack)


class Wake:
    """asyncio.Condition as the dispatcher uses it: one that waits, on one loop, and nothing awaited while it is held.

    So there is nothing to lock, which takes most of the time of the real one.
    """

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *error: object) -> None:
        pass

    async def wait_for(self, holds: Callable[[], object]) -> None:
        while not holds():
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting

    def notify_all(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Observe(Protocol):
    """Told of every batch: its rows, and for how many seconds each of its requests waited."""

    def __call__(self, rows: int, waits: Sequence[float]) -> None: ...


Submit = Callable[[list[Any]], Awaitable[list[Any]]]
Together = Callable[[Sequence[list[Any]]], Coroutine[None, None, Sequence[list[Any]]]]


def batcher(factory: ServiceAppFactory, method: str, observe: Observe) -> Submit:
    """The way into the adaptive batcher of the API method `method`, for objects of this process.

    Rows of concurrent callers are handed to the method together. Three things differ from BentoML's own: no lone
    request waits longer than LONGEST_WAIT for company, a cancelled caller's rows leave the queue, and rows of one
    caller are never split over two batches.

    Returns:
        A function that answers a list of at most max_batch_size rows. It raises Overloaded when the batcher sheds.
    """
    from bentoml.exceptions import ServiceUnavailable

    call = _new_dispatcher(factory, method, observe)(_together(factory, method))

    async def submit(rows: list[Any]) -> list[Any]:
        try:
            return await call(rows) or []
        except ServiceUnavailable as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # BentoML turns the cancellation of its caller into this
                raise asyncio.CancelledError from error
            raise Overloaded("more work than this process can do in time: try again") from error

    return submit


def _together(factory: ServiceAppFactory, method: str) -> Together:
    """The API method for the rows of several callers. `batch_infer` does the same, but looks for the method and
    builds its signature anew for every request, which costs more than the answer."""
    local = getattr(factory._service_instance, method).local

    async def answer(requests: Sequence[list[Any]]) -> list[list[Any]]:
        answers = iter(await local([row for rows in requests for row in rows]))
        return [list(itertools.islice(answers, len(rows))) for rows in requests]

    return answer


def _new_dispatcher(factory: ServiceAppFactory, method: str, observe: Observe) -> CorkDispatcher[Any, Any]:
    """In the place of BentoML's own, so that it ends with the server."""
    from bentoml._internal.marshal.dispatcher import CorkDispatcher, Job, Optimizer

    class Gathering(Optimizer):
        """Where BentoML waits for as long as it did before, this waits for company only if some is to be expected."""

        gap = FAR_APART
        last = 0.0

        def arrived(self, now: float) -> None:
            self.gap += (min(now - self.last, FAR_APART) - self.gap) / REMEMBERED
            self.last = now

        @property  # type: ignore[override]
        def wait(self) -> float:
            return LONGEST_WAIT if self.gap < CLOSE_TOGETHER else 0.0

        @wait.setter
        def wait(self, learned: float) -> None:
            pass

    class Dispatcher(CorkDispatcher[Any, Any]):
        def _get_inputs(self, num_batches: int | None = None) -> Iterator[Job[Any, Any]]:
            rows, most = 0, num_batches or self.max_batch_size
            while self._queue:
                job = self._queue[0]
                if not job.future.done():
                    rows += len(job.data)
                    if rows > most and rows > len(job.data):
                        return
                    yield job
                self._queue.popleft()

        async def inbound_call(self, data: Any) -> Any:
            self.optimizer.arrived(time.perf_counter())  # type: ignore[attr-defined]
            return await super().inbound_call(data)

        async def outbound_call(self, inputs_info: tuple[Job[Any, Any], ...], training: bool = False) -> None:
            if not inputs_info:  # all of them were cancelled
                self._sema.release()  # type: ignore[no-untyped-call]
                return
            now = time.time()
            observe(sum(len(job.data) for job in inputs_info), [now - job.enqueue_time for job in inputs_info])
            await super().outbound_call(inputs_info, training)

    old = factory.dispatchers[method]
    new = Dispatcher(
        int(old.max_latency * 1000),
        old.max_batch_size,
        fallback=old.fallback,
        get_batch_size=old.get_batch_size,
        batch_dim=old.batch_dim,
    )
    new.optimizer = Gathering(new.max_latency)
    new.__dict__["_wake_event"] = Wake()  # in the place of a cached property
    factory.dispatchers[method] = new
    return new
