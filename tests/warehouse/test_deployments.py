"""The log of deployments: its state machine against a model, roll-back, and at most one current whoever comes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from betting_assets.warehouse import deployments
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.deployments import CHANNEL, DeploymentError

pytestmark = pytest.mark.services


def propose(url: str, tag: str = "match_odds:v1") -> int:
    return deployments.propose(url, tag, {"1x2": "3"}, [{"in": [1.0], "out": [0.5, 0.3, 0.2]}])


def go_live(url: str, tag: str = "match_odds:v1") -> int:
    deployment = propose(url, tag)
    deployments.mark_healthy(url, deployment)
    deployments.make_current(url, deployment)
    return deployment


def test_the_state_machine_is_that_of_the_model(database: str) -> None:
    class Machine(RuleBasedStateMachine):
        """The model: the state of every deployment, and the stack of those that went live."""

        ids = Bundle("ids")

        @initialize()
        def begin(self) -> None:
            with connect(database) as conn:
                conn.execute("TRUNCATE serving.deployment")
            self.states: dict[int, str] = {}
            self.live: list[int] = []

        def expect(self, allowed: bool, change: object, *arguments: object) -> bool:
            assert callable(change)
            if allowed:
                change(database, *arguments)
            else:
                with pytest.raises(DeploymentError):
                    change(database, *arguments)
            return allowed

        @rule(target=ids)
        def propose(self) -> int:
            deployment = propose(database)
            self.states[deployment] = "starting"
            return deployment

        @rule(deployment=ids)
        def mark_healthy(self, deployment: int) -> None:
            if self.expect(self.states[deployment] in ("starting", "healthy"), deployments.mark_healthy, deployment):
                self.states[deployment] = "healthy"

        @rule(deployment=ids)
        def make_current(self, deployment: int) -> None:
            before = self.states[deployment]
            if (
                self.expect(before in ("healthy", "current"), deployments.make_current, deployment)
                and before == "healthy"
            ):
                if self.live:
                    self.states[self.live[-1]] = "retired"
                self.live.append(deployment)
                self.states[deployment] = "current"

        @rule(deployment=ids, reason=st.sampled_from(["wrong answers", "no answer"]))
        def refuse(self, deployment: int, reason: str) -> None:
            if self.expect(self.states[deployment] in ("starting", "healthy"), deployments.refuse, deployment, reason):
                self.states[deployment] = "refused"

        @rule()
        def roll_back(self) -> None:
            if self.expect(len(self.live) > 1, deployments.roll_back):
                self.states[self.live.pop()] = "refused"
                self.states[self.live[-1]] = "current"

        @rule(deployment=ids, reason=st.sampled_from(["refused by a worker"]))
        def withdraw(self, deployment: int, reason: str) -> None:
            if self.expect(self.states[deployment] == "current", deployments.withdraw, deployment, reason):
                self.states[self.live.pop()] = "refused"
                if self.live:
                    self.states[self.live[-1]] = "current"

        @invariant()
        def agrees(self) -> None:
            assert {row.id: row.status for row in deployments.history(database)} == self.states
            now, before = deployments.current(database), deployments.previous(database)
            assert (now and now.id) == (self.live[-1] if self.live else None)
            assert (before and before.id) == (self.live[-2] if len(self.live) > 1 else None)
            with connect(database) as conn:
                pointer = deployments.pointer(conn)
                if pointer is None or now is None:
                    assert pointer is now
                else:
                    assert now == deployments.find(conn, pointer.id)
                    assert pointer.made_current_at == now.made_current_at

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=10, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_rolling_back_brings_the_one_before_and_marks_the_bad_one(database: str) -> None:
    first, second = go_live(database, "match_odds:one"), go_live(database, "match_odds:two")
    back = deployments.roll_back(database, "known answers differ")
    assert (back.id, back.bento_tag, back.status) == (first, "match_odds:one", "current")
    bad = deployments.history(database)[0]
    assert (bad.id, bad.status, bad.reason) == (second, "refused", "known answers differ")


def test_the_only_deployment_can_be_withdrawn_and_then_nothing_is_current(database: str) -> None:
    only = go_live(database)
    assert deployments.withdraw(database, only, "refused by a worker") is None
    assert deployments.current(database) is None
    assert deployments.history(database)[0].reason == "refused by a worker"


def test_withdrawing_what_another_has_followed_touches_nothing(database: str) -> None:
    first, second = go_live(database), go_live(database)
    with pytest.raises(DeploymentError, match=f"deployment {first} is retired"):
        deployments.withdraw(database, first, "too late")
    assert (now := deployments.current(database)) is not None
    assert now.id == second


def test_a_deployment_that_comes_back_is_another_pointer(database: str) -> None:
    go_live(database)
    with connect(database) as conn:
        before = deployments.pointer(conn)
    go_live(database)
    deployments.roll_back(database)
    with connect(database) as conn:
        after = deployments.pointer(conn)
    assert before is not None
    assert after is not None
    assert (before.id, before.bento_tag) == (after.id, after.bento_tag)
    assert before != after


def test_a_deployment_keeps_what_it_was_proposed_with(database: str) -> None:
    deployment = deployments.propose(database, "match_odds:v1", {"1x2": "3"}, [{"in": [1.0], "out": [0.5]}], "c0de")
    deployments.mark_healthy(database, deployment)
    deployments.make_current(database, deployment)
    now = deployments.current(database)
    assert now is not None
    assert now.code == "c0de"
    assert now.market_versions == {"1x2": "3"}
    assert now.known_answers == [{"in": [1.0], "out": [0.5]}]
    assert now.made_current_at is not None
    assert now.made_current_at > now.created_at


def test_listeners_hear_of_a_swap(database: str) -> None:
    with connect(database, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        deployment = go_live(database)
        heard = {note.payload for note in listener.notifies(timeout=5, stop_after=2)}
    assert heard == {str(deployment)}


def test_an_unknown_deployment_is_named(database: str) -> None:
    with pytest.raises(DeploymentError, match="there is no deployment 7"):
        deployments.make_current(database, 7)


def test_at_most_one_is_current_however_many_swap_at_once(database: str) -> None:
    waiting = [propose(database) for _ in range(8)]
    for deployment in waiting:
        deployments.mark_healthy(database, deployment)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda deployment: deployments.make_current(database, deployment), waiting))
    states = [row.status for row in deployments.history(database)]
    assert sorted(states) == ["current"] + ["retired"] * 7


def test_the_database_itself_refuses_a_second_current_and_an_unknown_state(database: str) -> None:
    go_live(database)
    other = propose(database)
    with connect(database, autocommit=True) as conn:
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute("UPDATE serving.deployment SET status = 'current' WHERE id = %s", [other])
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute("UPDATE serving.deployment SET status = 'paused' WHERE id = %s", [other])
