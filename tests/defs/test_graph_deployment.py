"""From champions to a service: proved before it serves, refused with a reason, rolled back in one step, followed."""

from __future__ import annotations

import pytest
from serving import Serving, processes_of, until
from worlds import Step

from bentos.match_odds.contract import Answer
from betting_assets.warehouse import deployments, workers

pytestmark = pytest.mark.services


def test_a_bento_holds_the_champions_there_are(deployed: Step) -> None:
    assert deployed.outcome.success, deployed.outcome
    live = deployed.outcome.metadata["live_deployment"]
    assert live["models"] == {"1x2": "match_odds_1x2/1"}
    assert live["trial"] == "started aside"
    assert live["workers"] == []


def test_nothing_new_to_deploy_is_told_and_leaves_what_serves(impostor: Step) -> None:
    url = impostor.graph.url
    before = deployments.current(url)
    outcome = impostor.graph.ad_hoc("live_deployment")
    assert "materialize match_odds_bento first" in str(outcome.error)
    assert deployments.current(url) == before


def test_a_bento_that_answers_otherwise_is_refused_and_what_served_before_stays(impostor: Step) -> None:
    url = impostor.graph.url
    assert not impostor.outcome.success
    newest, before = deployments.history(url, 10)[-2], deployments.history(url, 10)[-1]
    assert newest.status == "refused"
    assert "it serves another model" in str(newest.reason)
    assert before.made_current_at is not None


def test_the_follower_serves_what_is_current(serving: Serving, deployed: Step) -> None:
    assert serving.at_first.bento == deployed.outcome.metadata["live_deployment"]["bento"]


def test_other_models_are_swapped_in_place_and_done_when_all_workers_serve_them(
    deployed_again: Step, serving: Serving, asked: Answer
) -> None:
    assert deployed_again.outcome.success, deployed_again.outcome
    live = deployed_again.outcome.metadata["live_deployment"]
    assert live["trial"] == "loaded in this process"
    assert len(live["workers"]) == deployed_again.graph.platform.settings.serving_workers
    assert live["models"] == {"1x2": "match_odds_1x2/2"}
    assert live["served_at"] == f"port {deployed_again.graph.platform.settings.serving_port}"
    assert asked.bento == live["bento"]


def test_a_bento_holds_the_newest_candidate_beside_the_champion(deployed: Step, deployed_again: Step) -> None:
    assert deployed.outcome.metadata["match_odds_bento"]["challengers"] == {"1x2": "match_odds_1x2/2"}
    assert deployed_again.outcome.metadata["match_odds_bento"]["challengers"] == {}


def test_a_roll_back_is_followed_and_takes_the_registry_along(
    rolled_back: str, serving: Serving, deployed: Step
) -> None:
    graph, bento = deployed.graph, deployed.outcome.metadata["live_deployment"]["bento"]
    assert rolled_back.startswith(f"{bento} is current again, and serves")
    assert serving.client.models().bento == bento
    first = deployed.outcome.metadata["live_deployment"]["deployment"]
    assert {worker.deployment_id for worker in workers.live(graph.url)} == {first}
    assert (champion := graph.champion()) is not None
    assert champion.name == "match_odds_1x2/1"
    assert [one.status for one in deployments.history(graph.url)] == ["refused", "refused", "current"]


def test_the_follower_ends_with_its_parent_and_leaves_no_process(serving: Serving, rolled_back: str) -> None:
    serving.parent.kill()
    serving.parent.wait()
    until(lambda: not processes_of(serving.home))
