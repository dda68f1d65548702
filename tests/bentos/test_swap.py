"""A new model goes live, and an old one comes back, while requests run: none fails, none is answered by two models."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from invented_models import VERSIONS, free_port, invented_bundle
from stored_matches import PRICED, UNPRICED

from bentos.match_odds.client import MatchOddsClient
from bentos.match_odds.contract import Answer
from bentos.match_odds.deploying.build import bento_code, build_bento, champions_folder
from bentos.match_odds.deploying.runner import RunningBento
from bentos.match_odds.model.known_answers import KnownAnswer, known_answers, load_known_answers
from betting_assets.modelling.markets import MARKETS
from betting_assets.warehouse import deployments, workers

pytestmark = pytest.mark.services
WORKERS = 2
NEXT = {"1x2": "4", "over_under": "8"}


@pytest.fixture(scope="module")
def next_tag(home: Path) -> str:
    """The same code with other models."""
    trained = {market: invented_bundle(market, seed=2) for market in MARKETS}
    folders = {market: bundle.save(home / "next" / market) for market, (bundle, _) in trained.items()}
    known = [answer for bundle, frame in trained.values() for answer in known_answers(bundle, frame)]
    return build_bento(folders, NEXT, known, home)


@pytest.fixture(scope="module")
def following(tag: str, home: Path, store_url: str) -> Iterator[RunningBento]:
    with RunningBento(tag, free_port(), home, store_url, workers=WORKERS, follow=True) as bento:
        until(lambda: len(workers.live(store_url)) == WORKERS)
        yield bento


def deploy(url: str, tag: str, home: Path, versions: dict[str, str], known: list[KnownAnswer] | None = None) -> int:
    known = known or load_known_answers(champions_folder(tag, home))
    answers = [answer.model_dump(mode="json") for answer in known]
    number = deployments.propose(url, tag, versions, answers, bento_code(tag, home))
    deployments.mark_healthy(url, number)
    deployments.make_current(url, number)
    return number


def until(holds: object, seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, "not within the time allowed"
        time.sleep(0.05)


def serves(url: str, deployment: int) -> bool:
    live = workers.live(url)
    return len(live) == WORKERS and all(worker.deployment_id == deployment for worker in live)


class Asking:
    """Asks again and again from several threads, without any retry; `answers` by model version."""

    def __init__(self, bento: RunningBento) -> None:
        self._urls = [bento.url, bento.grpc_url] * 2
        self._stop = threading.Event()
        self.errors: list[Exception] = []
        self.answers: dict[str, list[Answer]] = {}

    def __enter__(self) -> Asking:
        self._threads = [threading.Thread(target=self._ask, args=(url,)) for url in self._urls]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, url: str) -> None:
        from bentos.match_odds.calling.retries import Retries

        with MatchOddsClient(url, retries=Retries(attempts=1)) as client:
            while not self._stop.is_set():
                try:
                    answer = client.predict("1x2", [PRICED, UNPRICED] * 40)
                except Exception as error:  # noqa: BLE001 whatever it is, the test shows it
                    self.errors.append(error)
                else:
                    self.answers.setdefault(answer.model_version, []).append(answer)


def test_swaps_and_rollbacks_under_load_fail_no_request_and_mix_no_models(
    following: RunningBento, tag: str, next_tag: str, home: Path, store_url: str
) -> None:
    first = deploy(store_url, tag, home, VERSIONS)
    until(lambda: serves(store_url, first))
    with Asking(following) as asking:
        second = deploy(store_url, next_tag, home, NEXT)
        until(lambda: serves(store_url, second))
        back = deployments.roll_back(store_url)
        assert back.id == first
        until(lambda: serves(store_url, first))
        third = deploy(store_url, next_tag, home, NEXT)
        until(lambda: serves(store_url, third))
    assert asking.errors == []
    assert set(asking.answers) == {VERSIONS["1x2"], NEXT["1x2"]}
    for version, answers in asking.answers.items():
        told = {
            (prediction.match_id, tuple(prediction.probabilities))
            for answer in answers
            for prediction in answer.predictions
        }
        assert len(told) == 2, f"version {version} gave different answers to the same question"
    by_version = [
        {tuple(p.probabilities) for a in answers for p in a.predictions} for answers in asking.answers.values()
    ]
    assert not set.intersection(*by_version)
    bentos = {version: {answer.bento for answer in answers} for version, answers in asking.answers.items()}
    assert bentos == {VERSIONS["1x2"]: {tag}, NEXT["1x2"]: {next_tag}}


def test_a_model_that_answers_otherwise_than_known_is_refused_by_every_worker_and_the_old_one_serves_on(
    following: RunningBento, tag: str, next_tag: str, home: Path, store_url: str
) -> None:
    good = deploy(store_url, tag, home, VERSIONS)
    until(lambda: serves(store_url, good))
    known = load_known_answers(champions_folder(next_tag, home))
    wrong = [one.model_copy(update={"probabilities": list(reversed(one.probabilities))}) for one in known]
    with Asking(following) as asking:
        bad = deploy(store_url, next_tag, home, NEXT, wrong)
        until(lambda: all(worker.refused_id == bad for worker in workers.live(store_url)))
        told = httpx.get(f"{following.url}/readyz").json()
    assert told["ready"] is True
    assert f"deployment {bad} was refused" in told["reasons"][0]
    live = workers.live(store_url)
    assert [worker.deployment_id for worker in live] == [good] * WORKERS
    assert all("known answer 0" in str(worker.reason) for worker in live)
    assert asking.errors == []
    assert set(asking.answers) == {VERSIONS["1x2"]}
    deployments.roll_back(store_url)


def test_a_worker_that_is_killed_comes_back_with_the_models_of_the_current_deployment(
    following: RunningBento, next_tag: str, home: Path, store_url: str
) -> None:
    import os
    import signal

    number = deploy(store_url, next_tag, home, NEXT)
    until(lambda: serves(store_url, number))
    before = {worker.worker for worker in workers.live(store_url)}
    os.kill(following.worker_pids()[0], signal.SIGKILL)
    until(lambda: len({w.worker for w in workers.live(store_url)} - before) == 1 and serves_now(store_url, number))
    with MatchOddsClient(following.url) as client:
        assert {client.models().bento for _ in range(10)} == {next_tag}


def serves_now(url: str, deployment: int) -> bool:
    return all(worker.deployment_id == deployment for worker in workers.live(url))
