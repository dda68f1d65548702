"""One process of the service: everything it holds, in the order in which it is made ready and let go."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncGenerator
from types import FrameType
from typing import TYPE_CHECKING

from bentos.match_odds.answering import Answering
from bentos.match_odds.board.board import Board
from bentos.match_odds.board.contract import Serving
from bentos.match_odds.contract import Answer, Health, WatchEvent, WatchRequest
from bentos.match_odds.deploying.build import champions_folder
from bentos.match_odds.deploying.following import ModelFollower
from bentos.match_odds.errors import Unavailable
from bentos.match_odds.features.feature_cache import FeatureCache
from bentos.match_odds.features.watching import Watching
from bentos.match_odds.front.api_keys import ApiKeys, check_exposure
from bentos.match_odds.front.grpc_server import GrpcServer
from bentos.match_odds.front.request_log import Refusals
from bentos.match_odds.front.tls import server_credentials
from bentos.match_odds.log.prediction_log import PredictionLog
from bentos.match_odds.log.shadow import Shadow
from bentos.match_odds.model.batching import Batcher
from bentos.match_odds.model.known_answers import load_known_answers
from bentos.match_odds.model.scoring import model_row, score
from bentos.match_odds.model.served import Served, load_served
from bentos.match_odds.observing.metrics import make_metrics
from bentos.match_odds.observing.tracing import shut_down_tracing
from betting_assets.settings import Settings

if TYPE_CHECKING:
    from bentos.match_odds.log.shadow import Shadow
    from bentos.match_odds.model.bentoml_inside import Submit

LOOK = 0.2
"""Seconds between two looks at one's own health, for gRPC's health protocol and the gauges."""

DRAIN = 10.0
"""Seconds that calls in hand may take after SIGTERM."""

WARM_UP_CALLS = 20

logger = logging.getLogger(__name__)


class Worker:
    """Attributes:
    served: the models of this moment; replaced as a whole.
    answering, watching: there once it has started.

    Args:
        own: the models of the process's own Bento.
        code: digest of its code, see `build.own_code`.
    """

    answering: Answering
    watching: Watching

    def __init__(self, config: Settings, own: Served, code: str) -> None:
        check_exposure(config)
        self._config = config
        self._code = code
        self._url = config.database_url.get_secret_value() if config.database_url else None
        self._draining = asyncio.Event()
        self._follower: ModelFollower | None = None
        self._grpc: GrpcServer | None = None
        self._look: asyncio.Task[None] | None = None
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.served = own
        self.metrics = make_metrics()
        self.refusals = Refusals(self.metrics.shed)
        self.api_keys = ApiKeys.load(config.api_keys_file) if config.api_keys_file else None
        self.log = PredictionLog(self._url, self.name, self.metrics.logged) if self._url else None
        self.board = Board(self._url, config.replays, self._serving)
        self.cache = FeatureCache(self._url, config.cache_bound_ms / 1000, config.stale_features_seconds)

    async def start(self, submit: Submit, host: str) -> None:
        """Be ready for a first request: models, store, batcher, gRPC, in this order."""
        config = self._config
        self._loop = asyncio.get_running_loop()
        batcher = Batcher(submit, config.max_waiting_rows)
        self.shadow = self._make_shadow(batcher)
        bound = config.cache_bound_ms / 1000
        self.answering = Answering(
            lambda: self.served,
            self.cache,
            batcher,
            self.log,
            self.shadow,
            self.metrics,
            bound,
            config.max_odds_age_seconds,
        )
        self.watching = Watching(self.cache, self._answer_some)
        await self._open_store()
        await self._follow()
        await _warm_up(batcher, self.served)
        self._grpc = GrpcServer(self)
        await self._grpc.start(f"{host}:{config.grpc_port}", server_credentials(config))
        self._drain_on_sigterm()
        _leave_to_the_garbage_collector_only_what_is_new()
        self._look = asyncio.create_task(self._look_after())

    async def stop(self) -> None:
        """Let calls in hand end, write what the log still holds, and let go of everything."""
        self._drain()
        if self._look is not None:
            self._look.cancel()
        if self._grpc is not None:
            await self._grpc.stop(DRAIN)
        if self._follower is not None:
            await asyncio.to_thread(self._follower.stop)
        if self.shadow is not None:
            await asyncio.to_thread(self.shadow.close)
        if self.log is not None:
            await asyncio.to_thread(self.log.close)
        self.cache.close()
        self.metrics.flush()
        await asyncio.to_thread(shut_down_tracing)

    def health(self) -> Health:
        """Whether this process may be asked: it has models and its store, and it is not about to stop."""
        if self._draining.is_set():
            return Health(ready=False, reasons=["draining: this process is about to stop"])
        reasons = self._refusals_of_models()
        state = self.cache.state
        if self._url is None or state.reachable:
            return Health(ready=True, reasons=reasons)
        reasons.append(f"online store: {state.reason}")
        return Health(ready=self._config.stale_features_seconds > 0, reasons=reasons)

    def _refusals_of_models(self) -> list[str]:
        """What was served before serves on, which is not what the pointer says."""
        state = self._follower.state if self._follower is not None else None
        if state is None or state.refused_id is None:
            return []
        return [f"serves {self.served.bento}, deployment {state.refused_id} was refused: {state.reason}"]

    async def watch(self, request: WatchRequest, request_id: str) -> AsyncGenerator[WatchEvent]:
        """What `Watching.watch` says, until this process is about to stop."""
        self.served.champions.of(request.market)
        events = self.watching.watch(request, request_id)
        draining = asyncio.ensure_future(self._draining.wait())
        following: asyncio.Future[WatchEvent] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(events))
                await asyncio.wait((following, draining), return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    return
                yield following.result()
        finally:
            draining.cancel()
            if following is not None and not following.done():
                following.cancel()
                await asyncio.wait((following,))  # a generator that still runs cannot be closed
            await events.aclose()

    async def _answer_some(self, request: WatchRequest, match_ids: list[str], request_id: str) -> Answer:
        return await self.answering.predict(request.model_copy(update={"match_ids": match_ids}), request_id)

    def _make_shadow(self, batcher: Batcher) -> Shadow | None:
        if not self._config.shadow or self.log is None:
            return None
        return Shadow(score, self.log, self.metrics.shadowed, lambda: batcher.waiting > 0)

    async def _open_store(self) -> None:
        if self._url is None:
            return
        try:
            await self.cache.open()
        except Unavailable as error:
            logger.warning("started without the online store: %s", error)

    async def _follow(self) -> None:
        if not self._config.follow or self._url is None:
            return
        self._follower = ModelFollower(self._url, self.name, self.served.bento, self._code, self._load, self._swap)
        await asyncio.to_thread(self._follower.start)

    def _load(self, bento: str, deployment: int | None) -> Served:
        return load_served(bento, champions_folder(bento, self._config.home).parent, deployment)

    def _swap(self, served: Served) -> None:
        """Called by the follower's thread. An assignment is atomic: requests see the old models or the new ones."""
        self.served = served
        self._loop.call_soon_threadsafe(self._tell_of_models)

    def _tell_of_models(self) -> None:
        self.metrics.serves(self.served)
        self.watching.model_changed()

    def _serving(self) -> Serving:
        served = self.served
        versions = {market: champion.version for market, champion in served.champions.items()}
        return Serving(bento=served.bento, deployment=served.deployment, models=versions)

    def _drain(self) -> None:
        self._draining.set()
        self.board.close()

    def _drain_on_sigterm(self) -> None:
        """Say that one is not ready, and end streams, as soon as the signal comes.

        uvicorn would otherwise wait for the streams first, and run the shutdown hooks after that.
        """
        before = signal.getsignal(signal.SIGTERM)

        def drain(number: int, frame: FrameType | None) -> None:
            self._loop.call_soon_threadsafe(self._drain)
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGTERM, drain)

    async def _look_after(self) -> None:
        """Keep gRPC's health and the gauges true."""
        self._tell_of_models()
        while True:
            assert self._grpc is not None
            await self._grpc.tell_health()
            self.metrics.state(self.cache.state, self.watching.count, degraded=bool(self.health().reasons))
            await asyncio.sleep(LOOK)


def _leave_to_the_garbage_collector_only_what_is_new() -> None:
    """Else it walks again and again through all that was imported, which answers wait for."""
    gc.collect()
    gc.freeze()


async def _warm_up(batcher: Batcher, served: Served) -> None:
    """The batcher tries batches of growing size on its first calls and is slow meanwhile: that is done before ready."""
    rows = [model_row(served.champions.of(known.market), known.features) for known in load_known_answers()]
    for _ in range(WARM_UP_CALLS):
        await batcher.score(rows)
