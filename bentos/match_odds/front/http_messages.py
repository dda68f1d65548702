"""Reading a request and writing an answer in plain ASGI: what a framework would do at ten times the cost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from bentos.match_odds.contract import MAX_BODY, Error
from bentos.match_odds.errors import ServingError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

JSON = b"application/json"
Headers = Sequence[tuple[bytes, bytes]]
Result = TypeVar("Result")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class NotJson(ServingError):
    status = 415


class TooLarge(ServingError):
    status = 413


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of this (lower-case) name."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


async def json_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body. Raises NotJson, TooLarge and ClientGone."""
    kind = header(scope, b"content-type")
    if kind is not None and kind.partition(";")[0].strip().lower() != "application/json":
        raise NotJson("send application/json")
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        return await _longer_body(body, receive)
    return _bounded(body, message["type"])


async def _longer_body(first: bytes, receive: Receive) -> bytes:
    parts, size, more = [first], len(first), True
    while more:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        _bounded(b"" if size <= MAX_BODY else part, message["type"], size)
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _bounded(body: bytes, kind: str, size: int | None = None) -> bytes:
    if kind == "http.disconnect":
        raise ClientGone
    if (len(body) if size is None else size) > MAX_BODY:
        raise TooLarge(f"the body is larger than {MAX_BODY} bytes: send fewer rows")
    return body


async def respond(
    send: Send, status: int, body: bytes, request_id: str, kind: bytes = JSON, more: Headers = ()
) -> None:
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode("latin-1", "replace")),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def respond_error(send: Send, error: ServingError, request_id: str) -> None:
    body = Error(error=str(error)).model_dump_json().encode()
    await respond(send, error.status, body, request_id, more=_retry(error))


def _retry(error: ServingError) -> Headers:
    if error.retry_after is None:
        return ()
    milliseconds = str(round(error.retry_after * 1000)).encode()
    return ((b"retry-after", str(math.ceil(error.retry_after)).encode()), (b"retry-after-ms", milliseconds))


async def until_disconnect(work: Coroutine[Any, Any, Result], receive: Receive) -> Result:
    """The result of `work`, which is cancelled when the client goes away first. Raises ClientGone."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
