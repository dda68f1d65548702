"""The supervisor starts other code, leaves other models to the workers, and never gives up what serves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bentos.match_odds.deploying import follower
from bentos.match_odds.deploying.follower import Follower, is_followed
from bentos.match_odds.deploying.fronts import make_front
from bentos.match_odds.deploying.runner import StartError
from bentos.match_odds.front.api_keys import ExposureError
from betting_assets.settings import Settings
from betting_assets.warehouse import deployments
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.deployments import Deployment

pytestmark = pytest.mark.services

Step = Callable[[], object]


class Recorded:
    """A front that starts nothing: it records what it was asked for, and takes one step of the story every look."""

    def __init__(self, steps: Sequence[Step], *, keeps_the_old: bool = True) -> None:
        self.keeps_the_old = keeps_the_old
        self.serves: Deployment | None = None
        self.started: list[str] = []
        self.broken: dict[str, Step] = {}
        self.stopped = 0
        self._steps = list(steps)

    def serve(self, deployment: Deployment) -> None:
        self.started.append(deployment.bento_tag)
        if not self.keeps_the_old:
            self.serves = None
        if deployment.bento_tag in self.broken:
            self.broken[deployment.bento_tag]()
            raise StartError(f"{deployment.bento_tag} ended with code 1")
        self.serves = deployment

    def look_after(self) -> None:
        if not self._steps:
            raise SystemExit
        self._steps.pop(0)()

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.0)


def nothing() -> None:
    pass


def deploy(url: str, tag: str, code: str = "") -> Step:
    def move() -> None:
        number = deployments.propose(url, tag, {}, [], code)
        deployments.mark_healthy(url, number)
        deployments.make_current(url, number)

    return move


def follow(url: str, front: Recorded) -> Recorded:
    with pytest.raises(SystemExit):
        Follower(url, lambda: front).run()
    assert front.stopped == 1
    return front


def states(url: str) -> dict[str, str]:
    return {one.bento_tag: one.status for one in deployments.history(url)}


def test_nothing_is_started_before_the_first_deployment_and_then_once(database: str) -> None:
    front = Recorded([nothing, nothing, deploy(database, "b:1", "x"), nothing, nothing])
    assert follow(database, front).started == ["b:1"]


def test_other_models_of_the_code_that_runs_are_left_to_the_workers(database: str) -> None:
    front = Recorded([deploy(database, "b:1", "x"), deploy(database, "b:2", "x"), nothing])
    assert follow(database, front).started == ["b:1"]


def test_other_code_is_started(database: str) -> None:
    front = Recorded([deploy(database, "b:1", "x"), deploy(database, "b:2", "y"), nothing])
    assert follow(database, front).started == ["b:1", "b:2"]


def test_code_that_nobody_knows_is_taken_for_other_code(database: str) -> None:
    front = Recorded([deploy(database, "b:1"), nothing, deploy(database, "b:2"), nothing])
    assert follow(database, front).started == ["b:1", "b:2"]


def test_a_roll_back_to_other_code_starts_that(database: str) -> None:
    steps = [deploy(database, "b:1", "x"), deploy(database, "b:2", "y"), lambda: deployments.roll_back(database)]
    assert follow(database, Recorded([*steps, nothing])).started == ["b:1", "b:2", "b:1"]


def test_a_bento_that_died_is_started_again_with_what_is_current_now(database: str) -> None:
    front = Recorded([])
    front._steps = [
        deploy(database, "b:1", "x"),
        deploy(database, "b:2", "x"),
        lambda: setattr(front, "serves", None),
        nothing,
    ]
    assert follow(database, front).started == ["b:1", "b:2"]


def test_new_code_that_does_not_start_is_refused_with_the_reason_and_the_old_serves_on(database: str) -> None:
    front = Recorded([deploy(database, "b:1", "x"), deploy(database, "b:2", "y"), nothing, nothing])
    front.broken["b:2"] = nothing
    follow(database, front)
    assert front.started == ["b:1", "b:2"]
    assert front.serves is not None
    assert front.serves.bento_tag == "b:1"
    assert states(database) == {"b:2": "refused", "b:1": "current"}
    assert "b:2 ended with code 1" in str(deployments.history(database)[0].reason)


def test_a_deployment_made_current_while_another_failed_to_start_is_not_touched(database: str) -> None:
    front = Recorded([deploy(database, "b:1", "x"), deploy(database, "b:2", "y"), nothing, nothing])
    front.broken["b:2"] = deploy(database, "b:3", "z")
    assert follow(database, front).started == ["b:1", "b:2", "b:3"]
    assert states(database) == {"b:3": "current", "b:2": "retired", "b:1": "retired"}


def test_where_nothing_serves_the_pointer_stays_and_the_third_failure_ends_the_follower(database: str) -> None:
    front = Recorded([deploy(database, "b:1", "x"), *[nothing] * 5])
    front.broken["b:1"] = nothing
    with pytest.raises(StartError, match="b:1 ended"):
        Follower(database, lambda: front).run()
    assert front.started == ["b:1"] * follower.MOST_STARTS
    assert states(database) == {"b:1": "current"}


def test_without_a_proxy_a_failed_start_moves_no_pointer(database: str) -> None:
    front = Recorded([deploy(database, "b:1", "x"), deploy(database, "b:2", "y"), *[nothing] * 5], keeps_the_old=False)
    front.broken["b:2"] = nothing
    with pytest.raises(StartError, match="b:2 ended"):
        Follower(database, lambda: front).run()
    assert states(database) == {"b:2": "current", "b:1": "retired"}


def test_a_second_follower_is_refused_before_it_can_end_what_the_first_one_runs(database: str) -> None:
    made, at_work, done = [], threading.Event(), threading.Event()
    first = Recorded([lambda: (at_work.set(), done.wait(30))])
    running = threading.Thread(target=lambda: follow(database, first))
    running.start()
    try:
        assert at_work.wait(30)
        assert is_followed(database)
        with pytest.raises(RuntimeError, match="another follower"):
            Follower(database, lambda: made.append(1) or Recorded([])).run()
        assert made == []
    finally:
        done.set()
        running.join(30)
    assert not is_followed(database)


def test_a_broken_connection_is_outlived_and_what_serves_stays(database: str) -> None:
    def cut() -> None:
        with connect(database) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid != pg_backend_pid()"
            )

    front = Recorded([deploy(database, "b:1", "x"), cut, nothing, deploy(database, "b:2", "y"), nothing])
    assert follow(database, front).started == ["b:1", "b:2"]


def test_behind_a_proxy_other_machines_are_not_let_in_without_keys(database: str, tmp_path: Path) -> None:
    exposed = Settings(home=tmp_path, proxy=True, serving_host="0.0.0.0")
    with pytest.raises(ExposureError, match="BETTING_API_KEYS_FILE"):
        make_front(database, tmp_path, exposed)
