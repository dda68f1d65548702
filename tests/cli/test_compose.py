"""docker-compose.yml and the image name settings, files and programs that there are."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bentos.match_odds.deploying.haproxy import CONFIG
from betting_assets.settings import PROJECT_ROOT, Settings

DAGSTERS_OWN = "BETTING_DAGSTER_"
"""Read by dagster.yaml, but for the port."""


@pytest.fixture(scope="module")
def platform() -> dict[str, Any]:
    composed: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
    return dict(composed["x-platform"])


def test_every_variable_is_a_setting(platform: dict[str, Any]) -> None:
    given = {name for name in platform["environment"] if name.startswith("BETTING_")}
    known = {f"BETTING_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in given - known if not name.startswith(DAGSTERS_OWN)} == set()


@pytest.mark.parametrize("name", ["dagster_port", "mlflow_port", "serving_port", "grpc_port"])
def test_the_ports_are_those_of_the_settings_unless_chosen(platform: dict[str, Any], name: str) -> None:
    default = Settings.model_fields[name].default
    variable = f"BETTING_{name.upper()}"
    assert platform["environment"][variable] == f"${{{variable}:-{default}}}"


def test_the_image_holds_the_proxy_and_its_configuration(platform: dict[str, Any]) -> None:
    image = (PROJECT_ROOT / "Dockerfile").read_text()
    folder = CONFIG.parent.relative_to(PROJECT_ROOT)
    assert f"COPY {folder} {folder}" in image
    assert " haproxy " in image
    assert platform["environment"]["BETTING_PROXY"] == "${BETTING_PROXY:-true}"
