"""docker-compose.yml and the image name settings, files and programs that there are."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from compose_reader import LOOPBACK, Compose, MissingVariableError, Service, raw, read
from dagster._core.workspace.config_schema import ensure_workspace_config
from pydantic import ValidationError

from bentos.match_odds.deploying.haproxy import CONFIG
from betting_assets import stream_command
from betting_assets.embedded.apache_kafka import version
from betting_assets.settings import PROJECT_ROOT, Settings
from betting_assets.streaming.health import READERS

FILE = PROJECT_ROOT / "docker-compose.yml"
WORKSPACE = PROJECT_ROOT / "deploy" / "compose" / "workspace.yaml"
IMAGE = (PROJECT_ROOT / "Dockerfile").read_text()
GIVEN = {"POSTGRES_PASSWORD": "given"}
DAGSTERS_OWN = "BETTING_DAGSTER_"
"""Read by dagster.yaml and workspace.yaml, but for the port."""

ISSUE = {"postgres", "kafka", "prepare", "mlflow", "code-location", "dagster-daemon", "dagster-webserver", "serving"}
ALL = ISSUE | {"lander", "scorer", "feed"}


@pytest.fixture(scope="module")
def platform() -> dict[str, Any]:
    return dict(raw(FILE)["x-platform"])


@pytest.fixture(scope="module")
def composed() -> Compose:
    return read(FILE, GIVEN)


def ours(composed: Compose) -> dict[str, Service]:
    """The services that run the platform's own image."""
    return {name: one for name, one in composed.services.items() if one.build}


def test_every_part_of_the_platform_has_a_container(composed: Compose) -> None:
    assert set(composed.services) == ALL


@pytest.mark.parametrize(
    "wrong",
    [
        {"services": {"a": {"image": "i", "restart": "no", "comand": ["x"]}}},
        {"services": {"a": {"image": "i", "restart": "no", "depends_on": {"b": {"condition": "service_started"}}}}},
        {"services": {"a": {"image": "i", "restart": "no", "volumes": ["state:/state"]}}},
        {"services": {"a": {"image": "i", "restart": "no", "network_mode": "host", "ports": ["1:1"]}}},
        {"services": {"a": {"image": "i", "restart": "sometimes"}}},
    ],
    ids=["misspelt key", "missing service", "missing volume", "ports of the host", "unknown policy"],
)
def test_the_strict_reader_refuses_what_compose_would(wrong: dict[str, Any], tmp_path: Any) -> None:
    path = tmp_path / "docker-compose.yml"
    path.write_text(yaml.safe_dump({"name": "x", **wrong}))
    with pytest.raises(ValidationError):
        read(path, {})


