"""What stands before the service: new code is let in without a failed call, and a death is not seen by the client."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
from invented_models import free_port

from bentos.match_odds.deploying.haproxy import CONFIG, HAProxy, HAProxyError, Slot, find_haproxy
from bentos.match_odds.deploying.runner import end_leftovers
from bentos.match_odds.front.tls import TlsFiles

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(
        shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None,
        reason="HAProxy is not installed: `apt-get install haproxy`",
    ),
]
SERVER = Path(__file__).with_name("stand_in_server.py")


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)


class World:
    """HAProxy, and a stand-in in each of its slots."""

    def __init__(self, folder: Path, tls: TlsFiles | None = None) -> None:
        self.folder = folder
        self.port, self.grpc_port = free_port(), free_port()
        self.slots = {name: Slot(name, free_port(), free_port()) for name in ("blue", "green")}
        self.proxy = HAProxy(folder, "127.0.0.1", self.port, self.grpc_port, list(self.slots.values()), tls)
        self.servers: list[subprocess.Popen[bytes]] = []
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")

    def start(self, name: str) -> subprocess.Popen[bytes]:
        slot = self.slots[name]
        command = [sys.executable, str(SERVER), name, str(slot.port), str(slot.grpc_port), str(self.folder)]
        server = subprocess.Popen(command)
        self.servers.append(server)
        until(lambda: is_ready(slot.port))
        return server

    def ask(self, path: str = "/name", body: bytes = b"{}") -> str:
        response = self.http.post(path, content=body)
        response.raise_for_status()
        return str(response.json()["name"])

    def call(self, method: str = "Name") -> str:
        answer: bytes = self.channel.unary_unary(f"/stand.In/{method}")(b"", timeout=30)
        return answer.decode()

    def said(self, name: str) -> bool:
        return (self.folder / name).exists()

    def say(self, name: str) -> None:
        (self.folder / name).touch()

    def close(self) -> None:
        self.channel.close()
        self.http.close()
        self.proxy.stop()
        for server in self.servers:
            server.kill()
            server.wait()


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for the name of a socket, unlike tmp_path."""
    with tempfile.TemporaryDirectory(prefix="betting-proxy-") as name:
        yield Path(name)


@pytest.fixture
def world(folder: Path) -> Iterator[World]:
    world = World(folder)
    try:
        yield world
    finally:
        world.close()


@pytest.fixture
def blue_serves(world: World) -> World:
    world.start("blue")
    world.start("green")
    world.proxy.start("blue")
    until(lambda: world.http.get("/readyz").is_success)
    return world


def test_the_configuration_is_valid_by_itself_for_use_by_hand(folder: Path) -> None:
    checked = subprocess.run([find_haproxy(), "-c", "-f", str(CONFIG)], capture_output=True, text=True, cwd=folder)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


def test_only_the_slot_that_was_let_in_is_asked(blue_serves: World) -> None:
    assert {blue_serves.ask() for _ in range(20)} == {"blue"}
    assert {blue_serves.call() for _ in range(20)} == {"blue"}


def test_after_the_switch_the_other_slot_is_asked_on_the_same_connections(blue_serves: World) -> None:
    world = blue_serves
    assert (world.ask(), world.call()) == ("blue", "blue")
    world.proxy.let_in("green")
    world.proxy.drain("blue")
    assert {world.ask() for _ in range(20)} == {"green"}
    assert {world.call() for _ in range(20)} == {"green"}


def test_a_drained_slot_answers_what_it_was_asked_before(blue_serves: World) -> None:
    world = blue_serves
    with ThreadPoolExecutor() as pool:
        slow = [pool.submit(world.ask, "/slow"), pool.submit(world.call, "Slow")]
        until(lambda: world.proxy.sessions("blue") == 2)
        world.proxy.let_in("green")
        world.proxy.drain("blue")
        assert (world.ask(), world.call(), world.proxy.sessions("blue")) == ("green", "green", 2)
        world.say("go")
        assert [one.result(30) for one in slow] == ["blue", "blue"]
    until(lambda: world.proxy.sessions("blue") == 0)


def test_no_call_fails_while_slots_are_switched_back_and_forth(blue_serves: World) -> None:
    world, stop = blue_serves, threading.Event()

    def keep_asking(ask: Callable[[], str]) -> list[str]:
        names = []
        while not stop.is_set():
            names.append(ask())
        return names

    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(keep_asking, ask) for ask in (world.ask, world.call, world.ask, world.call)]
        for new, old in [("green", "blue"), ("blue", "green")] * 3:
            world.proxy.let_in(new)
            world.proxy.drain(old)
            until(lambda old=old: world.proxy.sessions(old) == 0)
            world.proxy.shut_out(old)
        stop.set()
        for one in asking:
            assert set(one.result(30)) == {"blue", "green"}


def test_a_request_whose_server_dies_before_it_answers_is_answered_by_the_other(blue_serves: World) -> None:
    world = blue_serves
    with ThreadPoolExecutor() as pool:
        slow = [pool.submit(world.ask, "/slow"), pool.submit(world.call, "Slow")]
        until(lambda: world.proxy.sessions("blue") == 2)
        world.proxy.let_in("green")
        world.servers[0].kill()
        world.say("go")
        assert [one.result(30) for one in slow] == ["green", "green"]


def test_a_slot_that_says_it_is_not_ready_is_not_asked_over_either_protocol(blue_serves: World) -> None:
    world = blue_serves
    world.proxy.let_in("green")
    world.say("blue.unready")
    until(lambda: "DOWN" in {row["status"] for row in world.proxy._rows("blue")})
    until(lambda: {row["status"] for row in world.proxy._rows("blue")} == {"DOWN"})
    assert {world.ask() for _ in range(20)} == {"green"}
    assert {world.call() for _ in range(20)} == {"green"}


