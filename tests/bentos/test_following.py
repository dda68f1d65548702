"""A worker follows the pointer: what it serves in the end, whatever becomes of models, messages and connections."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pandas as pd
import pytest
from invented_models import invented_bundle

from bentos.match_odds.contract import MarketName
from bentos.match_odds.deploying.following import ModelFollower
from bentos.match_odds.model.champions import Champion, Champions
from bentos.match_odds.model.known_answers import KnownAnswer, WrongAnswerError, check_served, known_answers
from bentos.match_odds.model.served import Served
from betting_assets.modelling.bundle import Bundle
from betting_assets.modelling.markets import MARKETS
from betting_assets.warehouse import deployments, workers
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.workers import Worker

pytestmark = pytest.mark.services

CODE = "c0de"
OWN = "match_odds:v1"
Trained = dict[str, tuple[Bundle, pd.DataFrame]]


@pytest.fixture(scope="module")
def retrained() -> Trained:
    """Version 2 of both markets."""
    return {market: invented_bundle(market, seed=2) for market in MARKETS}


class Shelf:
    """The Bentos that there are: v1 and v2 hold other models, v3 those of v2 under a new version.

    `pause` is called by every load, in the follower's thread.
    """

    def __init__(self, trained: Trained, retrained: Trained) -> None:
        self.models = {"v1": trained, "v2": retrained, "v3": retrained}
        self.loads: list[int | None] = []
        self.pause: Callable[[], object] = lambda: None

    def load(self, tag: str, deployment: int | None) -> Served:
        self.loads.append(deployment)
        self.pause()
        name = tag.partition(":")[2]
        models = {market: Champion(bundle, name) for market, (bundle, _) in self.models[name].items()}
        return Served(tag, Champions(models), Champions(), deployment)

    def known(self, name: str) -> list[KnownAnswer]:
        return [one for bundle, frame in self.models[name].values() for one in known_answers(bundle, frame, 2)]

    def propose(self, url: str, name: str, known: list[KnownAnswer] | None = None, code: str = CODE) -> int:
        answers = [one.model_dump(mode="json") for one in (self.known(name) if known is None else known)]
        return deployments.propose(url, f"match_odds:{name}", dict.fromkeys(MARKETS, name), answers, code)

    def deploy(self, url: str, name: str, known: list[KnownAnswer] | None = None, code: str = CODE) -> int:
        deployment = self.propose(url, name, known, code)
        deployments.mark_healthy(url, deployment)
        deployments.make_current(url, deployment)
        return deployment


@pytest.fixture
def shelf(trained: Trained, retrained: Trained) -> Shelf:
    return Shelf(trained, retrained)


class Process:
    """A worker as far as models go: what it serves, and what it served before."""

    def __init__(self, url: str, shelf: Shelf, name: str = "host:1", code: str = CODE, **seconds: float) -> None:
        self.name = name
        self.served = [Served(OWN, Champions(), Champions())]
        self.swap: Callable[[Served], None] = self.served.append
        self.follower = ModelFollower(url, name, OWN, code, shelf.load, lambda served: self.swap(served), **seconds)

    @property
    def deployment(self) -> int | None:
        return self.served[-1].deployment

    def row(self, url: str) -> Worker:
        (found,) = [one for one in workers.live(url) if one.worker == self.name]
        return found

    def serves(self, url: str, deployment: int | None) -> Callable[[], bool]:
        """It does, and says so."""
        return lambda: self.deployment == deployment and self.row(url).deployment_id == deployment


@contextmanager
def following(url: str, shelf: Shelf, name: str = "host:1", code: str = CODE, **seconds: float) -> Iterator[Process]:
    process = Process(url, shelf, name, code, **({"poll": 0.05, "beat": 0.1} | seconds))
    process.follower.start()
    try:
        yield process
    finally:
        process.follower.stop()


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)


def several_looks() -> None:
    time.sleep(0.5)


def end_sessions(url: str) -> int:
    """Kill every connection of the followers, as a restart of the server would."""
    with connect(url, autocommit=True) as conn:
        return conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'betting %'"
        ).rowcount


@contextmanager
def database_away(url: str, postgres_url: str) -> Iterator[None]:
    """Nobody can connect, and nobody stays connected."""
    with connect(url) as conn:
        name = conn.info.dbname
    with connect(postgres_url, autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            conn.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")


def test_a_started_worker_serves_what_is_current(database: str, shelf: Shelf) -> None:
    shelf.deploy(database, "v1")
    deployment = shelf.deploy(database, "v2")
    with following(database, shelf) as process:
        assert process.deployment == deployment
        assert process.served[-1].bento == "match_odds:v2"
        until(process.serves(database, deployment))


def test_without_a_deployment_a_worker_serves_its_own_models(database: str, shelf: Shelf) -> None:
    with following(database, shelf) as process:
        assert shelf.loads == []
        assert process.row(database).deployment_id is None


def test_a_worker_is_known_before_it_looks_so_that_nobody_is_missed_who_serves_the_old(
    database: str, shelf: Shelf
) -> None:
    deployment = shelf.deploy(database, "v1")
    seen: list[Worker] = []
    shelf.pause = lambda: seen.extend(workers.live(database))
    with following(database, shelf) as process:
        assert [(one.worker, one.deployment_id) for one in seen] == [(process.name, None)]
        until(process.serves(database, deployment))


def test_a_message_moves_the_models_without_waiting_for_the_poll(database: str, shelf: Shelf) -> None:
    with following(database, shelf, poll=3600) as process:
        until(process.serves(database, shelf.deploy(database, "v1")))
        until(process.serves(database, shelf.deploy(database, "v2")))


def test_a_lost_message_is_made_up_for_by_polling(database: str, shelf: Shelf) -> None:
    deployment = shelf.propose(database, "v2")
    with following(database, shelf) as process:
        with connect(database) as conn:
            conn.execute("UPDATE serving.deployment SET status = 'current', made_current_at = now()")
        until(process.serves(database, deployment))


def test_a_pointer_that_moves_on_during_a_load_is_followed_to_where_it_stands(database: str, shelf: Shelf) -> None:
    loading, go_on = threading.Event(), threading.Event()

    def pause() -> None:
        loading.set()
        assert go_on.wait(20)

    with following(database, shelf) as process:
        shelf.pause = pause
        first = shelf.deploy(database, "v1")
        assert loading.wait(20)
        shelf.deploy(database, "v2")
        last = shelf.deploy(database, "v3")
        go_on.set()
        until(process.serves(database, last))
        assert [one.deployment for one in process.served] == [None, last]
        assert shelf.loads == [first, last]


def test_many_moves_in_a_row_end_at_the_newest_without_mixing_two(database: str, shelf: Shelf) -> None:
    with following(database, shelf) as process:
        for _ in range(5):
            shelf.deploy(database, "v1")
            newest = shelf.deploy(database, "v2")
        until(process.serves(database, newest))
        for served in process.served[1:]:
            assert {champion.version for champion in served.champions.values()} == {served.bento.partition(":")[2]}


@pytest.mark.parametrize("lost", [KeyError("no such file"), FileNotFoundError("gone"), MemoryError()])
def test_a_model_that_cannot_be_loaded_is_refused_once_and_the_old_one_serves_on(
    database: str, shelf: Shelf, lost: Exception
) -> None:
    def fail() -> None:
        raise lost

    good = shelf.deploy(database, "v1")
    with following(database, shelf) as process:
        shelf.pause = fail
        bad = shelf.deploy(database, "v2")
        until(lambda: process.row(database).refused_id == bad)
        several_looks()
        row = process.row(database)
        assert row.deployment_id == process.deployment == good
        assert str(row.reason).startswith(type(lost).__name__)
        assert shelf.loads == [good, bad]


def test_a_self_test_that_differs_in_one_market_only_refuses_the_deployment(database: str, shelf: Shelf) -> None:
    good = shelf.deploy(database, "v1")
    known = shelf.known("v2")
    last = known[-1]
    assert last.market == "over_under"
    over, under = last.probabilities
    known[-1] = last.model_copy(update={"probabilities": [over + 1e-6, under - 1e-6]})
    with following(database, shelf) as process:
        bad = shelf.deploy(database, "v2", known)
        until(lambda: process.row(database).refused_id == bad)
        row = process.row(database)
        assert row.deployment_id == process.deployment == good
        assert f"known answer {len(known) - 1} of over_under" in str(row.reason)


def test_models_of_other_versions_than_the_table_says_are_refused(database: str, shelf: Shelf) -> None:
    with following(database, shelf) as process:
        bad = shelf.deploy(database, "v2")
        until(process.serves(database, bad))
        deployment = deployments.propose(
            database, "match_odds:v3", {"1x2": "v3"}, [one.model_dump(mode="json") for one in shelf.known("v3")], CODE
        )
        deployments.mark_healthy(database, deployment)
        deployments.make_current(database, deployment)
        until(lambda: process.row(database).refused_id == deployment)
        assert "its deployment says {'1x2': 'v3'}" in str(process.row(database).reason)


def test_after_a_refusal_a_roll_back_leaves_nothing_to_complain_of(database: str, shelf: Shelf) -> None:
    good = shelf.deploy(database, "v1")
    with following(database, shelf) as process:
        bad = shelf.deploy(database, "v2", shelf.known("v1"))
        until(lambda: process.row(database).refused_id == bad)
        deployments.roll_back(database)
        until(lambda: process.row(database).refused_id is None)
        assert process.row(database).reason is None
        assert process.row(database).deployment_id == process.deployment == good
        assert shelf.loads == [good, bad]


def test_what_was_refused_is_tried_again_when_the_pointer_comes_back_to_it(database: str, shelf: Shelf) -> None:
    def fail() -> None:
        raise OSError("disk away")

    with following(database, shelf) as process:
        shelf.pause = fail
        first = shelf.deploy(database, "v1")
        until(lambda: process.row(database).refused_id == first)
        shelf.pause = lambda: None
        until(process.serves(database, shelf.deploy(database, "v2")))
        deployments.roll_back(database)
        until(process.serves(database, first))


def test_withdrawing_the_only_deployment_brings_back_the_models_of_the_own_bento(database: str, shelf: Shelf) -> None:
    with following(database, shelf) as process:
        deployment = shelf.deploy(database, "v2")
        until(process.serves(database, deployment))
        deployments.withdraw(database, deployment, "refused by another worker")
        until(process.serves(database, None))
        assert process.served[-1].bento == OWN


def test_a_deployment_of_other_code_is_left_to_workers_of_that_code(database: str, shelf: Shelf) -> None:
    old = shelf.deploy(database, "v1")
    with following(database, shelf) as blue, following(database, shelf, "host:2", "other") as green:
        new = shelf.deploy(database, "v2", code="other")
        until(green.serves(database, new))
        several_looks()
        assert (blue.deployment, green.deployment) == (old, new)
        assert blue.row(database).refused_id is None
        deployments.roll_back(database)
        newest = shelf.deploy(database, "v3")
        until(blue.serves(database, newest))
        assert green.deployment == new


def test_a_lost_connection_is_taken_up_again_and_told_once(
    database: str, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "bentos.match_odds.deploying.database_thread")
    with following(database, shelf, poll=3600) as process:
        until(process.serves(database, shelf.deploy(database, "v1")))
        assert end_sessions(database) == 2
        until(process.serves(database, shelf.deploy(database, "v2")))
        told = [record for record in caplog.records if "betting model follower" in record.message]
        assert len(told) == 1


def test_an_outage_leaves_what_serves_and_its_end_is_followed(database: str, postgres_url: str, shelf: Shelf) -> None:
    first = shelf.deploy(database, "v1")
    second = shelf.propose(database, "v2")
    with following(database, shelf) as process:
        with database_away(database, postgres_url):
            several_looks()
            assert process.deployment == first
        deployments.mark_healthy(database, second)
        deployments.make_current(database, second)
        until(lambda: process.deployment == second)
        until(process.serves(database, second))


def test_a_worker_starts_without_its_database_and_follows_later(
    database: str, postgres_url: str, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    deployment = shelf.deploy(database, "v2")
    with database_away(database, postgres_url):
        process = Process(database, shelf, poll=0.05, beat=0.1)
        process.follower.start()
        several_looks()
        assert process.deployment is None
        told = [record for record in caplog.records if "betting model follower" in record.message]
        assert len(told) == 1
    until(lambda: process.deployment == deployment)
    until(lambda: bool(workers.live(database)))
    process.follower.stop()
    assert workers.live(database) == []


def test_a_worker_can_stop_while_its_database_is_away(database: str, postgres_url: str, shelf: Shelf) -> None:
    with following(database, shelf) as process, database_away(database, postgres_url):
        process.follower.stop()
        assert not [one for one in threading.enumerate() if one.name.startswith("betting ")]


def test_a_worker_that_loads_for_long_is_not_taken_for_dead(database: str, shelf: Shelf) -> None:
    go_on = threading.Event()
    with following(database, shelf) as process:
        shelf.pause = lambda: go_on.wait(20)
        shelf.deploy(database, "v2")
        until(lambda: shelf.loads)
        before = process.row(database).seen_at
        until(lambda: process.row(database).seen_at != before)
        go_on.set()


def test_a_worker_that_fails_in_its_own_code_follows_on(database: str, shelf: Shelf) -> None:
    with following(database, shelf) as process:
        failing = [RuntimeError("loop closed")]

        def swap(served: Served) -> None:
            if failing:
                raise failing.pop()
            process.served.append(served)

        process.swap = swap
        until(process.serves(database, shelf.deploy(database, "v1")))
        assert not failing


def test_models_that_are_no_longer_served_can_be_freed(database: str, shelf: Shelf) -> None:
    with following(database, shelf) as process:
        until(process.serves(database, shelf.deploy(database, "v1")))
        refused = shelf.deploy(database, "v2", shelf.known("v1"))
        until(lambda: process.row(database).refused_id == refused)
        old = weakref.ref(process.served[-1].champions["1x2"])
        until(process.serves(database, shelf.deploy(database, "v2")))
        del process.served[:-1]
        gc.collect()
        assert old() is None


def test_a_stopped_worker_is_no_longer_in_the_table(database: str, shelf: Shelf) -> None:
    with following(database, shelf, "host:1"), following(database, shelf, "host:2"):
        assert [one.worker for one in workers.live(database)] == ["host:1", "host:2"]
    assert workers.live(database) == []


def test_known_answers_of_a_market_that_is_not_served_or_not_known_are_no_proof(shelf: Shelf) -> None:
    served = shelf.load("match_odds:v1", 1)
    only = [one for one in shelf.known("v1") if one.market is MarketName("1x2")]
    check_served(served, shelf.known("v1"))
    with pytest.raises(WrongAnswerError, match="no known answer for the champion of over_under"):
        check_served(served, only)
    with pytest.raises(WrongAnswerError, match="known answer 0 of 1x2: no answer: missing feature"):
        check_served(served, [one.model_copy(update={"features": {"league": "XX"}}) for one in shelf.known("v1")])
