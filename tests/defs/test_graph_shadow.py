"""What a challenger did in shadow is reported, and keeps one that did worse from being promoted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from worlds import Graph

from betting_assets.defs.resources import Platform
from betting_assets.defs.training import GATE_TAG, PASSED
from betting_assets.modelling.registry import CHALLENGER, CHAMPION
from betting_assets.warehouse.database import connect, with_database, with_driver

pytestmark = pytest.mark.services

MARKET = "1x2"
PLANT = """
INSERT INTO serving.prediction_log (predicted_at, request_id, match_id, market, variant, model_version, bento_tag,
                                    probabilities, feature_time, served_by, role)
SELECT m.match_date + time '08:00' AT TIME ZONE 'UTC', 'r', m.match_id, '1x2', 'market_residual', %(version)s, 'b',
       ARRAY(SELECT CASE WHEN place = 2 - sign(r.home_score - r.away_score) THEN %(certainty)s + spread.up
                         ELSE (1 - %(certainty)s - spread.up) / 2 END
               FROM generate_series(1, 3) place)::float8[],
       m.match_date + time '07:00' AT TIME ZONE 'UTC', 'test', %(role)s
  FROM core.match m JOIN core.result r USING (match_id)
  JOIN (SELECT match_id, %(spread)s * (row_number() OVER (ORDER BY match_date, match_id) %% 2 * 2 - 1) AS up
          FROM core.match) spread USING (match_id)"""


class OwnModels(Platform):
    """The platform with a registry of this file's own: that of the server belongs to the story."""

    @property
    def tracking_url(self) -> str:
        return with_driver(with_database(self.url, "mlflow_shadow"), "psycopg2")


@pytest.fixture(scope="module")
def _registry(postgres_url: str) -> Iterator[None]:
    with connect(postgres_url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE mlflow_shadow")
        yield
        conn.execute("DROP DATABASE mlflow_shadow WITH (FORCE)")


@pytest.fixture
def graph(small: Graph, _registry: None, tmp_path: Path) -> Graph:
    """A champion, and a challenger that passed the gate; no bundle in either. More than 100 matches have results."""
    found = replace(small, platform=OwnModels(small.platform.settings, small.platform.given_source))
    registry = found.platform.registry
    client = registry.client
    experiment = client.create_experiment(tmp_path.name, (tmp_path / "mlflow").as_uri())
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "nothing.txt").write_text("nothing")
    for _ in range(2):
        run = client.create_run(experiment).info.run_id
        new = registry.register(MARKET, run, tmp_path / "bundle", {"data_hash": "0", GATE_TAG: PASSED})
        if registry.by_alias(MARKET, CHAMPION) is None:
            registry.make_champion(MARKET, new.version)
    return found


def plant(graph: Graph, certainty: float, spread: float = 0.05) -> None:
    """The champion gives 0.5 to what happened, the challenger `certainty`, a little more and a little less by turns."""
    champion, challenger = graph.champion(), graph.platform.registry.by_alias(MARKET, CHALLENGER)
    assert champion is not None
    assert challenger is not None
    with connect(graph.url) as conn:
        for version, role, sure in ((champion, "champion", 0.5), (challenger, "challenger", certainty)):
            noise = spread if role == "challenger" else 0.0
            values = {"version": version.name, "role": role, "certainty": sure, "spread": noise}
            conn.execute(PLANT, values)


def promoted(graph: Graph) -> tuple[bool, str]:
    """Whether the challenger became the champion, and what was said of the shadow."""
    challenger = graph.platform.registry.by_alias(MARKET, CHALLENGER)
    outcome = graph.ad_hoc("champion_model", partition=MARKET)
    told = outcome.metadata["champion_model"]["in_shadow"] if outcome.success else str(outcome.error)
    champion = graph.champion()
    assert champion is not None
    assert challenger is not None
    assert (champion.version == challenger.version) == outcome.success
    return outcome.success, told


def test_a_challenger_that_did_worse_in_shadow_is_not_promoted_though_it_passed_the_gate(graph: Graph) -> None:
    plant(graph, certainty=0.35)
    success, told = promoted(graph)
    assert not success
    assert "may not be promoted, not_worse_in_shadow: worse: log-loss against match_odds_1x2/" in told
    assert "stays" in told


def test_a_challenger_that_did_no_worse_in_shadow_is_promoted(graph: Graph) -> None:
    plant(graph, certainty=0.51)
    success, told = promoted(graph)
    assert success, told
    assert told.startswith("not worse: ")


def test_a_challenger_that_nobody_compared_is_promoted_and_the_run_says_so(graph: Graph) -> None:
    assert promoted(graph) == (True, "not enough evidence: 0 of 100 matches, 0 of 10 days beside the champion")


def test_the_report_shows_challenger_beside_champion_on_the_same_requests(graph: Graph) -> None:
    plant(graph, certainty=0.35)
    assert graph.ad_hoc("team_ratings", "team_form", "market_consensus", "match_features").success
    outcome = graph.ad_hoc("prediction_outcomes", "performance_report")
    assert outcome.success, outcome
    report = outcome.metadata["performance_report"]
    rows = {record.data["role"]: record.data for record in report["report"].records}
    played = len(graph.table("SELECT * FROM core.result"))
    assert {role: row["n"] for role, row in rows.items()} == {"champion": played, "challenger": played}
    (shadow,) = [record.data for record in report["shadow"].records]
    assert (shadow["matches"], shadow["verdict"], shadow["seen_by"]) == (played, "worse", "nobody")
    assert shadow["champion_log_loss"] == pytest.approx(np.log(2), abs=1e-6)
    assert shadow["diff"] == pytest.approx(rows["challenger"]["log_loss"] - rows["champion"]["log_loss"], abs=1e-6)