def test_every_variable_is_a_setting(composed: Compose) -> None:
    given = {name for one in ours(composed).values() for name in one.environment if name.startswith("BETTING_")}
    known = {f"BETTING_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in given - known if not name.startswith(DAGSTERS_OWN)} == set()


@pytest.mark.parametrize("name", ["dagster_port", "mlflow_port", "serving_port", "grpc_port", "kafka_port"])
def test_the_ports_are_those_of_the_settings_unless_chosen(platform: dict[str, Any], name: str) -> None:
    default = Settings.model_fields[name].default
    variable = f"BETTING_{name.upper()}"
    assert platform["environment"][variable] == f"${{{variable}:-{default}}}"


def test_every_long_lived_container_tells_its_health_and_comes_back(composed: Compose) -> None:
    lasting = {name: one for name, one in composed.services.items() if name not in ("prepare", "feed")}
    assert {name for name, one in lasting.items() if one.healthcheck is None} == set()
    assert {name for name, one in lasting.items() if one.restart != "unless-stopped"} == set()
    assert composed.services["prepare"].restart == "no"
    assert composed.services["feed"].profiles, "it starts only when it is asked for"


def test_nothing_of_the_platform_starts_before_its_database_and_topics_are_made(composed: Compose) -> None:
    waits = composed.services["prepare"].depends_on
    assert {name: how.condition for name, how in waits.items()} == dict.fromkeys(
        ("postgres", "kafka"), "service_healthy"
    )
    for name, one in ours(composed).items():
        if name != "prepare":
            assert one.depends_on["prepare"].condition == "service_completed_successfully", name


def test_containers_have_no_privilege_that_they_do_not_need(composed: Compose) -> None:
    for name, one in composed.services.items():
        assert one.cap_drop == ["ALL"], name
        assert one.security_opt == ["no-new-privileges:true"], name
    assert {name for name, one in composed.services.items() if one.cap_add} == {"postgres"}
    assert "USER betting" in IMAGE


def test_there_is_no_default_secret() -> None:
    with pytest.raises(MissingVariableError, match="POSTGRES_PASSWORD"):
        read(FILE, {})
    secret = re.compile(r"\w*(?:PASSWORD|SECRET|_KEY)$")
    for name, one in raw(FILE)["services"].items():
        for variable, value in one.get("environment", {}).items():
            if secret.fullmatch(variable):
                assert value is None or re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{name}: {variable}"
    assert not re.search(r"\$\{\w*(?:PASSWORD|SECRET|_KEY):-", FILE.read_text())


def test_the_password_stands_where_it_must_and_nowhere_else(composed: Compose) -> None:
    password = "correct-horse"
    filled = read(FILE, {"POSTGRES_PASSWORD": password})
    for one in filled.services.values():
        assert password not in " ".join([*(one.command or []), *(one.healthcheck.test if one.healthcheck else [])])
    assert f":{password}@" in str(filled.services["lander"].environment["BETTING_DATABASE_URL"])


def test_every_port_is_on_loopback(composed: Compose) -> None:
    for name, one in composed.services.items():
        assert all(port.startswith(f"{LOOPBACK}:") for port in one.ports), name
        assert (one.network_mode == "host") == (one.build is not None), name
        addresses = re.findall(r"\d+\.\d+\.\d+\.\d+", " ".join(one.command or []))
        assert set(addresses) <= {LOOPBACK}, name
    advertised = composed.services["kafka"].environment["KAFKA_ADVERTISED_LISTENERS"]
    assert advertised == f"PLAINTEXT://{LOOPBACK}:9092"


def test_another_port_for_kafka_is_told_to_all_who_need_it() -> None:
    composed = read(FILE, GIVEN | {"BETTING_KAFKA_PORT": "19999"})
    kafka = composed.services["kafka"]
    assert kafka.ports == [f"{LOOPBACK}:19999:19999"]
    assert str(kafka.environment["KAFKA_ADVERTISED_LISTENERS"]).endswith(":19999")
    assert str(kafka.environment["KAFKA_LISTENERS"]).startswith("PLAINTEXT://:19999,")
    assert composed.services["scorer"].environment["BETTING_KAFKA_SERVERS"] == f"{LOOPBACK}:19999"


def test_kafka_is_the_version_that_the_tests_run_against(composed: Compose) -> None:
    assert composed.services["kafka"].image == f"apache/kafka:{version()}"


def test_the_state_of_databases_and_brokers_outlives_their_containers(composed: Compose) -> None:
    kafka = composed.services["kafka"]
    assert f"broker:{kafka.environment['KAFKA_LOG_DIRS']}" in kafka.volumes
    assert "database:/var/lib/postgresql/data" in composed.services["postgres"].volumes
    assert all("state:/state" in one.volumes for one in ours(composed).values())


def test_prepare_runs_what_there_is(composed: Compose) -> None:
    program = composed.services["prepare"].program()
    assert program[:2] == ["python", "-c"]
    for line in ast.parse(program[2]).body:
        if isinstance(line, ast.ImportFrom):
            module = importlib.import_module(str(line.module))
            assert all(hasattr(module, one.name) for one in line.names)
    assert "create_topics(" in program[2]


def test_the_workers_of_the_topics_are_commands_that_there_are(composed: Compose) -> None:
    commands = stream_command.app.registered_commands
    known = {str(one.name or (one.callback and one.callback.__name__)) for one in commands}
    for name, command in {"lander": "land", "scorer": "score"}.items():
        one = composed.services[name]
        assert one.program() == ["betting", "stream", command]
        assert command in known
        assert one.healthcheck is not None
        assert one.healthcheck.test[-2:] == ["betting_assets.streaming.health", name]
        assert name in READERS


def test_the_graph_is_served_where_the_daemon_and_the_webserver_look_for_it(
    composed: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = composed.services["code-location"]
    port = str(graph.environment["BETTING_DAGSTER_CODE_PORT"])
    monkeypatch.setenv("BETTING_DAGSTER_CODE_PORT", port)
    workspace = ensure_workspace_config(yaml.safe_load(WORKSPACE.read_text()), str(WORKSPACE))
    address = {"host": LOOPBACK, "port": int(port), "location_name": "betting"}
    assert workspace["load_from"] == [{"grpc_server": address}]
    command = graph.program()
    assert command[command.index("-p") + 1] == port
    assert importlib.util.find_spec(command[command.index("-m", 2) + 1])
    assert graph.healthcheck is not None
    assert graph.healthcheck.test[-1] == port
    for name in ("dagster-daemon", "dagster-webserver"):
        one = composed.services[name]
        assert one.program()[-2:] == ["-w", f"/app/{WORKSPACE.relative_to(PROJECT_ROOT)}"]
        assert one.depends_on["code-location"].condition == "service_healthy"


def test_the_image_holds_the_proxy_and_its_configuration(platform: dict[str, Any]) -> None:
    folder = CONFIG.parent.relative_to(PROJECT_ROOT)
    assert f"COPY {folder} {folder}" in IMAGE
    assert " haproxy " in IMAGE
    assert platform["environment"]["BETTING_PROXY"] == "${BETTING_PROXY:-true}"


def test_whatever_the_image_copies_is_let_in_by_dockerignore_and_nothing_else() -> None:
    copied = {path for line in re.findall(r"^COPY (.+) \S+$", IMAGE, re.MULTILINE) for path in line.split()}
    lines = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert all((PROJECT_ROOT / path).exists() for path in copied)
    assert str(WORKSPACE.parent.relative_to(PROJECT_ROOT)) in copied


def compose_client() -> list[str] | None:
    """Compose 2 or newer, as a plugin of docker or alone; version 1 does not know the specification."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            told = subprocess.run([*command, "version"], capture_output=True, text=True, check=False, timeout=60)
            if told.returncode == 0 and "version 1." not in told.stdout:
                return command
    return None


def test_docker_compose_itself_accepts_the_file() -> None:
    client = compose_client()
    if client is None:
        pytest.skip("there is no Compose client here; the strict reader has read the file")
    without = {name: value for name, value in os.environ.items() if not name.startswith(("POSTGRES_", "BETTING_"))}
    command = [*client, "--env-file", os.devnull, "--file", str(FILE), "--profile", "feed", "config"]
    refused = subprocess.run(command, env=without, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode != 0
    assert "POSTGRES_PASSWORD" in refused.stderr
    told = subprocess.run(command, env=without | GIVEN, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 0, told.stderr
    resolved = yaml.safe_load(told.stdout)["services"]
    assert set(resolved) == ALL
    assert {port["host_ip"] for one in resolved.values() for port in one.get("ports", [])} == {LOOPBACK}
