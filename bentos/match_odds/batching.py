"""The way into BentoML's adaptive batcher from inside the process.

`self.to_async.batch()` would be a whole request to oneself: JSON, validation and the ASGI stack, about a millisecond.
This reaches the same dispatcher as POST /v1/batch does, with Python objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bentos.match_odds.contract import MAX_BATCH, Row, RowAnswer
from bentos.match_odds.errors import Unavailable

if TYPE_CHECKING:
    from _bentoml_impl.server.app import ServiceAppFactory
    from starlette.types import ASGIApp, Receive, Scope, Send

METHOD = "batch"
LONGEST_WAIT = 0.002
"""Seconds. Left alone, the batcher learns from a burst to hold the lone request that follows it for up to 150 ms."""


class Batcher:
    """Scores rows together with those of the other requests of this moment."""

    def __init__(self, factory: ServiceAppFactory) -> None:
        self._factory = factory
        _cap_the_wait(factory)

    async def score(self, rows: list[Row]) -> list[RowAnswer]:
        """One answer a row, in order. Raises Unavailable when the batcher sheds load."""
        from bentoml.exceptions import ServiceUnavailable

        answers: list[RowAnswer] = []
        try:
            for start in range(0, len(rows), MAX_BATCH):
                answers += await self._factory.batch_infer(METHOD, (rows[start : start + MAX_BATCH],), {})
        except ServiceUnavailable as error:
            raise Unavailable("more work than this process can do in time: try again") from error
        return answers


class FindFactory:
    """ASGI middleware that keeps the application's factory when the server starts; it holds the batcher's queue.

    BentoML offers no public way to it. The application's lifespan is a method of the factory.
    """

    found: ServiceAppFactory | None = None

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            FindFactory.found = scope["app"].router.lifespan_context.__self__
        await self.app(scope, receive, send)


def _cap_the_wait(factory: ServiceAppFactory) -> None:
    from bentoml._internal.marshal.dispatcher import Optimizer

    class CappedOptimizer(Optimizer):
        def trigger_refresh(self) -> None:
            super().trigger_refresh()  # type: ignore[no-untyped-call]
            self.wait = min(self.wait, LONGEST_WAIT)  # type: ignore[assignment]

    dispatcher = factory.dispatchers[METHOD]
    dispatcher.optimizer = CappedOptimizer(dispatcher.max_latency)
