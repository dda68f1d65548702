"""The peer Ray Serve: replicas with @serve.batch behind Ray's HTTP proxy, on loopback. Run by serving_peers.py."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import ray
from ray import serve
from serving_peer_work import Peer
from starlette.requests import Request
from starlette.responses import Response

from bentos.match_odds.contract import PredictRequest
from bentos.match_odds.model.rows import ModelRow, RowAnswer
from bentos.match_odds.model.scoring import score


@serve.deployment(ray_actor_options={"num_cpus": 0.5}, max_ongoing_requests=256)
class Replica:
    """Every row goes through @serve.batch; what is read and written is plain JSON, without a framework."""

    def __init__(self) -> None:
        self._peer = Peer(self._score_all)
        self._opened: asyncio.Task[None] | None = None

    async def __call__(self, request: Request) -> Response:
        if self._opened is None:
            self._opened = asyncio.create_task(self._peer.open())
        await self._opened
        wanted = PredictRequest.model_validate_json(await request.body())
        answer = await self._peer.predict(wanted)
        return Response(answer.model_dump_json(), media_type="application/json")

    async def _score_all(self, rows: Sequence[ModelRow]) -> list[RowAnswer]:
        return list(await asyncio.gather(*map(self._score, rows)))

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def _score(self, rows: list[ModelRow]) -> Any:
        return score(rows)


def main() -> None:
    port, replicas = int(sys.argv[1]), int(sys.argv[2])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        object_store_memory=80 * 2**20,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Replica.options(num_replicas=replicas).bind(), route_prefix="/v1/predict", name="peer")
    print("ready", flush=True)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    while not over.wait(0.5):
        pass
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    # Pickled classes of __main__ would be looked for in the replicas' own __main__.
    import serving_peer_ray

    serving_peer_ray.main()
