"""`betting up` behind HAProxy with the real Bento: deaths and new code pass without a failed call.

One platform for all tests of this file: each leaves it serving, with two workers.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from invented_models import VERSIONS, free_port

from bentos.match_odds.client import MatchOddsClient, Retries
from bentos.match_odds.contract import Answer
from bentos.match_odds.deploying.build import CODE, bento_code, bento_folder, champions_folder
from bentos.match_odds.deploying.haproxy import find_haproxy
from bentos.match_odds.deploying.runner import StartError
from bentos.match_odds.model.champions import VERSIONS as VERSIONS_FILE
from bentos.match_odds.model.known_answers import KnownAnswer
from betting_assets.embedded.ports import is_free
from betting_assets.warehouse import deployments, workers
from betting_assets.warehouse.database import connect, with_database


def _haproxy_is_missing() -> bool:
    try:
        find_haproxy()
    except StartError:
        return True
    return False


pytestmark = [
    pytest.mark.services,
    pytest.mark.timeout(400),
    pytest.mark.skipif(_haproxy_is_missing(), reason="HAProxy is not installed: `apt-get install haproxy`"),
]

WORKERS = 2
ONCE = Retries(attempts=1)
PROTOCOLS = ("http", "grpc")


def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.1)


@dataclass(frozen=True)
class Running:
    """A follower with HAProxy, on a database of its own."""

    url: str
    home: Path
    urls: dict[str, str]
    follower: subprocess.Popen[bytes]
    known: list[KnownAnswer]

    def deploy(self, tag: str, **versions: str) -> int:
        known = [answer.model_dump(mode="json") for answer in self.known]
        number = deployments.propose(self.url, tag, VERSIONS | versions, known, bento_code(tag, self.home))
        deployments.mark_healthy(self.url, number)
        deployments.make_current(self.url, number)
        return number

    def deploy_and_wait(self, tag: str, **versions: str) -> None:
        number = self.deploy(tag, **versions)
        until(lambda: {one.deployment_id for one in workers.live(self.url)} == {number})
        until(lambda: len(workers.live(self.url)) == WORKERS)

    def pids(self) -> set[int]:
        return {int(one.worker.rpartition(":")[2]) for one in workers.live(self.url)}

    def ask(self, client: MatchOddsClient) -> Answer:
        question = self.known[0]
        answer = client.score(question.market, [question.features])
        assert answer.predictions[0].probabilities == pytest.approx(question.probabilities, abs=1e-9)
        return answer

    @contextmanager
    def asked_all_the_time(self, retries: Retries = ONCE) -> Iterator[Future[list[Answer]]]:
        """By several clients over both protocols; afterwards all answers in the future, or the first failure."""
        stop, answers = threading.Event(), Future()

        def ask(protocol: str) -> list[Answer]:
            found = []
            with MatchOddsClient(self.urls[protocol], retries=retries) as client:
                while not stop.is_set():
                    found.append(self.ask(client))
                    time.sleep(0.005)
            return found

        with ThreadPoolExecutor() as pool:
            asking = [pool.submit(ask, protocol) for protocol in PROTOCOLS * 3]
            try:
                yield answers
            finally:
                stop.set()
        answers.set_result([answer for one in asking for answer in one.result()])


@pytest.fixture(scope="module")
def store(postgres_url: str, _migrated_template: str) -> Iterator[str]:
    """A database with an online store without matches."""
    from feature_repo.operations import apply_definitions
    from feature_repo.store import feature_store, forget

    url = with_database(postgres_url, "blue_green")
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE blue_green TEMPLATE {_migrated_template}")
    apply_definitions(feature_store(url))
    forget()
    yield url
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE blue_green WITH (FORCE)")


@pytest.fixture(scope="module")
def running(store: str, home: Path, tag: str, known: list[KnownAnswer]) -> Iterator[Running]:
    port, grpc_port = free_port(), free_port()
    variables = {
        "BETTING_HOME": str(home),
        "BETTING_DATABASE_URL": store,
        "BETTING_PROXY": "true",
        "BETTING_SERVING_PORT": str(port),
        "BETTING_GRPC_PORT": str(grpc_port),
        "BETTING_SERVING_WORKERS": str(WORKERS),
    }
    urls = {"http": f"http://127.0.0.1:{port}", "grpc": f"grpc://127.0.0.1:{grpc_port}"}
    (home / "logs").mkdir(exist_ok=True)
    with (home / "logs" / "follower.log").open("wb") as log:
        command = [sys.executable, "-m", "bentos.match_odds.deploying.follower"]
        follower = subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log)
    running = Running(store, home, urls, follower, known)
    try:
        running.deploy_and_wait(tag)
        with MatchOddsClient(urls["http"]) as client:
            until(client.ready)
        yield running
    finally:
        follower.terminate()
        follower.wait(60)


def copy_bento(tag: str, home: Path, version: str, code: str | None = None) -> str:
    """The same Bento under another tag; given `code`, as if its code were other."""
    folder = bento_folder(tag, home).parent / version
    shutil.copytree(bento_folder(tag, home), folder)
    description = folder / "bento.yaml"
    description.write_text(description.read_text().replace(tag.partition(":")[2], version))
    copy = f"match_odds:{version}"
    if code is not None:
        (champions_folder(copy, home).parent / CODE).write_text(code)
    return copy


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_public_ports_answer(running: Running, protocol: str) -> None:
    with MatchOddsClient(running.urls[protocol]) as client:
        assert client.ready()
        running.ask(client)


def test_a_killed_worker_is_not_seen_by_clients_with_retries_and_is_replaced(running: Running) -> None:
    with running.asked_all_the_time(Retries()) as answers:
        for _ in range(2):
            before = running.pids()  # one that was killed is still named there for a while
            os.kill(min(pid for pid in before if psutil.pid_exists(pid)), signal.SIGKILL)
            until(lambda before=before: len(running.pids() - before) == 1)
            until(lambda: len([pid for pid in running.pids() if psutil.pid_exists(pid)]) == WORKERS)
            time.sleep(1.0)
    assert len(answers.result()) > 100


def test_other_models_of_the_same_code_restart_nothing(running: Running, tag: str) -> None:
    newer = copy_bento(tag, running.home, "newer-models")
    folder = champions_folder(newer, running.home)
    (folder / VERSIONS_FILE).write_text((folder / VERSIONS_FILE).read_text().replace(VERSIONS["1x2"], "4"))
    before = {pid for pid in running.pids() if psutil.pid_exists(pid)}
    with running.asked_all_the_time() as answers:
        running.deploy_and_wait(newer, **{"1x2": "4"})
    assert running.pids() >= before
    assert {answer.model_version for answer in answers.result()} == {VERSIONS["1x2"], "4"}


def test_new_code_is_let_in_and_the_old_one_drained_without_a_failed_call(running: Running, tag: str) -> None:
    newer = copy_bento(tag, running.home, "newer-code", code="c" * 64)
    before = running.pids()
    with running.asked_all_the_time() as answers:
        running.deploy_and_wait(newer)
        until(lambda: not any(psutil.pid_exists(pid) for pid in before))
    assert answers.result()[-1].bento == newer
    assert running.pids().isdisjoint(before)


def test_new_code_that_does_not_start_is_refused_and_the_old_serves_on(running: Running, tag: str) -> None:
    broken = copy_bento(tag, running.home, "broken-code", code="d" * 64)
    (champions_folder(broken, running.home) / "1x2" / "bundle.json").write_text('{"format": 0}')
    before, current = running.pids(), deployments.current(running.url)
    with running.asked_all_the_time() as answers:
        number = running.deploy(broken)
        until(lambda: deployments.current(running.url) is not None)
        until(lambda: deployments.current(running.url).id != number)
    newest = deployments.history(running.url, 1)[0]
    assert newest.status == "refused"
    assert "train the model anew" in str(newest.reason)
    assert current is not None
    assert deployments.current(running.url).id == current.id
    assert running.pids() == before
    assert {answer.bento for answer in answers.result()} == {current.bento_tag}


def test_a_roll_back_to_other_code_is_the_same_move_backwards(running: Running) -> None:
    with running.asked_all_the_time() as answers:
        now = deployments.roll_back(running.url)
        until(lambda: {one.deployment_id for one in workers.live(running.url)} == {now.id})
    assert answers.result()[-1].bento == now.bento_tag


def test_a_proxy_that_died_comes_back_with_what_serves(running: Running) -> None:
    proxy = next(one for one in psutil.Process(running.follower.pid).children() if one.name() == "haproxy")
    proxy.kill()
    with MatchOddsClient(running.urls["http"]) as client:
        until(client.ready)
        running.ask(client)


def test_a_stopped_follower_leaves_no_process_no_socket_and_free_ports(running: Running) -> None:
    running.follower.terminate()
    assert running.follower.wait(60) == 0
    marks = {str(running.home / "serving" / name) for name in ("blue", "green", "haproxy")}
    homes = {one.pid: (one.info["environ"] or {}).get("BENTOML_HOME") for one in psutil.process_iter(["environ"])}
    assert [pid for pid, home in homes.items() if home in marks] == []
    assert all(is_free(int(url.rpartition(":")[2])) for url in running.urls.values())
    assert workers.live(running.url) == []
