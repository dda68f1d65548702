"""The client's HTTP side."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from bentos.match_odds.calling.client_calls import Call, Reply
from bentos.match_odds.calling.client_connection import Connection
from bentos.match_odds.calling.client_errors import MatchOddsError, UnreachableError
from bentos.match_odds.calling.client_events import EventReader
from bentos.match_odds.contract import WatchEvent

RETRYABLE = (502, 503, 504)
READY = "/readyz"


class HttpTransport:
    """Blocking. Each step of an attempt (connecting, sending, waiting for bytes) may take the time left."""

    def __init__(self, to: Connection) -> None:
        self._to = to
        self._http = httpx.Client(**_options(to))

    def ask(self, call: Call[Reply], request_id: str | None) -> Reply:
        asked = _request(call, self._to.headers(request_id))

        def once(left: float) -> Reply:
            deadline = time.monotonic() + left
            with _translated(self._to), self._http.stream(**asked, timeout=left) as response:
                return _parsed(response, b"".join(_until(deadline, response.iter_bytes())), call.reply)

        return self._to.retries.call(once, self._to.timeout)

    def watch(
        self, call: Call[WatchEvent], request_id: str | None, silence: float
    ) -> Generator[WatchEvent, None, None]:
        asked, reader = _request(call, self._to.headers(request_id)), EventReader()
        with (
            _translated(self._to),
            self._http.stream(**asked, timeout=httpx.Timeout(self._to.timeout, read=silence)) as response,
        ):
            if not response.is_success:
                raise _refusal(response, response.read())
            for chunk in response.iter_bytes():
                for data in reader.feed(chunk):
                    yield call.reply.model_validate_json(data)

    def ready(self) -> bool:
        try:
            return self._http.get(READY).is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self._http.close()


class AsyncHttpTransport:
    """On asyncio; an attempt is bounded by the time left as a whole."""

    def __init__(self, to: Connection) -> None:
        self._to = to
        self._http = httpx.AsyncClient(**_options(to))

    async def ask(self, call: Call[Reply], request_id: str | None) -> Reply:
        asked = _request(call, self._to.headers(request_id))

        async def once(left: float) -> Reply:
            with _translated(self._to):
                async with asyncio.timeout(left):
                    response = await self._http.request(**asked, timeout=left)
                    return _parsed(response, response.content, call.reply)

        return await self._to.retries.call_async(once, self._to.timeout)

    async def watch(
        self, call: Call[WatchEvent], request_id: str | None, silence: float
    ) -> AsyncGenerator[WatchEvent, None]:
        asked, reader = _request(call, self._to.headers(request_id)), EventReader()
        with _translated(self._to):
            async with self._http.stream(**asked, timeout=httpx.Timeout(self._to.timeout, read=silence)) as response:
                if not response.is_success:
                    raise _refusal(response, await response.aread())
                async for chunk in response.aiter_bytes():
                    for data in reader.feed(chunk):
                        yield call.reply.model_validate_json(data)

    async def ready(self) -> bool:
        try:
            return (await self._http.get(READY)).is_success
        except httpx.TransportError:
            return False

    async def close(self) -> None:
        await self._http.aclose()


def _options(to: Connection) -> dict[str, Any]:
    trusted = True if to.ca is None else ssl.create_default_context(cafile=to.ca)
    return {"base_url": to.url, "timeout": to.timeout, "verify": trusted}


def _request(call: Call[Reply], headers: dict[str, str]) -> dict[str, Any]:
    """Numbers that are not finite are sent as they are: the service says where they stand."""
    if call.body is None:
        return {"method": "GET", "url": call.path, "params": list(call.query), "headers": headers}
    content = json.dumps(call.body, separators=(",", ":")).encode()
    headers = {**headers, "content-type": "application/json"}
    return {"method": "POST", "url": call.path, "content": content, "headers": headers}


@contextmanager
def _translated(to: Connection) -> Iterator[None]:
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise UnreachableError(f"{to.url} cannot be reached in time") from error
    except (httpx.TimeoutException, TimeoutError) as error:
        raise MatchOddsError(504, f"{to.url} did not answer in time") from error
    except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError) as error:
        raise UnreachableError(f"{to.url} cannot be reached: {error or type(error).__name__}") from error


def _until(deadline: float, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """An answer that comes in drops keeps within every timeout of httpx, and never ends."""
    for chunk in chunks:
        yield chunk
        if time.monotonic() > deadline:
            raise TimeoutError


def _parsed(response: httpx.Response, content: bytes, kind: type[Reply]) -> Reply:
    if not response.is_success:
        raise _refusal(response, content)
    return kind.model_validate_json(content)


def _refusal(response: httpx.Response, content: bytes) -> MatchOddsError:
    try:
        message = str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        message = " ".join(content[:500].decode(errors="replace").split())  # a proxy's page
    return MatchOddsError(
        response.status_code,
        message,
        retryable=response.status_code in RETRYABLE,
        retry_after=_retry_after(response.headers),
    )


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds. The service says milliseconds too, as Retry-After has whole seconds only; dates are not understood."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        if value.isascii() and value.isdigit():
            return int(value) * scale
    return None
