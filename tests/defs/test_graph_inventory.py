"""What there is: keys, checks, jobs and sensors are fixed in a file, and each asset says what it is and whose."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from worlds import settings_for

from betting_assets.definitions import build
from betting_assets.defs.resources import Platform

INVENTORY = Path(__file__).with_name("inventory.txt")
HEAVY = {
    "mlflow",
    "dagster_mlflow",
    "feast",
    "bentoml",
    "evidently",
    "great_expectations",
    "lightgbm",
    "sklearn",
    "matplotlib",
    "penaltyblog",
}
FLOW = {
    "odds_ticks": set(),
    "live_results": set(),
    "match_results": set(),
    "bookmaker_odds": set(),
    "live_history": {"odds_ticks", "live_results"},
    "team_ratings": {"match_results", "bookmaker_odds", "live_history"},
    "team_form": {"match_results", "bookmaker_odds", "live_history"},
    "market_consensus": {"match_results", "bookmaker_odds", "live_history"},
    "match_features": {"team_ratings", "team_form", "market_consensus"},
    "feature_definitions": {"match_features"},
    "online_features": {"feature_definitions"},
    "training_set": {"match_features", "feature_definitions"},
    "candidate_models": {"training_set"},
    "model_evaluation": {"candidate_models"},
    "champion_model": {"model_evaluation"},
    "match_odds_bento": {"champion_model", "model_evaluation"},
    "live_deployment": {"match_odds_bento"},
    "prediction_log": set(),
    "prediction_outcomes": {"prediction_log", "match_results", "live_history", "live_deployment"},
    "performance_report": {"prediction_outcomes", "match_features"},
    "drift_report": {"prediction_log", "live_deployment"},
}


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build(Platform(settings_for("postgresql://nobody@127.0.0.1:1/none", tmp_path_factory.mktemp("home"))))


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> list[dg.AssetSpec]:
    return list(definitions.resolve_all_asset_specs())


def inventory(definitions: dg.Definitions) -> str:
    graph = definitions.resolve_asset_graph()
    repository = definitions.get_repository_def()
    checks = [graph.get_check_spec(key) for key in graph.asset_check_keys]
    lines = [
        f"asset    {spec.group_name}/{spec.key.to_user_string()}" for spec in definitions.resolve_all_asset_specs()
    ]
    lines += [f"check    {spec.key.to_user_string()}{' (blocking)' if spec.blocking else ''}" for spec in checks]
    lines += [f"job      {job.name}" for job in repository.get_all_jobs() if not job.name.startswith("__")]
    lines += [f"sensor   {sensor.name}" for sensor in repository.sensor_defs]
    lines += [f"schedule {schedule.name}" for schedule in repository.schedule_defs]
    return "\n".join(sorted(lines)) + "\n"


def test_the_inventory_changes_only_together_with_its_file(definitions: dg.Definitions) -> None:
    """A change that is meant: write the new inventory into inventory.txt."""
    assert inventory(definitions) == INVENTORY.read_text()


def test_every_asset_has_owner_kind_group_and_description(specs: list[dg.AssetSpec]) -> None:
    bare = [s.key for s in specs if not (s.owners and s.kinds and s.group_name and (s.description or "").strip())]
    assert bare == []


def test_dependencies_are_those_of_the_design(specs: list[dg.AssetSpec]) -> None:
    there = {spec.key.to_user_string(): {dep.asset_key.to_user_string() for dep in spec.deps} for spec in specs}
    assert there == FLOW


def test_groups_are_named_in_the_order_of_the_flow(specs: list[dg.AssetSpec]) -> None:
    group = {spec.key.to_user_string(): str(spec.group_name) for spec in specs}
    assert all(group[upstream] <= group[asset] for asset, deps in FLOW.items() for upstream in deps)
    numbers = [int(name[0]) for name in sorted(set(group.values()))]
    assert all(after == before + 1 for before, after in pairwise(numbers))


def test_the_code_location_loads_without_heavy_packages(tmp_path: Path) -> None:
    code = "import sys, betting_assets.definitions; print('\\n'.join({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert HEAVY & set(done.stdout.split()) == set()
