"""The peer FastAPI: an async handler, uvicorn with uvloop and httptools, no batching. Run by serving_peers.py."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from serving_peer_work import Peer

from bentos.match_odds.contract import Answer, PredictRequest
from bentos.match_odds.model.rows import ModelRow, RowAnswer
from bentos.match_odds.model.scoring import score


async def _score(rows: Sequence[ModelRow]) -> list[RowAnswer]:
    return score(rows)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.peer = Peer(_score)
    await app.state.peer.open()
    yield
    app.state.peer.close()


app = FastAPI(lifespan=_lifespan)


@app.post("/v1/predict")
async def predict(request: PredictRequest) -> Answer:
    answer: Answer = await app.state.peer.predict(request)
    return answer


def main() -> None:
    port, workers = int(sys.argv[1]), int(sys.argv[2])
    uvicorn.run(
        "serving_peer_fastapi:app",
        host="127.0.0.1",
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
