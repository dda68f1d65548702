"""`live_deployment` with workers that follow: proved first, swapped in place, confirmed by all, or rolled back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from invented_models import invented_bundle
from pydantic import SecretStr

from bentos.match_odds.deploying.build import CODE, champions_folder
from bentos.match_odds.deploying.following import ModelFollower
from bentos.match_odds.model.champions import VERSIONS, Champions
from bentos.match_odds.model.known_answers import KnownAnswer, known_answers
from bentos.match_odds.model.served import Served, load_served
from betting_assets.defs.deployment import live_deployment
from betting_assets.defs.resources import Platform
from betting_assets.modelling.bundle import Bundle
from betting_assets.settings import Settings
from betting_assets.warehouse import deployments, workers
from betting_assets.warehouse.database import connect

pytestmark = pytest.mark.services

SAME, OTHER = "c0de", "other"


@pytest.fixture(scope="module")
def models() -> dict[str, tuple[Bundle, pd.DataFrame]]:
    """By version of the Bento."""
    return {f"v{seed}": invented_bundle("1x2", seed) for seed in (1, 2)}


@dataclass(frozen=True)
class Site:
    """A platform with two Bentos, as far as models go: their code would not run."""

    platform: Platform
    models: dict[str, tuple[Bundle, pd.DataFrame]]

    @property
    def url(self) -> str:
        return self.platform.url

    def folder(self, tag: str) -> Path:
        return champions_folder(tag, self.platform.home).parent

    def write(self, version: str) -> None:
        champions = self.folder(f"match_odds:{version}") / "champions"
        self.models[version][0].save(champions / "1x2")
        (champions / VERSIONS).write_text(json.dumps({"1x2": version}))
        (champions.parent / CODE).write_text(SAME)

    def propose(self, version: str, code: str = SAME, known: Sequence[KnownAnswer] | None = None) -> int:
        answers = known_answers(*self.models[version]) if known is None else known
        return deployments.propose(
            self.url, f"match_odds:{version}", {"1x2": version}, [one.model_dump(mode="json") for one in answers], code
        )

    def put_live(self, version: str, code: str = SAME) -> int:
        deployment = self.propose(version, code)
        deployments.mark_healthy(self.url, deployment)
        deployments.make_current(self.url, deployment)
        return deployment

    def load(self, tag: str, deployment: int | None) -> Served:
        return load_served(tag, self.folder(tag), deployment)

    def deploy(self) -> tuple[dict[str, object] | None, str]:
        """What `live_deployment` tells, or why it failed."""
        result = dg.materialize([live_deployment], resources={"platform": self.platform}, raise_on_error=False)
        if not result.success:
            (failure,) = result.filter_events(lambda event: event.is_step_failure)
            return None, str(failure.step_failure_data.error)
        (made,) = result.asset_materializations_for_node("live_deployment")
        return {name: value.value for name, value in made.metadata.items()}, ""

    def statuses(self) -> list[str]:
        return [one.status for one in deployments.history(self.url)]


@pytest.fixture
def site(database: str, tmp_path: Path, models: dict[str, tuple[Bundle, pd.DataFrame]]) -> Site:
    site = Site(Platform(Settings(_env_file=None, home=tmp_path, database_url=SecretStr(database))), models)
    for version in models:
        site.write(version)
    return site


@contextmanager
def worker(site: Site, name: str, load: Callable[[str, int | None], Served] | None = None) -> Iterator[list[Served]]:
    """One that follows; what it served, the newest last."""
    served = [Served("match_odds:v1", Champions(), Champions())]
    follower = ModelFollower(site.url, name, "match_odds:v1", SAME, load or site.load, served.append, 0.05, 0.1)
    follower.start()
    try:
        yield served
    finally:
        follower.stop()


def test_only_other_models_are_swapped_in_place_and_all_workers_confirm(site: Site) -> None:
    site.put_live("v1")
    with worker(site, "host:1") as one, worker(site, "host:2") as two:
        deployment = site.propose("v2")
        told, why = site.deploy()
        assert told is not None, why
        assert told["trial"] == "loaded in this process"
        assert told["workers"] == ["host:1", "host:2"]
        assert [served[-1].deployment for served in (one, two)] == [deployment, deployment]
        assert one[-1].champions["1x2"].version == "v2"
    assert site.statuses() == ["current", "retired"]


def test_a_worker_that_refuses_rolls_the_deployment_back_for_all(site: Site) -> None:
    def no_room(tag: str, deployment: int | None) -> Served:
        if tag == "match_odds:v2":
            raise MemoryError("no room")
        return site.load(tag, deployment)

    first = site.put_live("v1")
    with worker(site, "host:1") as good, worker(site, "host:2", no_room) as bad:
        site.propose("v2")
        _, why = site.deploy()
        assert "match_odds:v2 is not served: refused by worker host:2: MemoryError: no room" in why
        assert "rolled back to match_odds:v1: served by worker host:1, host:2" in why
        assert [served[-1].deployment for served in (good, bad)] == [first, first]
    newest, before = deployments.history(site.url)
    assert (newest.status, before.status) == ("refused", "current")
    assert newest.reason == "refused by worker host:2: MemoryError: no room"


def test_models_with_other_answers_are_refused_before_any_worker_loads_them(site: Site) -> None:
    site.put_live("v1")
    with worker(site, "host:1") as served:
        site.propose("v2", known=known_answers(*site.models["v1"]))
        _, why = site.deploy()
        assert "it serves another model" in why
        assert [one.bento for one in served] == ["match_odds:v1", "match_odds:v1"]
    assert site.statuses() == ["refused", "current"]


def test_a_bento_without_its_files_is_refused(site: Site) -> None:
    site.put_live("v1")
    with worker(site, "host:1"):
        (site.folder("match_odds:v2") / "champions" / VERSIONS).unlink()
        site.propose("v2")
        _, why = site.deploy()
        assert "no champions here" in why
    assert site.statuses() == ["refused", "current"]


@pytest.mark.parametrize("case", ["nobody serves", "other code", "nothing is current", "only the dead served"])
def test_it_is_started_aside_where_a_swap_in_place_would_prove_nothing(site: Site, case: str) -> None:
    """These Bentos cannot be started, so the refusal shows that a start was tried."""
    if case != "nothing is current":
        site.put_live("v1")
    with ExitStack() as stack:
        if case != "nobody serves":
            stack.enter_context(worker(site, "host:1"))
        if case == "only the dead served":
            stack.close()
            with connect(site.url) as conn:
                workers.report(conn, workers.Worker("host:9", "match_odds:v1", SAME))
                conn.execute("UPDATE serving.worker SET seen_at = now() - interval '1 minute'")
        site.propose("v2", OTHER if case == "other code" else SAME)
        _, why = site.deploy()
    assert "StartError" in why
    assert site.statuses()[0] == "refused"
