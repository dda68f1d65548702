"""HTTP: stands before BentoML's middlewares, answers the routes of this service, and lets its pages through."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs

from pydantic import BaseModel, ValidationError

from bentos.match_odds.board.routes import is_page, send_data, send_events, send_page
from bentos.match_odds.contract import PredictRequest, ScoreRequest, WatchEvent, WatchRequest, reason
from bentos.match_odds.errors import BadRequest, NotFound, ServingError, Unauthenticated
from bentos.match_odds.front.http_messages import (
    ClientGone,
    header,
    json_body,
    respond,
    respond_error,
    until_disconnect,
)
from bentos.match_odds.front.openapi import document
from bentos.match_odds.front.request_ids import request_id as make_request_id
from bentos.match_odds.front.request_log import note_slow
from bentos.match_odds.observing.logs import current_request_id
from bentos.match_odds.observing.metrics import STREAMS
from bentos.match_odds.observing.tracing import request_span

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from bentos.match_odds.worker import Worker

PROTOCOL = "http"
PROBES = ("/livez", "/readyz", "/healthz")
PAGES = ("/", "/docs.json", "/metrics")
PAGE_FILES = "/static_content/"
METHODS = {f"/v1/{name}": name for name in ("predict", "score", "watch", "models")} | {"/board/events": "board"}
"""Names in the metrics; everything else is a page."""

CLIENT_GONE = 499
"""nginx's code for a request whose client did not wait for the answer; nobody sees it but the metrics."""

logger = logging.getLogger(__name__)
Body = TypeVar("Body", bound=BaseModel)
Handler = Callable[["Exchange"], Awaitable[None]]


class MethodNotAllowed(ServingError):
    status = 405


class Exchange:
    """One request and the way to answer it. `is_stream`: the answer has begun, and can only be cut."""

    __slots__ = ("is_stream", "receive", "request_id", "scope", "send", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.request_id = request_id
        self.status = 200
        self.is_stream = False

    async def answer(self, message: BaseModel, status: int = 200) -> None:
        self.status = status
        await respond(self.send, status, message.model_dump_json().encode(), self.request_id)

    async def refuse(self, error: ServingError) -> None:
        self.status = error.status
        if not self.is_stream:
            await respond_error(self.send, error, self.request_id)


class Front:
    """ASGI app. `rest` is BentoML's own, with its middlewares: it gets the pages only, never its batch route."""

    def __init__(self, rest: ASGIApp, worker: Worker) -> None:
        self._rest = rest
        self._worker = worker
        self._routes: dict[str, tuple[str, Handler]] = {
            "/v1/predict": ("POST", self._predict),
            "/v1/score": ("POST", self._score),
            "/v1/watch": ("GET", self._watch),
            "/v1/models": ("GET", self._models),
            "/docs.json": ("GET", self._openapi),
            "/board/data": ("GET", lambda exchange: send_data(worker.board, exchange)),
            "/board/events": ("GET", lambda exchange: send_events(worker.board, exchange)),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
        elif scope["path"] in PROBES:
            await self._probe(scope["path"], send)
        else:
            await self._measured(scope, receive, send)

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, path = time.perf_counter(), scope["path"]
        exchange = Exchange(scope, receive, send, make_request_id(header(scope, b"x-request-id")))
        method = METHODS.get(path, "page")
        current_request_id.set(exchange.request_id)  # of this request's own task
        try:
            with request_span(PROTOCOL, method, header(scope, b"traceparent")):
                await self._guarded(exchange)
        finally:
            seconds = time.perf_counter() - began
            self._worker.metrics.request(PROTOCOL, method, str(exchange.status), seconds)
            if method not in STREAMS:
                note_slow(PROTOCOL, method, seconds)

    async def _guarded(self, exchange: Exchange) -> None:
        """Every error becomes an answer of one line; what nobody foresaw is logged and becomes 500."""
        try:
            await self._handle(exchange)
        except ServingError as error:
            self._worker.refusals.refused(PROTOCOL, error)
            await exchange.refuse(error)
        except (ClientGone, asyncio.CancelledError) as gone:
            exchange.status = CLIENT_GONE
            self._worker.metrics.cancelled(PROTOCOL)
            if isinstance(gone, asyncio.CancelledError):
                raise
        except Exception:
            logger.exception("request failed")
            await exchange.refuse(ServingError("an unexpected fault, see the log"))

    async def _handle(self, exchange: Exchange) -> None:
        path, verb = exchange.scope["path"], exchange.scope["method"]
        if is_page(path):
            if verb != "GET":
                raise MethodNotAllowed(f"{path} takes GET")
            await send_page(exchange)
            return
        keys = self._worker.api_keys
        if keys is not None and keys.allows(header(exchange.scope, b"authorization")) is None:
            raise Unauthenticated("send the header `Authorization: Bearer <API key>`")
        if path in self._routes:
            wanted, handler = self._routes[path]
            if verb != wanted:
                raise MethodNotAllowed(f"{path} takes {wanted}")
            await handler(exchange)
        elif path in PAGES or path.startswith(PAGE_FILES):
            self._worker.metrics.flush()
            await self._rest(exchange.scope, exchange.receive, exchange.send)
        else:
            raise NotFound(f"there is no {path[:200]}: see /docs.json")

    async def _predict(self, exchange: Exchange) -> None:
        wanted = _parsed(PredictRequest, await json_body(exchange.scope, exchange.receive))
        await self._unary(exchange, self._worker.answering.predict(wanted, exchange.request_id))

    async def _score(self, exchange: Exchange) -> None:
        wanted = _parsed(ScoreRequest, await json_body(exchange.scope, exchange.receive))
        await self._unary(exchange, self._worker.answering.score(wanted, exchange.request_id))

    async def _unary(self, exchange: Exchange, work: Any) -> None:
        if self._worker.answering.must_wait:
            await exchange.answer(await until_disconnect(work, exchange.receive))
        else:
            await exchange.answer(await work)

    async def _models(self, exchange: Exchange) -> None:
        await exchange.answer(self._worker.answering.models())

    async def _openapi(self, exchange: Exchange) -> None:
        """This service's own page, instead of BentoML's, which knows nothing of these routes."""
        await respond(exchange.send, 200, document(self._worker.served.bento), exchange.request_id)

    async def _watch(self, exchange: Exchange) -> None:
        events = self._worker.watch(_watch_request(exchange.scope), exchange.request_id)
        first = await anext(events)  # what is wrong with the request is said before the stream begins
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"x-request-id", exchange.request_id.encode("latin-1", "replace")),
        ]
        await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
        exchange.is_stream = True
        await until_disconnect(_send_events(exchange.send, first, events), exchange.receive)

    async def _probe(self, path: str, send: Send) -> None:
        if path == "/livez":
            await respond(send, 200, b"alive\n", "", b"text/plain")
            return
        health = self._worker.health()
        await respond(send, 200 if health.ready else 503, health.model_dump_json().encode(), "")


