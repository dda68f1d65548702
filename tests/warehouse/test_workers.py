"""Who serves: workers that speak are live, by the database's clock; a deployment is served when all of them say so."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from betting_assets.warehouse import deployments, workers
from betting_assets.warehouse.confirmation import Confirmation, await_workers
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.workers import Worker

pytestmark = pytest.mark.services

CODE = "c0de"
ONE, TWO = Worker("host:1", "match_odds:v1", CODE), Worker("host:2", "match_odds:v1", CODE)
OTHER = Worker("host:3", "match_odds:v0", "other")


def say(url: str, *said: Worker) -> None:
    with connect(url) as conn:
        for worker in said:
            workers.report(conn, worker)


def age(url: str, worker: Worker, interval: str) -> None:
    """As if it had said nothing for so long."""
    with connect(url) as conn:
        conn.execute(
            "UPDATE serving.worker SET seen_at = now() - %s::interval WHERE worker = %s", [interval, worker.worker]
        )


def go_live(url: str, code: str = CODE) -> int:
    deployment = deployments.propose(url, "match_odds:v1", {"1x2": "3"}, [], code)
    deployments.mark_healthy(url, deployment)
    deployments.make_current(url, deployment)
    return deployment


def look(url: str, deployment: int, *, supervised: bool = False, seconds: float = 0.0) -> Confirmation:
    return await_workers(url, deployment, seconds, supervised=supervised)


def test_the_newest_word_of_a_worker_counts_and_its_start_stays(database: str) -> None:
    say(database, ONE)
    (before,) = workers.live(database)
    news = replace(ONE, deployment_id=4, refused_id=5, reason="known answer 0 differs")
    say(database, news)
    (after,) = workers.live(database)
    assert replace(after, started_at=None, seen_at=None) == news
    assert before.started_at == after.started_at
    assert before.seen_at is not None
    assert after.seen_at is not None
    assert before.seen_at < after.seen_at


def test_a_silent_worker_is_not_live_and_forgotten_after_a_day(database: str) -> None:
    say(database, ONE, TWO)
    age(database, TWO, "11 seconds")
    assert [one.worker for one in workers.live(database)] == [ONE.worker]
    assert [one.worker for one in workers.live(database, 60)] == [ONE.worker, TWO.worker]
    with connect(database) as conn:
        assert workers.prune(conn) == 0
    age(database, TWO, "25 hours")
    with connect(database) as conn:
        assert workers.prune(conn) == 1
        workers.forget(conn, ONE.worker)
        workers.forget(conn, "never there")
    assert workers.live(database, 10**6) == []


def test_a_deployment_is_served_when_every_live_worker_of_its_code_serves_it(database: str) -> None:
    deployment = go_live(database)
    say(database, replace(ONE, deployment_id=deployment), TWO, OTHER)
    first = look(database, deployment)
    assert not first.is_served
    assert first.why == "not yet served by worker host:2"
    say(database, replace(TWO, deployment_id=deployment))
    second = look(database, deployment)
    assert second.is_served
    assert second.why == "served by worker host:1, host:2"
    assert [one.worker for one in second.others] == [OTHER.worker]


def test_a_supervisor_must_replace_workers_of_other_code_and_have_one_that_serves(database: str) -> None:
    deployment = go_live(database)
    assert look(database, deployment).is_served
    assert not look(database, deployment, supervised=True).is_served
    assert look(database, deployment, supervised=True).why == "no worker runs"
    say(database, replace(ONE, deployment_id=deployment), OTHER)
    assert look(database, deployment, supervised=True).why == "not yet served by worker host:3"
    age(database, OTHER, "11 seconds")
    assert look(database, deployment, supervised=True).is_served


def test_a_refusal_is_told_at_once_with_its_reason_also_where_others_confirm(database: str) -> None:
    deployment = go_live(database)
    say(database, replace(ONE, deployment_id=deployment), replace(TWO, refused_id=deployment, reason="no such file"))
    found = look(database, deployment, seconds=3600)
    assert not found.is_served
    assert found.why == "refused by worker host:2: no such file"


def test_an_older_refusal_says_nothing_of_this_deployment(database: str) -> None:
    say(database, replace(ONE, refused_id=go_live(database), reason="no such file"))
    deployment = go_live(database)
    assert look(database, deployment).why == "not yet served by worker host:1"


@pytest.mark.parametrize(("move", "why"), [("roll_back", "it is refused: bad"), ("deploy", "it is retired: followed")])
def test_a_wait_ends_when_the_pointer_moves_on(database: str, move: str, why: str) -> None:
    go_live(database)
    deployment = go_live(database)
    say(database, ONE)
    move_on = {"roll_back": lambda: deployments.roll_back(database, "bad"), "deploy": lambda: go_live(database)}[move]
    mover = threading.Timer(0.3, move_on)
    mover.start()
    found = look(database, deployment, seconds=3600)
    mover.join()
    assert not found.is_served
    assert found.why.startswith(why)


def test_a_wait_sees_what_becomes_true_meanwhile(database: str) -> None:
    deployment = go_live(database)
    say(database, ONE)
    late = threading.Timer(0.3, say, [database, replace(ONE, deployment_id=deployment)])
    late.start()
    found = look(database, deployment, seconds=3600)
    late.join()
    assert found.is_served


def test_a_wait_has_an_end(database: str) -> None:
    deployment = go_live(database)
    say(database, ONE)
    began = time.monotonic()
    assert not look(database, deployment, seconds=0.3).is_served
    assert time.monotonic() - began >= 0.3


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    states=st.lists(st.sampled_from(["serves", "refuses", "waits", "other code"]), max_size=5), supervised=st.booleans()
)
def test_served_means_that_no_live_worker_does_otherwise(database: str, states: list[str], supervised: bool) -> None:
    with connect(database) as conn:
        conn.execute("TRUNCATE serving.worker")
    deployment = go_live(database)
    shapes = {
        "serves": replace(ONE, deployment_id=deployment),
        "refuses": replace(ONE, refused_id=deployment, reason="no"),
        "waits": ONE,
        "other code": replace(OTHER, deployment_id=deployment - 1),
    }
    say(database, *(replace(shapes[state], worker=f"host:{i}") for i, state in enumerate(states)))
    found = look(database, deployment, supervised=supervised)
    bad = {"refuses", "waits"} | ({"other code"} if supervised else set())
    assert found.is_served == (not bad & set(states) and ("serves" in states or not supervised))
    told = [*found.confirmed, *found.refused, *found.missing, *found.others]
    assert sorted(one.worker for one in told) == [f"host:{i}" for i in range(len(states))]
