"""The clients against small real servers that refuse, break off or keep silent before they answer."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import itertools
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import grpc
import pytest
import uvicorn
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st
from invented_models import free_port

from bentos.match_odds.calling.client_events import EventReader
from bentos.match_odds.calling.client_grpc import SERVICE, STATUS
from bentos.match_odds.client import AsyncMatchOddsClient, MatchOddsClient, MatchOddsError, Retries, UnreachableError
from bentos.match_odds.contract import MAX_BODY, Answer, ModelCard, Models, Prediction, ScoreRow, Staking, WatchEvent
from bentos.match_odds.errors import BadRequest, NotFound, Overloaded, ServingError, Unauthenticated, Unavailable
from bentos.match_odds.proto import match_odds_pb2_grpc, messages

NOW = dt.datetime(2026, 5, 17, 14, 30, 0, 123457, tzinfo=dt.UTC)
ANSWER = Answer(
    market="1x2",
    selections=["home", "draw", "away"],
    model_version="match_odds_1x2/7",
    bento="match_odds:20260517",
    request_id="asked-1",
    predictions=[Prediction(match_id="e0_a_b", probabilities=[0.1 + 0.2, 0.3, 0.4], feature_time=NOW)],
)
MODELS = Models(
    bento="match_odds:20260517",
    models=[
        ModelCard(
            market="1x2",
            model_version="match_odds_1x2/7",
            selections=["home", "draw", "away"],
            features=["home_elo", "league"],
            nullable=[],
            margin_method="power",
            data_hash="abc",
            trained_at=NOW,
            training_rows=8876,
        )
    ],
)
EVENTS = [WatchEvent(sent_at=NOW, answer=ANSWER), WatchEvent(sent_at=NOW), WatchEvent(sent_at=NOW, answer=ANSWER)]
EAGER = Retries(attempts=5, first=0.001, longest=0.002)
PATIENT = Retries(attempts=200, first=0.05, longest=0.1)


@dataclass
class Fake:
    """What a service does, the same over both protocols: refuses as often as told, then answers.

    Attributes:
        refuses: one for each request, in order; the rest is answered.
        silent: whether requests are never answered.
        endless: whether a watch stays open after its events.
        page: answers HTTP instead.
        seen: request as JSON would have it, headers or metadata, peer.
    """

    refuses: list[ServingError] = field(default_factory=list)
    silent: bool = False
    endless: bool = False
    ready: bool = True
    page: Callable[..., Awaitable[None]] | None = None
    seen: list[tuple[dict[str, Any], dict[str, str], object]] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    async def take(self, request: dict[str, Any], headers: dict[str, str], peer: object) -> None:
        self.seen.append((request, headers, peer))
        self.entered.set()
        if self.silent:
            await asyncio.Event().wait()
        if self.refuses:
            raise self.refuses.pop(0)


class HttpFake:
    def __init__(self, fake: Fake, port: int, tls: tuple[Path, Path] | None = None) -> None:
        self.fake = fake
        certificate = {} if tls is None else {"ssl_certfile": tls[0], "ssl_keyfile": tls[1]}
        config = uvicorn.Config(
            fake.page or self.app,
            host="127.0.0.1",
            port=port,
            log_level="critical",
            lifespan="off",
            interface="asgi3",
            **certificate,
        )
        self._server = uvicorn.Server(config)

    async def run(self, stop: asyncio.Event, started: threading.Event) -> None:
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.005)
        started.set()
        await stop.wait()
        self._server.should_exit = self._server.force_exit = True
        await serving

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        body = await self._body(receive)
        if scope["path"] == "/readyz":
            await self._respond(send, 200 if self.fake.ready else 503, b"{}")
            return
        query = parse_qs(scope["query_string"].decode())
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        work = asyncio.create_task(self.fake.take(json.loads(body or b"{}") | query, headers, tuple(scope["client"])))
        gone = asyncio.create_task(receive())
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            self.fake.cancelled.set()
            return
        gone.cancel()
        try:
            work.result()
        except ServingError as error:
            after = "" if error.retry_after is None else str(round(error.retry_after * 1000))
            more = [(b"retry-after-ms", after.encode())] if after else []
            await self._respond(send, error.status, json.dumps({"error": str(error)}).encode(), more)
            return
        if scope["path"] == "/v1/watch":
            await self._stream(send, receive)
        else:
            reply = MODELS if scope["path"] == "/v1/models" else ANSWER
            await self._respond(send, 200, reply.model_dump_json().encode())

    async def _body(self, receive: Any) -> bytes:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        return body

    async def _stream(self, send: Any, receive: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for event in EVENTS:
            kind = "heartbeat" if event.answer is None else "prediction"
            data = f"event: {kind}\ndata: {event.model_dump_json()}\n\n".encode()
            for half in (data[:50], data[50:]):
                await send({"type": "http.response.body", "body": half, "more_body": True})
        if self.fake.endless and (await receive())["type"] == "http.disconnect":
            self.fake.cancelled.set()
        await send({"type": "http.response.body", "body": b""})

    async def _respond(self, send: Any, status: int, body: bytes, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
        headers = [(b"content-length", str(len(body)).encode()), *more]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class GrpcFake(match_odds_pb2_grpc.MatchOddsServicer):
    def __init__(self, fake: Fake, port: int, tls: tuple[Path, Path] | None = None) -> None:
        self.fake = fake
        self._port = port
        self._tls = tls

    async def run(self, stop: asyncio.Event, started: threading.Event) -> None:
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_BODY), ("grpc.so_reuseport", 0)])
        match_odds_pb2_grpc.add_MatchOddsServicer_to_server(self, server)
        told = health.aio.HealthServicer()
        kinds = health_pb2.HealthCheckResponse
        await told.set(SERVICE, kinds.SERVING if self.fake.ready else kinds.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(told, server)
        address = f"127.0.0.1:{self._port}"
        if self._tls is None:
            server.add_insecure_port(address)
        else:
            certificate, key = (path.read_bytes() for path in self._tls)
            server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
        await server.start()
        started.set()
        await stop.wait()
        await server.stop(0)

    async def Predict(self, message: Any, context: Any) -> Any:
        await self._take(messages.predict_request(message).model_dump(mode="json"), context)
        return messages.answer_message(ANSWER)

    async def Score(self, message: Any, context: Any) -> Any:
        await self._take(messages.score_request(message).model_dump(mode="json"), context)
        return messages.answer_message(ANSWER)

    async def Models(self, message: Any, context: Any) -> Any:
        await self._take({}, context)
        return messages.models_message(MODELS)

    async def Watch(self, message: Any, context: Any) -> Any:
        await self._take(messages.watch_request(message).model_dump(mode="json"), context)
        try:
            for event in EVENTS:
                yield messages.watch_event_message(event)
            if self.fake.endless:
                await asyncio.Event().wait()
        except (asyncio.CancelledError, GeneratorExit):
            self.fake.cancelled.set()
            raise

    async def _take(self, request: dict[str, Any], context: Any) -> None:
        try:
            await self.fake.take(request, dict(context.invocation_metadata()), context.peer())
        except ServingError as error:
            after = () if error.retry_after is None else (("retry-after-ms", str(round(error.retry_after * 1000))),)
            await context.abort(getattr(grpc.StatusCode, error.grpc_status), str(error), after)
        except asyncio.CancelledError:
            self.fake.cancelled.set()
            raise


@contextlib.contextmanager
def serving(scheme: str, fake: Fake, port: int | None = None, tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    """The address of a server on a loop and thread of its own."""
    port = free_port() if port is None else port
    started, ends = threading.Event(), threading.Event()
    kind = HttpFake if scheme.startswith("http") else GrpcFake

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        waiting = loop.run_in_executor(None, ends.wait)
        waiting.add_done_callback(lambda _: stop.set())
        await kind(fake, port, tls).run(stop, started)

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    try:
        assert started.wait(20)
        yield f"{scheme}://127.0.0.1:{port}"
    finally:
        ends.set()
        thread.join(20)


def blocking(url: str, ask: Callable[[Any], Any], **options: Any) -> Any:
    with MatchOddsClient(url, **options) as client:
        found = ask(client)
        return found if isinstance(found, Answer | Models | bool) else list(found)


def on_asyncio(url: str, ask: Callable[[Any], Any], **options: Any) -> Any:
    async def work() -> Any:
        async with AsyncMatchOddsClient(url, **options) as client:
            found = ask(client)
            return await found if isinstance(found, Awaitable) else [event async for event in found]

    return asyncio.run(work())


Asking = Callable[..., Any]


@pytest.fixture(params=[blocking, on_asyncio])
def asking(request: pytest.FixtureRequest) -> Asking:
    found: Asking = request.param
    return found


@pytest.fixture(params=["http", "grpc"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def url(scheme: str, fake: Fake) -> Iterator[str]:
    with serving(scheme, fake) as address:
        yield address


def predict(client: Any) -> Any:
    return client.predict("1x2", ["e0_a_b"])


def test_both_protocols_and_both_clients_give_the_same_answer(url: str, asking: Asking) -> None:
    assert asking(url, predict) == ANSWER
    assert asking(url, lambda client: client.models()) == MODELS


def test_what_is_asked_arrives_as_asked(url: str, fake: Fake, asking: Asking) -> None:
    staking = Staking(kelly_fraction=0.1 + 0.2, max_stake=0.01)
    moment = dt.datetime(2026, 3, 6, 15, 0, 0, 123457, tzinfo=dt.UTC)
    named = ScoreRow(features={"a": 1.0}, prices=[2.1, 3.3], match_id="e0_a_b", feature_time=moment)
    rows = [{"home_elo": 1500.1, "league": "E0", "form": None}, named]
    asking(url, lambda client: client.predict("1x2", ["e0_a_b", "e0_c_d"], staking, request_id="mine"), api_key="k")
    asking(url, lambda client: client.score("1x2", rows, staking))
    (by_id, headers, _), (scored, plain, _) = fake.seen
    assert by_id == {"market": "1x2", "match_ids": ["e0_a_b", "e0_c_d"], "staking": staking.model_dump()}
    assert scored == {
        "market": "1x2",
        "rows": [ScoreRow(features=rows[0]).model_dump(mode="json"), named.model_dump(mode="json")],
        "staking": staking.model_dump(),
    }
    assert headers["x-request-id"] == "mine"
    assert headers["authorization"] == "Bearer k"
    assert "authorization" not in plain


def test_a_watch_gives_every_event_in_order(url: str, fake: Fake, asking: Asking) -> None:
    staking = Staking(max_stake=0.01)
    assert asking(url, lambda client: client.watch("1x2", ["e0_a_b", "e0_c_d"], staking, 2.5)) == EVENTS
    [(request, _, _)] = fake.seen
    if url.startswith("http"):
        assert request == {
            "market": ["1x2"],
            "match_id": ["e0_a_b", "e0_c_d"],
            "heartbeat_seconds": ["2.5"],
            "kelly_fraction": ["0.25"],
            "max_stake": ["0.01"],
        }
    else:
        assert request == {
            "market": "1x2",
            "match_ids": ["e0_a_b", "e0_c_d"],
            "staking": staking.model_dump(),
            "heartbeat_seconds": 2.5,
        }


def test_a_watch_that_is_refused_is_not_retried(url: str, fake: Fake, asking: Asking) -> None:
    fake.refuses += [Overloaded("too much")]
    with pytest.raises(MatchOddsError, match="503: too much"):
        asking(url, lambda client: client.watch("1x2", ["e0_a_b"]), retries=EAGER)
    assert len(fake.seen) == 1


@pytest.mark.parametrize("error", [Unavailable, Overloaded])
def test_not_now_is_asked_again_until_it_is_answered(
    url: str, fake: Fake, asking: Asking, error: type[ServingError]
) -> None:
    refusals = [error("not now") for _ in range(4)]
    for refusal in refusals:
        refusal.retry_after = 0.001
    fake.refuses += refusals
    assert asking(url, lambda client: client.predict("1x2", ["a"], request_id="one"), retries=EAGER) == ANSWER
    assert [headers["x-request-id"] for _, headers, _ in fake.seen] == ["one"] * 5


def test_attempts_are_bounded_and_the_last_refusal_is_told(url: str, fake: Fake, asking: Asking) -> None:
    fake.refuses += [Overloaded(f"number {i}") for i in range(9)]
    for refusal in fake.refuses:
        refusal.retry_after = 0.01
    with pytest.raises(MatchOddsError, match="503: number 2") as caught:
        asking(url, predict, retries=Retries(attempts=3, first=0.001, longest=0.001))
    assert (caught.value.status, caught.value.retry_after, caught.value.retryable) == (503, 0.01, True)
    assert not isinstance(caught.value, UnreachableError)
    assert len(fake.seen) == 3


@pytest.mark.parametrize("error", [BadRequest, Unauthenticated, NotFound, ServingError])
def test_a_refusal_for_good_is_not_asked_again(url: str, fake: Fake, asking: Asking, error: type[ServingError]) -> None:
    fake.refuses += [error("no: and why"), error("again")]
    with pytest.raises(MatchOddsError, match="no: and why") as caught:
        asking(url, predict, retries=EAGER)
    assert caught.value.status == error.status
    assert not caught.value.retryable
    assert len(fake.seen) == 1


def test_nobody_waits_longer_than_the_time_given(url: str, fake: Fake, asking: Asking) -> None:
    """The service says when to come back; that is too late, so its refusal is told at once."""
    fake.refuses += [Unavailable("the store is away")] * 2
    fake.refuses[0].retry_after = 3600.0
    with pytest.raises(MatchOddsError, match="503: the store is away"):
        asking(url, predict, timeout=30.0)
    assert len(fake.seen) == 1


def test_silence_ends_with_the_time_given(url: str, fake: Fake, asking: Asking) -> None:
    fake.silent = True
    with pytest.raises(MatchOddsError) as caught:
        asking(url, predict, timeout=0.2)
    assert caught.value.status == 504
    assert len(fake.seen) == 1


def test_where_nothing_listens_the_service_is_unreachable(scheme: str, asking: Asking) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}"
    with pytest.raises(UnreachableError, match=f"503: {url} cannot be reached"):
        asking(url, predict, retries=EAGER)
    with pytest.raises(UnreachableError):
        asking(url, lambda client: client.watch("1x2", ["a"]))
    assert asking(url, lambda client: client.ready()) is False


def test_a_service_that_comes_up_in_time_is_found(scheme: str, fake: Fake, asking: Asking) -> None:
    port, found = free_port(), []
    thread = threading.Thread(
        target=lambda: found.append(asking(f"{scheme}://127.0.0.1:{port}", predict, timeout=60.0, retries=PATIENT))
    )
    thread.start()
    thread.join(0.3)  # long enough for some attempts in vain
    assert not found
    with serving(scheme, fake, port):
        thread.join(60)
    assert found == [ANSWER]


def test_a_connection_that_breaks_is_made_anew(scheme: str, asking: Asking) -> None:
    """Whoever answers on the port first closes every connection unanswered, as a killed worker does."""
    port, fake = free_port(), Fake()
    broken = threading.Event()
    listener = socket.create_server(("127.0.0.1", port))

    def close_some() -> None:
        for _ in range(2):
            listener.accept()[0].close()
        listener.close()
        broken.set()

    threading.Thread(target=close_some, daemon=True).start()
    found: list[Any] = []
    client = threading.Thread(
        target=lambda: found.append(asking(f"{scheme}://127.0.0.1:{port}", predict, timeout=60.0, retries=PATIENT))
    )
    client.start()
    assert broken.wait(20)
    with serving(scheme, fake, port):
        client.join(60)
    assert found == [ANSWER]


@pytest.mark.parametrize("ready", [True, False])
def test_readiness_is_what_the_service_says(scheme: str, asking: Asking, ready: bool) -> None:
    with serving(scheme, Fake(ready=ready)) as url:
        assert asking(url, lambda client: client.ready()) is ready


def test_a_cancelled_call_is_cancelled_in_the_service(url: str, fake: Fake) -> None:
    fake.silent = True

    async def work() -> None:
        async with AsyncMatchOddsClient(url) as client:
            call = asyncio.create_task(client.predict("1x2", ["a"]))
            assert await asyncio.to_thread(fake.entered.wait, 20)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(fake.cancelled.wait, 20)

    asyncio.run(work())
    assert len(fake.seen) == 1


def test_a_watch_that_is_cancelled_is_cancelled_in_the_service(url: str, fake: Fake) -> None:
    fake.silent = True

    async def work() -> None:
        async with AsyncMatchOddsClient(url) as client:
            waiting = asyncio.create_task(anext(client.watch("1x2", ["a"])))
            assert await asyncio.to_thread(fake.entered.wait, 20)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await asyncio.to_thread(fake.cancelled.wait, 20)

    asyncio.run(work())


def test_a_closed_watch_ends_in_the_service_while_the_client_lives_on(url: str, fake: Fake) -> None:
    fake.endless = True
    with MatchOddsClient(url) as client:
        with contextlib.closing(client.watch("1x2", ["a"])) as events:
            assert next(events) == EVENTS[0]
            assert not fake.cancelled.is_set()
        assert fake.cancelled.wait(20)


def test_a_closed_watch_on_asyncio_ends_in_the_service_too(url: str, fake: Fake) -> None:
    fake.endless = True

    async def work() -> None:
        async with AsyncMatchOddsClient(url) as client:
            async with contextlib.aclosing(client.watch("1x2", ["a"])) as events:
                assert await anext(events) == EVENTS[0]
                assert not fake.cancelled.is_set()
            assert await asyncio.to_thread(fake.cancelled.wait, 20)

    asyncio.run(work())


def test_an_answer_that_comes_in_drops_ends_with_the_time_given(asking: Asking) -> None:
    async def drops(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.sleep(0.02)

    with serving("http", Fake(page=drops)) as url, pytest.raises(MatchOddsError, match=r"504: .* in time"):
        asking(url, predict, timeout=0.3)


@pytest.mark.parametrize("scheme", ["grpc"])
def test_channels_are_connections_of_their_own_used_in_turn(url: str, fake: Fake) -> None:
    with MatchOddsClient(url, channels=3) as client, MatchOddsClient(url) as other:
        for _ in range(6):
            predict(client)
        predict(other)
    peers = [peer for _, _, peer in fake.seen]
    assert peers[:3] == peers[3:6]
    assert len(set(peers)) == 4


@pytest.mark.parametrize("scheme", ["grpc"])
def test_what_is_too_large_is_not_sent_again(url: str, fake: Fake, asking: Asking) -> None:
    rows = [{f"f{i}": "x" * 1000 for i in range(MAX_BODY // 1000 + 1)}]
    with pytest.raises(MatchOddsError, match="larger than max") as caught:
        asking(url, lambda client: client.score("1x2", rows))
    assert (caught.value.status, caught.value.retryable) == (413, False)
    assert fake.seen == []


def test_the_page_of_a_proxy_becomes_one_line() -> None:
    """HAProxy without a server answers in HTML; that is worth another attempt too."""

    async def page(scope: Any, receive: Any, send: Any) -> None:
        attempts.append(scope["path"])
        await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"0")]})
        await send({"type": "http.response.body", "body": b"<html>\n no server\n</html>"})

    attempts: list[str] = []
    with (
        serving("http", Fake(page=page)) as url,
        MatchOddsClient(url, retries=EAGER) as client,
        pytest.raises(MatchOddsError, match="503: <html> no server </html>"),
    ):
        client.models()
    assert len(attempts) == EAGER.attempts


def test_tls_trusts_the_given_authority_only(scheme: str, fake: Fake, asking: Asking, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with serving(f"{scheme}s", fake, tls=(certificate, key)) as url:
        assert asking(url, predict, ca=certificate) == ANSWER
        assert asking(url, lambda client: client.ready(), ca=certificate) is True
        with pytest.raises(UnreachableError):
            asking(url, predict, retries=EAGER)
    assert len(fake.seen) == 1


@pytest.mark.parametrize("url", ["127.0.0.1:3000", "ftp://127.0.0.1:1", "grpc://127.0.0.1", "http://", "grpc://:5"])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"no address|no port"):
        MatchOddsClient(url)


def test_codes_of_grpc_stand_for_those_of_http() -> None:
    for kind in (BadRequest, Unauthenticated, NotFound, Unavailable, Overloaded):
        assert STATUS[kind.grpc_status] == kind.status
    assert all(hasattr(grpc.StatusCode, name) for name in STATUS)


@given(
    st.integers(1, 2000),
    st.floats(0.0, 5.0),
    st.floats(0.0, 100.0),
    st.none() | st.floats(0.0, 100.0),
    st.floats(-1.0, 50.0),
)
def test_a_wait_is_within_its_bounds_and_ends_before_the_time_is_up(
    failures: int, first: float, more: float, asked: float | None, left: float
) -> None:
    retries = Retries(attempts=3000, first=first, longest=first + more)
    error = MatchOddsError(503, "not now", retryable=True, retry_after=asked)
    wait = retries.wait(failures, error, left)
    least, most = asked or 0.0, (asked or 0.0) + min(first * 2.0 ** min(failures - 1, 1000), first + more)
    if wait is None:
        assert most >= left
    else:
        assert least <= wait <= most
        assert wait < left


def test_waits_fill_the_whole_range_of_a_bound_that_doubles() -> None:
    error = MatchOddsError(503, "not now", retryable=True)
    retries = Retries()
    for failures, bound in enumerate([0.05, 0.1, 0.2, 0.4], start=1):
        drawn = [retries.wait(failures, error, 60.0) or 0.0 for _ in range(2000)]
        assert max(drawn) <= bound
        assert max(drawn) > 0.9 * bound
        assert min(drawn) < 0.1 * bound
    assert retries.wait(5, error, 60.0) is None


def test_an_attempt_gets_the_time_that_is_left() -> None:
    given: list[float] = []

    def ask(left: float) -> None:
        given.append(left)
        raise MatchOddsError(503, "not now", retryable=True)

    with pytest.raises(MatchOddsError):
        Retries(attempts=1000, first=0.01, longest=0.01).call(ask, 0.1)
    assert len(given) > 1
    assert given == sorted(given, reverse=True)
    assert 0.0 < given[-1] < given[0] <= 0.1


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first": -0.1}, {"first": 2.0, "longest": 1.0}])
def test_retries_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="attempts must be"):
        Retries(**wrong)


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), max_size=5),
    st.sampled_from(["\n", "\r\n"]),
    st.lists(st.integers(0, 200), max_size=10),
)
def test_events_are_the_same_however_the_stream_is_cut(data: list[str], end: str, cuts: list[int]) -> None:
    stream = "".join(f": note{end}event: prediction{end}data: {text}{end}{end}" for text in data).encode()
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    reader = EventReader()
    found = [one for a, b in itertools.pairwise(places) for one in reader.feed(stream[a:b])]
    assert found == [text.encode() for text in data]


def self_signed(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file