async def _send_events(send: Send, first: WatchEvent, events: AsyncGenerator[WatchEvent]) -> None:
    try:
        await send({"type": "http.response.body", "body": _event(first), "more_body": True})
        async for event in events:
            await send({"type": "http.response.body", "body": _event(event), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        await events.aclose()


def _event(event: WatchEvent) -> bytes:
    kind = "heartbeat" if event.answer is None else "prediction"
    return f"event: {kind}\ndata: {event.model_dump_json()}\n\n".encode()


def _watch_request(scope: Scope) -> WatchRequest:
    """From the query: market, match_id (again and again), heartbeat_seconds, kelly_fraction, max_stake."""
    try:
        query = parse_qs(scope["query_string"].decode("ascii"), max_num_fields=1000)
    except (UnicodeDecodeError, ValueError) as error:
        raise BadRequest("the query cannot be read: market=…&match_id=…&match_id=…") from error
    known = {"market", "match_id", "heartbeat_seconds", "kelly_fraction", "max_stake"}
    if unknown := sorted(set(query) - known):
        raise BadRequest(f"unknown {', '.join(unknown)[:200]}: there are {', '.join(sorted(known))}")
    wanted: dict[str, Any] = {"market": query.get("market", [""])[-1], "match_ids": query.get("match_id", [])}
    staking = {name: _number(query[name][-1], name) for name in ("kelly_fraction", "max_stake") if name in query}
    if staking:
        wanted["staking"] = staking
    if "heartbeat_seconds" in query:
        wanted["heartbeat_seconds"] = _number(query["heartbeat_seconds"][-1], "heartbeat_seconds")
    try:
        return WatchRequest.model_validate(wanted)
    except ValidationError as error:
        raise BadRequest(reason(error)) from error


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise BadRequest(f"{name}: must be a number") from error


def _parsed(kind: type[Body], body: bytes) -> Body:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise BadRequest(reason(error)) from error
