"""The client's gRPC side."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bentos.match_odds.calling.client_calls import Call, Reply
from bentos.match_odds.calling.client_connection import Connection
from bentos.match_odds.calling.client_errors import MatchOddsError, UnreachableError
from bentos.match_odds.contract import WatchEvent
from bentos.match_odds.proto.match_odds_pb2_grpc import MatchOddsStub

SERVICE = "betting.v1.MatchOdds"
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # else channels to one address share one connection, also across clients
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 50),  # else a worker that comes back is not looked for within a second
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "RESOURCE_EXHAUSTED": 503,
    "DEADLINE_EXCEEDED": 504,
}
TOO_LARGE = "larger than max"
"""In the words of gRPC's own refusal, which has the code of an overload."""


class GrpcTransport:
    """Blocking."""

    def __init__(self, to: Connection) -> None:
        self._to = to
        self._channels = [_channel(grpc, to) for _ in range(to.channels)]
        self._stubs = _in_turn(self._channels)

    def ask(self, call: Call[Reply], request_id: str | None) -> Reply:
        message, metadata = call.message(), _metadata(self._to, request_id)

        def once(left: float) -> Reply:
            method = getattr(next(self._stubs), call.method)
            try:
                return call.read(method(message, timeout=left, metadata=metadata))
            except grpc.RpcError as error:
                raise _refusal(error, self._to) from error

        return self._to.retries.call(once, self._to.timeout)

    def watch(
        self, call: Call[WatchEvent], request_id: str | None, silence: float
    ) -> Generator[WatchEvent, None, None]:
        """A dead connection is found by keepalive, not by `silence`."""
        events = getattr(next(self._stubs), call.method)(call.message(), metadata=_metadata(self._to, request_id))
        try:
            for event in events:
                yield call.read(event)
        except grpc.RpcError as error:
            raise _refusal(error, self._to) from error
        finally:
            events.cancel()

    def ready(self) -> bool:
        try:
            check = health_pb2_grpc.HealthStub(self._channels[0]).Check
            return _serving(check(_health_request(), timeout=self._to.timeout, metadata=_metadata(self._to)))
        except grpc.RpcError:
            return False

    def close(self) -> None:
        for channel in self._channels:
            channel.close()


class AsyncGrpcTransport:
    """On asyncio. Channels belong to a loop, so they are opened by the first call."""

    def __init__(self, to: Connection) -> None:
        self._to = to
        self._channels: list[Any] = []
        self._stubs: Iterator[Any] = iter(())

    async def ask(self, call: Call[Reply], request_id: str | None) -> Reply:
        message, metadata = call.message(), _metadata(self._to, request_id)

        async def once(left: float) -> Reply:
            try:
                return call.read(await getattr(self._stub(), call.method)(message, timeout=left, metadata=metadata))
            except grpc.RpcError as error:
                raise _refusal(error, self._to) from error

        return await self._to.retries.call_async(once, self._to.timeout)

    async def watch(
        self, call: Call[WatchEvent], request_id: str | None, silence: float
    ) -> AsyncGenerator[WatchEvent, None]:
        """A dead connection is found by keepalive, not by `silence`."""
        events = getattr(self._stub(), call.method)(call.message(), metadata=_metadata(self._to, request_id))
        try:
            async for event in events:
                yield call.read(event)
        except grpc.RpcError as error:
            raise _refusal(error, self._to) from error
        finally:
            events.cancel()

    async def ready(self) -> bool:
        self._stub()
        try:
            check = health_pb2_grpc.HealthStub(self._channels[0]).Check
            return _serving(await check(_health_request(), timeout=self._to.timeout, metadata=_metadata(self._to)))
        except grpc.RpcError:
            return False

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()

    def _stub(self) -> Any:
        if not self._channels:
            self._channels = [_channel(grpc.aio, self._to) for _ in range(self._to.channels)]
            self._stubs = _in_turn(self._channels)
        return next(self._stubs)


def _in_turn(channels: Sequence[Any]) -> Iterator[Any]:
    return itertools.cycle([MatchOddsStub(channel) for channel in channels])


def _channel(library: Any, to: Connection) -> Any:
    """`library`: grpc or grpc.aio."""
    if not to.is_encrypted:
        return library.insecure_channel(to.address, options=OPTIONS)
    trusted = None if to.ca is None else to.ca.read_bytes()
    return library.secure_channel(to.address, grpc.ssl_channel_credentials(trusted), options=OPTIONS)


def _metadata(to: Connection, request_id: str | None = None) -> tuple[tuple[str, str], ...]:
    return tuple(to.headers(request_id).items())


def _health_request() -> Any:
    return health_pb2.HealthCheckRequest(service=SERVICE)


def _serving(response: Any) -> bool:
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def _refusal(error: Any, to: Connection) -> MatchOddsError:
    """The service says with UNAVAILABLE when to come back; without that it is gRPC that found nobody."""
    code, detail = error.code().name, " ".join((error.details() or "").split())
    after = _retry_after(error.trailing_metadata() or ())
    if code == "RESOURCE_EXHAUSTED" and TOO_LARGE in detail:
        return MatchOddsError(413, detail)
    if code == "UNAVAILABLE" and after is None:
        return UnreachableError(f"{to.url} cannot be reached: {detail}")
    retryable = code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
    return MatchOddsError(STATUS.get(code, 500), detail or code, retryable=retryable, retry_after=after)


def _retry_after(metadata: Iterable[tuple[str, str | bytes]]) -> float | None:
    for name, value in metadata:
        if name == "retry-after-ms" and isinstance(value, str) and value.isascii() and value.isdigit():
            return int(value) / 1000
    return None
