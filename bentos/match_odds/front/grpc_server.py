"""gRPC: the same answers as over HTTP, on a port that all workers of the service share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from bentos.match_odds.contract import MAX_BODY
from bentos.match_odds.errors import BadRequest, ServingError, Unauthenticated
from bentos.match_odds.front.request_ids import request_id as make_request_id
from bentos.match_odds.front.request_log import note_slow
from bentos.match_odds.observing.logs import current_request_id
from bentos.match_odds.observing.tracing import request_span
from bentos.match_odds.proto import match_odds_pb2, messages

if TYPE_CHECKING:
    from bentos.match_odds.worker import Worker

PROTOCOL = "grpc"
SERVICE = match_odds_pb2.DESCRIPTOR.services_by_name["MatchOdds"].full_name
MOST_STREAMS = 1000
OPTIONS = (
    ("grpc.so_reuseport", 1),
    ("grpc.max_concurrent_streams", MOST_STREAMS),
    ("grpc.max_receive_message_length", MAX_BODY),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.http2.bdp_probe", 0),  # calls are small; it would send a ping for nearly each of them
)
logger = logging.getLogger(__name__)


class GrpcServer:
    """One worker's server. It says by gRPC's health protocol what `Worker.health` says."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._server = grpc.aio.server(options=OPTIONS)
        self._health = health_aio.HealthServicer()
        self._server.add_generic_rpc_handlers((Servicer(worker).handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if worker.api_keys is None:
            _reflect(self._server)

    async def start(self, address: str, credentials: grpc.ServerCredentials | None) -> None:
        """Listen on host:port. Raises RuntimeError when it cannot."""
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, credentials)
        if port == 0:
            raise RuntimeError(f"gRPC cannot listen on {address}: set BETTING_GRPC_PORT to a free port")
        await self.tell_health()
        await self._server.start()

    async def tell_health(self) -> None:
        ready = self._worker.health().ready
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", SERVICE):
            await self._health.set(service, status)

    async def stop(self, seconds: float) -> None:
        """Take no new call, and let those in hand end, for at most so many seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(seconds)


class Servicer:
    """The methods of betting.v1.MatchOdds. They get bytes, so that what is no message is refused, not an accident."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def handlers(self) -> grpc.GenericRpcHandler:
        answer = match_odds_pb2.Answer.SerializeToString
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        methods = {
            "Predict": unary(self.predict, None, answer),
            "Score": unary(self.score, None, answer),
            "Models": unary(self.models, None, match_odds_pb2.Models.SerializeToString),
            "Watch": stream(self.watch, None, match_odds_pb2.WatchEvent.SerializeToString),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def predict(self, message: bytes, context: Any) -> Any:
        async def work(request_id: str) -> Any:
            wanted = messages.predict_request(_parsed(match_odds_pb2.PredictRequest, message))
            return messages.answer_message(await self._worker.answering.predict(wanted, request_id))

        return await self._unary("predict", context, work)

    async def score(self, message: bytes, context: Any) -> Any:
        async def work(request_id: str) -> Any:
            wanted = messages.score_request(_parsed(match_odds_pb2.ScoreRequest, message))
            return messages.answer_message(await self._worker.answering.score(wanted, request_id))

        return await self._unary("score", context, work)

    async def models(self, message: bytes, context: Any) -> Any:
        async def work(request_id: str) -> Any:
            _parsed(match_odds_pb2.ModelsRequest, message)
            return messages.models_message(self._worker.answering.models())

        return await self._unary("models", context, work)

    async def watch(self, message: bytes, context: Any) -> AsyncGenerator[Any]:
        call = _Call(self._worker, "watch", context)
        with call, call.span():
            try:
                call.check_key()
                wanted = messages.watch_request(_parsed(match_odds_pb2.WatchRequest, message))
                events = self._worker.watch(wanted, call.request_id)
                try:
                    async for event in events:
                        yield messages.watch_event_message(event)
                finally:
                    await events.aclose()
            except Exception as error:  # noqa: BLE001 `refuse` tells the client, and logs what nobody foresaw
                await call.refuse(error)

    async def _unary(self, method: str, context: Any, work: Callable[[str], Awaitable[Any]]) -> Any:
        call = _Call(self._worker, method, context)
        with call, call.span():
            try:
                call.check_key()
                return await work(call.request_id)
            except Exception as error:  # noqa: BLE001 as above
                await call.refuse(error)


class _Call:
    """One call: its id, and what becomes of it in metrics and logs."""

    __slots__ = ("_began", "_code", "_context", "_metadata", "_method", "_worker", "request_id")

    def __init__(self, worker: Worker, method: str, context: Any) -> None:
        self._worker = worker
        self._method = method
        self._context = context
        self._metadata = dict(context.invocation_metadata() or ())
        self._code = "OK"
        self._began = time.perf_counter()
        self.request_id = make_request_id(self._metadata.get("x-request-id"))

    def span(self) -> Any:
        return request_span(PROTOCOL, self._method, self._metadata.get("traceparent"))

    def check_key(self) -> None:
        keys = self._worker.api_keys
        if keys is not None and keys.allows(self._metadata.get("authorization")) is None:
            raise Unauthenticated("send the metadata `authorization: Bearer <API key>`")

    async def refuse(self, error: Exception) -> NoReturn:
        """End the call with the error's status and line. What nobody foresaw is logged; the client learns no more."""
        if not isinstance(error, ServingError):
            logger.exception("call failed", exc_info=error)
            error = ServingError("an unexpected fault, see the log")
        self._code = error.grpc_status
        self._worker.refusals.refused(PROTOCOL, error)
        after = () if error.retry_after is None else (("retry-after-ms", str(round(error.retry_after * 1000))),)
        status = getattr(grpc.StatusCode, error.grpc_status)
        await self._context.abort(status, str(error), (*after, ("x-request-id", _ascii(self.request_id))))
        raise AssertionError("abort raises")

    def __enter__(self) -> None:
        current_request_id.set(self.request_id)  # of this call's own task

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None and issubclass(kind, asyncio.CancelledError | GeneratorExit):
            self._code = "CANCELLED"
            self._worker.metrics.cancelled(PROTOCOL)
        seconds = time.perf_counter() - self._began
        self._worker.metrics.request(PROTOCOL, self._method, self._code, seconds)
        if self._method != "watch":
            note_slow(PROTOCOL, self._method, seconds)


def _parsed(kind: Any, message: bytes) -> Any:
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise BadRequest(
            f"this is no {kind.DESCRIPTOR.full_name}: generate the client from match_odds.proto"
        ) from error


def _reflect(server: grpc.aio.Server) -> None:
    """Let tools such as grpcurl ask what there is; where API keys are asked for there is no such way round them."""
    from grpc_health.v1 import health
    from grpc_reflection.v1alpha import reflection

    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
