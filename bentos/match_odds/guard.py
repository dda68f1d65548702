"""What is refused before BentoML sees it: anything but JSON, bodies too large, and batches that break their schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from bentos.match_odds.contract import MAX_BODY, BatchRequest, reason

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BATCH_ROUTE = "/v1/batch"


class Guard:
    """ASGI middleware for every POST."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import JSONResponse

        if scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        kind = dict(scope["headers"]).get(b"content-type", b"application/json").split(b";")[0].strip().lower()
        if kind != b"application/json":
            return await JSONResponse({"error": "send application/json"}, 415)(scope, receive, send)
        body = await _read(receive)
        if body is None:
            too_large = f"the body is larger than {MAX_BODY} bytes: send fewer rows"
            return await JSONResponse({"error": too_large}, 413)(scope, receive, send)
        if scope["path"] == BATCH_ROUTE and (fault := _batch_fault(body)):
            return await JSONResponse({"error": fault}, 400)(scope, receive, send)
        return await self.app(scope, _replay(body, receive), send)


def _batch_fault(body: bytes) -> str | None:
    """BentoML checks batches too, but answers with many lines and writes what was sent into the log."""
    try:
        BatchRequest.model_validate_json(body)
    except ValidationError as error:
        return reason(error)
    return None


async def _read(receive: Receive) -> bytes | None:
    """The whole body, None when it is too large."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then whatever comes (the client's disconnect)."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