def test_without_a_ready_server_the_answer_is_one_that_clients_try_again_after(world: World) -> None:
    world.proxy.start()
    response = world.http.post("/name", content=b"{}")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json() == {"error": "no prediction service is ready: try again"}
    with pytest.raises(grpc.RpcError) as raised:
        world.call()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_events_of_a_stream_are_passed_on_one_by_one(blue_serves: World) -> None:
    world = blue_serves
    with world.http.stream("GET", "/watch") as response:
        events = response.iter_text()
        assert next(events) == "data: first\n\n"
        calls = world.channel.unary_stream("/stand.In/Watch")(b"", timeout=30)
        assert next(calls) == b"first"
        world.say("go")  # only now is there a second one
        assert next(events) == "data: second\n\n"
        assert next(calls) == b"second"


def test_every_grpc_client_has_a_connection_of_its_own_behind_the_proxy_so_that_the_kernel_can_spread_them(
    blue_serves: World,
) -> None:
    world = blue_serves
    channels = [
        grpc.insecure_channel(f"127.0.0.1:{world.grpc_port}", [("grpc.use_local_subchannel_pool", 1)]) for _ in range(8)
    ]
    for channel in channels:
        assert channel.unary_unary("/stand.In/Name")(b"", timeout=30) == b"blue"
    behind = [
        connection
        for connection in psutil.Process(world.proxy.pid).net_connections("tcp")
        if connection.raddr and connection.raddr.port == world.slots["blue"].grpc_port
    ]
    assert len(behind) == len(channels)
    for channel in channels:
        channel.close()


def test_the_service_hears_of_a_client_that_gave_up(blue_serves: World) -> None:
    world = blue_serves
    with httpx.Client(base_url=world.http.base_url) as impatient, pytest.raises(httpx.ReadTimeout):
        impatient.post("/slow", content=b"{}", timeout=0.3)
    until(lambda: world.said("blue.left"))
    until(lambda: world.proxy.sessions("blue") == 0)


def test_a_body_larger_than_the_proxy_holds_arrives_whole(blue_serves: World) -> None:
    response = blue_serves.http.post("/name", content=b" " * 3_000_000)
    assert response.json()["bytes"] == 3_000_000


def test_the_proxy_listens_where_it_was_told_and_its_socket_is_its_owners(blue_serves: World) -> None:
    world = blue_serves
    listening = [
        tuple(connection.laddr)
        for connection in psutil.Process(world.proxy.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert sorted(listening) == sorted([("127.0.0.1", world.port), ("127.0.0.1", world.grpc_port)])
    assert stat.S_IMODE((world.folder / "run" / "haproxy.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((world.folder / "run").stat().st_mode) == 0o700


def test_the_proxy_knows_no_secret_of_the_platform(
    blue_serves: World, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.proxy.stop()
    monkeypatch.setenv("BETTING_DATABASE_URL", "postgresql://betting:secret@127.0.0.1/betting")
    world.proxy.start("blue")
    assert not [value for value in psutil.Process(world.proxy.pid).environ().values() if "secret" in value]


def test_a_taken_port_is_told_in_one_line_and_leaves_nothing(world: World) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", world.grpc_port))
        other.listen()
        with pytest.raises(HAProxyError, match=str(world.grpc_port)) as raised:
            world.proxy.start()
    assert len(str(raised.value).splitlines()) == 1
    assert world.proxy.pid is None


def test_a_home_too_long_for_a_socket_is_told(folder: Path) -> None:
    proxy = HAProxy(folder / ("x" * 100), "127.0.0.1", free_port(), free_port(), [])
    with pytest.raises(HAProxyError, match="shorter BETTING_HOME"):
        proxy.start()


def test_a_proxy_whose_keeper_was_killed_is_cleared_away_with_the_leftovers(blue_serves: World) -> None:
    pid = blue_serves.proxy.pid
    assert pid is not None
    end_leftovers(blue_serves.folder, "haproxy")
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_with_a_certificate_both_ports_speak_tls_only_and_the_key_stays_private(folder: Path) -> None:
    certificate, key = folder / "c.pem", folder / "k.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *subject],
        check=True,
        capture_output=True,
    )
    world = World(folder, TlsFiles(certificate, key))
    try:
        world.start("blue")
        world.proxy.start("blue")
        assert stat.S_IMODE((folder / "run" / "haproxy.pem").stat().st_mode) == 0o600
        context = ssl.create_default_context(cafile=str(certificate))
        address = f"https://localhost:{world.port}/name"
        assert httpx.post(address, content=b"{}", verify=context).json()["name"] == "blue"
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(f"localhost:{world.grpc_port}", credentials) as channel:
            assert channel.unary_unary("/stand.In/Name")(b"", timeout=30) == b"blue"
        with pytest.raises(httpx.HTTPError):
            world.ask()
        with pytest.raises(grpc.RpcError):
            world.call()
        world.proxy.stop()
        assert not (folder / "run" / "haproxy.pem").exists()
    finally:
        world.close()


def test_a_proxy_that_died_is_started_again_with_the_slot_that_served(blue_serves: World) -> None:
    world = blue_serves
    assert world.proxy.pid is not None
    psutil.Process(world.proxy.pid).send_signal(signal.SIGKILL)
    until(lambda: world.proxy.pid is None)
    world.proxy.start("blue")
    until(lambda: world.http.get("/readyz").is_success)
    assert (world.ask(), world.call()) == ("blue", "blue")
