"""The BentoML service `match_odds`: champions in memory, features from the online store, one adaptive batcher.

BentoML's supervising process imports this file too, but never makes a MatchOdds: what is heavy is imported in there.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

import bentoml

from bentos.match_odds.batching import Batcher, FindFactory
from bentos.match_odds.contract import MAX_BATCH, Row, RowAnswer
from bentos.match_odds.errors import Unavailable
from bentos.match_odds.guard import BATCH_ROUTE, Guard
from bentos.match_odds.routes import make_routes
from betting_assets.settings import settings

if TYPE_CHECKING:
    from bentos.match_odds.prediction_log import Fate, PredictionLog

logger = logging.getLogger(__name__)
routes = make_routes()
fates = bentoml.metrics.Counter("betting_prediction_log_rows", "Rows of the prediction log by fate.", ["fate"])

WARM_UP_CALLS = 20
"""The batcher tries batches of growing size on its first calls and is slow meanwhile: that is done before ready."""


@bentoml.service(
    name="match_odds",
    workers=1,
    traffic={"timeout": 30},
    logging={"access": {"enabled": False}},
    metrics={"enabled": True},
)
@bentoml.asgi_app(routes, path="/")
class MatchOdds:
    """Match probabilities from the champions of every modelled market."""

    def __init__(self) -> None:
        from bentos.match_odds.champions import load_champions
        from bentos.match_odds.online import OnlineFeatures

        url = settings().database_url
        self.tag = _tag()
        self.champions = load_champions()
        self.online = OnlineFeatures(url.get_secret_value() if url else None)
        self.log = _log(url.get_secret_value(), self.tag) if url else None

    @bentoml.api(route=BATCH_ROUTE, batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=2000)  # type: ignore[untyped-decorator]
    async def batch(self, rows: list[Row]) -> list[RowAnswer]:
        """Every row of every route comes through here; rows of one moment are scored together."""
        from bentos.match_odds.scoring import score

        answers = score(self.champions, rows)
        if self.log is not None:
            self.log.put(rows, answers)
        return answers

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Warm up whatever a first request would wait for; BentoML answers nobody before this has ended."""
        from bentos.match_odds.known_answers import load_known_answers

        if FindFactory.found is None:
            raise RuntimeError("BentoML started the service without its middlewares")
        self.batcher = Batcher(FindFactory.found)
        rows = [known.row() for known in load_known_answers()]
        for _ in range(WARM_UP_CALLS):
            await self.batcher.score(rows)
        try:
            await self.online.open()
        except Unavailable as error:
            logger.warning("started without the online store: %s", error)
        routes.state.service = self

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Let go of the store, and write what the prediction log still holds."""
        self.online.close()
        if self.log is not None:
            self.log.close()


def _tag() -> str:
    context = bentoml.server_context
    return f"{context.bento_name}:{context.bento_version}"


def _log(url: str, tag: str) -> PredictionLog:
    from bentos.match_odds.prediction_log import PredictionLog

    def count(fate: Fate, rows: int) -> None:
        fates.labels(fate=fate.value).inc(rows)

    return PredictionLog(url, tag, f"{socket.gethostname()}:{os.getpid()}", count)


MatchOdds.add_asgi_middleware(Guard)  # type: ignore[attr-defined]
MatchOdds.add_asgi_middleware(FindFactory)  # type: ignore[attr-defined]
