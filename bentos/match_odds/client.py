"""Typed clients of the service, blocking and on asyncio, over HTTP or gRPC as the address says."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from pathlib import Path
from types import TracebackType

from bentos.match_odds.calling import client_calls
from bentos.match_odds.calling.client_calls import AsyncTransport, Rows, Transport
from bentos.match_odds.calling.client_connection import Connection
from bentos.match_odds.calling.client_errors import MatchOddsError, UnreachableError
from bentos.match_odds.calling.retries import Retries
from bentos.match_odds.contract import Answer, Models, Staking, WatchEvent

__all__ = ["AsyncMatchOddsClient", "MatchOddsClient", "MatchOddsError", "Retries", "UnreachableError"]

DEFAULT_RETRIES = Retries()


class MatchOddsClient:
    """Talks to one service; use as a context manager, or call `close`. Threads may share it.

    Args:
        url: http://, https://, grpc:// or grpcs:// with host and port; the s stands for TLS.
        api_key: sent with every request, where the service asks for one.
        timeout: seconds for a whole request, retries included.
        ca: PEM file of the authorities to trust instead of those that the library brings.
        retries: what is done about 502, 503, 504 (UNAVAILABLE, RESOURCE_EXHAUSTED) and broken connections.
        channels: connections of gRPC, used in turn. Workers share a port by connections, not by calls.

    Every method raises MatchOddsError when the service refuses, UnreachableError (which is one) when it cannot be
    reached, and pydantic's ValidationError when what answers is not this service.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = 10.0,
        ca: Path | str | None = None,
        retries: Retries = DEFAULT_RETRIES,
        channels: int = 1,
    ) -> None:
        self._to = Connection(url, api_key, timeout, None if ca is None else Path(ca), retries, channels)
        self._transport = _transport(self._to)

    def predict(
        self, market: str, match_ids: Sequence[str], staking: Staking | None = None, request_id: str | None = None
    ) -> Answer:
        """Probabilities for matches by id, at most 256."""
        return self._transport.ask(client_calls.predict(market, match_ids, staking), request_id)

    def score(self, market: str, rows: Rows, staking: Staking | None = None, request_id: str | None = None) -> Answer:
        """Probabilities for explicit features, at most 256 rows; a ScoreRow also holds prices to bet against."""
        return self._transport.ask(client_calls.score(market, rows, staking), request_id)

    def watch(
        self,
        market: str,
        match_ids: Sequence[str],
        staking: Staking | None = None,
        heartbeat_seconds: float = 15.0,
        request_id: str | None = None,
    ) -> Generator[WatchEvent, None, None]:
        """Every match at once, then those that change; heartbeats between.

        Nothing is retried: when the service goes away the stream ends, or raises MatchOddsError, and it is for the
        caller to watch again and be told everything anew. A service that fell silent is noticed: over HTTP after
        `heartbeat_seconds` and the client's timeout, over gRPC by pings, within half a minute. Close the generator to
        end the stream.
        """
        call = client_calls.watch(market, match_ids, staking, heartbeat_seconds)
        return self._transport.watch(call, request_id, heartbeat_seconds + self._to.timeout)

    def models(self) -> Models:
        """What is served."""
        return self._transport.ask(client_calls.models(), None)

    def ready(self) -> bool:
        """Whether the service is up and warm; False also when nothing listens. Asks once."""
        return self._transport.ready()

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> MatchOddsClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncMatchOddsClient:
    """As MatchOddsClient, on asyncio: of one loop. A call that is cancelled is cancelled in the service too."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = 10.0,
        ca: Path | str | None = None,
        retries: Retries = DEFAULT_RETRIES,
        channels: int = 1,
    ) -> None:
        self._to = Connection(url, api_key, timeout, None if ca is None else Path(ca), retries, channels)
        self._transport = _async_transport(self._to)

    async def predict(
        self, market: str, match_ids: Sequence[str], staking: Staking | None = None, request_id: str | None = None
    ) -> Answer:
        """Probabilities for matches by id, at most 256."""
        return await self._transport.ask(client_calls.predict(market, match_ids, staking), request_id)

    async def score(
        self, market: str, rows: Rows, staking: Staking | None = None, request_id: str | None = None
    ) -> Answer:
        """Probabilities for explicit features, at most 256 rows; a ScoreRow also holds prices to bet against."""
        return await self._transport.ask(client_calls.score(market, rows, staking), request_id)

    def watch(
        self,
        market: str,
        match_ids: Sequence[str],
        staking: Staking | None = None,
        heartbeat_seconds: float = 15.0,
        request_id: str | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """As `MatchOddsClient.watch`; leave the loop over it inside `contextlib.aclosing`, which ends the stream."""
        call = client_calls.watch(market, match_ids, staking, heartbeat_seconds)
        return self._transport.watch(call, request_id, heartbeat_seconds + self._to.timeout)

    async def models(self) -> Models:
        """What is served."""
        return await self._transport.ask(client_calls.models(), None)

    async def ready(self) -> bool:
        """Whether the service is up and warm; False also when nothing listens. Asks once."""
        return await self._transport.ready()

    async def close(self) -> None:
        await self._transport.close()

    async def __aenter__(self) -> AsyncMatchOddsClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _transport(to: Connection) -> Transport:
    """Only the protocol that is used is imported: gRPC takes a while."""
    if to.is_grpc:
        from bentos.match_odds.calling.client_grpc import GrpcTransport

        return GrpcTransport(to)
    from bentos.match_odds.calling.client_http import HttpTransport

    return HttpTransport(to)


def _async_transport(to: Connection) -> AsyncTransport:
    if to.is_grpc:
        from bentos.match_odds.calling.client_grpc import AsyncGrpcTransport

        return AsyncGrpcTransport(to)
    from bentos.match_odds.calling.client_http import AsyncHttpTransport

    return AsyncHttpTransport(to)
