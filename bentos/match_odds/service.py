"""The BentoML service `match_odds`: its place in BentoML; what it does is in `worker`.

BentoML's supervising process imports this file too, but never makes a MatchOdds: what is heavy is imported in there.
"""

from __future__ import annotations

from typing import Any

import bentoml

from bentos.match_odds.model.batching import MAX_BATCH
from bentos.match_odds.model.bentoml_inside import Inside, batcher, found, put_in_front
from betting_assets.settings import settings

LONGEST_QUEUE_MS = 500
"""What waits longer than this for its batch is shed."""


@bentoml.service(
    name="match_odds",
    workers=settings().serving_workers,
    traffic={"timeout": 30},
    logging={"access": {"enabled": False}},
    metrics={"enabled": True},
)
class MatchOdds:
    """Match probabilities from the champions of every modelled market."""

    def __init__(self) -> None:
        from bentos.match_odds.deploying.build import own_code
        from bentos.match_odds.model.served import load_served
        from bentos.match_odds.observing.logs import set_up_logs
        from bentos.match_odds.observing.tracing import set_up_tracing
        from bentos.match_odds.worker import Worker

        context = bentoml.server_context
        set_up_logs()
        set_up_tracing(settings())
        own = load_served(f"{context.bento_name}:{context.bento_version}")
        self.worker = Worker(settings(), own, own_code())

    @bentoml.api(  # type: ignore[untyped-decorator]
        route="/internal/batch", batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=LONGEST_QUEUE_MS
    )
    async def batch(self, rows: list[Any]) -> list[Any]:
        """Every row of both protocols comes through here; rows of one moment are scored together."""
        from bentos.match_odds.model.scoring import score
        from bentos.match_odds.observing.tracing import batch_span

        with batch_span(len(rows)):
            return score(rows)

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """BentoML answers nobody before this has ended."""
        from bentos.match_odds.front.http_front import Front

        application, factory = found()
        await self.worker.start(batcher(factory, "batch", self.worker.metrics.batch), settings().serving_host)
        put_in_front(application, lambda rest: Front(rest, self.worker))

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        await self.worker.stop()


MatchOdds.add_asgi_middleware(Inside)  # type: ignore[attr-defined]
