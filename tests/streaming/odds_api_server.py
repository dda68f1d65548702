"""A local HTTP server that speaks the shape of The Odds API v4: odds, scores, quota, ETags, and its refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Reply:
    """One answer instead of the usual one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"message": "no"}'


@dataclass
class OddsApiServer:
    """`events` and `scores` are answered; `replies` first, in turn. `asked` holds (path, query, headers)."""

    events: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    remaining: int = 500
    with_etags: bool = True
    asked: list[tuple[str, dict[str, list[str]], dict[str, str]]] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def odds_asked(self) -> int:
        return sum(path.endswith("/odds") for path, _, _ in self.asked)

    def answer(self, target: str, headers: dict[str, str]) -> Reply:
        with self.lock:
            parts = urlsplit(target)
            query = parse_qs(parts.query)
            self.asked.append((parts.path, query, headers))
            if self.replies:
                return self.replies.pop(0)
            scores = parts.path.endswith("/scores")
            cost = 2 if scores else len(query["markets"][0].split(",")) * len(query["regions"][0].split(","))
            body = json.dumps(self.scores if scores else self.events).encode()
            etag = f'"{hash(body)}"'
            told = {"ETag": etag} if self.with_etags else {}
            if self.with_etags and headers.get("If-None-Match") == etag:
                return Reply(304, told | {"x-requests-remaining": str(self.remaining)}, b"")
            self.remaining -= cost
            quota = {"x-requests-remaining": str(self.remaining), "x-requests-used": "1", "x-requests-last": str(cost)}
            return Reply(200, told | quota, body)


@contextmanager
def odds_api_server() -> Iterator[OddsApiServer]:
    state = OddsApiServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = state.answer(self.path, dict(self.headers.items()))
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
