"""The service's HTTP front with a board on a real database, in this process: everything but the models."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

import uvicorn
from invented_models import free_port

from bentos.match_odds.board.board import Board
from bentos.match_odds.board.contract import Serving
from bentos.match_odds.contract import Health
from bentos.match_odds.front.api_keys import ApiKeys
from bentos.match_odds.front.http_front import Front
from bentos.match_odds.front.request_log import Refusals

SERVING = Serving(bento="match_odds:planted", deployment=4, models={"1x2": "3", "over_under": "7"})


class Uncounted:
    """In the place of the metrics."""

    def __getattr__(self, name: str) -> Any:
        return lambda *values: None


class StandIn:
    """In the place of a worker."""

    def __init__(self, board: Board, api_keys: ApiKeys | None) -> None:
        self.board, self.api_keys = board, api_keys
        self.metrics = Uncounted()
        self.refusals = Refusals(lambda protocol: None)

    def health(self) -> Health:
        return Health(ready=True)


class BoardService:
    """Attributes:
    serving: what the worker says that it serves.
    """

    def __init__(
        self,
        url: str | None,
        api_keys: ApiKeys | None = None,
        replayed: bool = False,
        idle: float = 60.0,
        port: int | None = None,
    ) -> None:
        self.serving = SERVING
        self.board = Board(url, replayed, lambda: self.serving, idle)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.worker = StandIn(self.board, api_keys)
        front = Front(None, self.worker)  # type: ignore[arg-type]
        config = uvicorn.Config(front, port=self.port, log_level="error", lifespan="off", timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> BoardService:
        self._thread.start()
        end = time.monotonic() + 60
        while not self._server.started:
            assert time.monotonic() < end, "the service did not start"
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.servers[0].get_loop().call_soon_threadsafe(self.board.close)
        self._server.should_exit = True
        self._thread.join(30)
