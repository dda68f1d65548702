"""The variables of the service `kafka` make a broker that starts, by the very program that the image runs them through.

No container engine is needed: the image's set-up is a class in Kafka's own jars.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose_reader import LOOPBACK, read

from betting_assets.embedded.apache_kafka import MEMORY, fetched, java_program, libraries, new_cluster_id
from betting_assets.embedded.broker_process import KafkaServerError
from betting_assets.embedded.ports import free_port
from betting_assets.settings import PROJECT_ROOT, Settings
from betting_assets.streaming.kafka import BrokerError
from betting_assets.streaming.topics import create_topics

pytestmark = [pytest.mark.services, pytest.mark.apache_kafka]


@pytest.fixture(scope="module")
def kafka() -> list[str]:
    """Java with Kafka's jars; skipped without them, unless $BETTING_REQUIRE_KAFKA says that they must be there."""
    required = os.environ.get("BETTING_REQUIRE_KAFKA") == "1"
    if not required and not fetched():
        pytest.skip("Apache Kafka is not fetched: `make kafka` does it")
    try:
        return [java_program(), *MEMORY, "-cp", str(libraries() / "*")]
    except KafkaServerError as error:
        if required:
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def properties(kafka: list[str], port: int, tmp_path: Path) -> Path:
    """server.properties as the image makes it, with formatted storage; ports and folder are this test's own."""
    composed = read(PROJECT_ROOT / "docker-compose.yml", {"POSTGRES_PASSWORD": "x", "BETTING_KAFKA_PORT": str(port)})
    controller = str(free_port())
    variables = {
        name: str(value).replace("29093", controller) for name, value in composed.services["kafka"].environment.items()
    }
    variables |= {"KAFKA_LOG_DIRS": str(tmp_path / "data"), "CLUSTER_ID": new_cluster_id()}
    command = [*kafka, "kafka.docker.KafkaDockerWrapper", "setup"]
    for name in ("default", "mounted", "final"):
        (tmp_path / name).mkdir()
        command += [f"--{name}-configs-dir", str(tmp_path / name)]
    made = tmp_path / "final" / "server.properties"
    made.touch()
    done = subprocess.run(
        command, env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture
def broker(kafka: list[str], properties: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*kafka, "kafka.Kafka", str(properties)], stdout=log, stderr=log)
    yield process
    process.kill()
    process.wait()


def test_the_broker_of_the_compose_file_starts_and_takes_our_topics(
    broker: subprocess.Popen[bytes], port: int, tmp_path: Path
) -> None:
    settings = Settings(kafka_servers=f"{LOOPBACK}:{port}")
    for _ in range(60):
        assert broker.poll() is None, (tmp_path / "log").read_text()
        try:
            created = create_topics(settings)
        except BrokerError:
            continue  # it has waited for the broker for some seconds
        break
    else:
        pytest.fail((tmp_path / "log").read_text())
    assert created
    assert create_topics(settings) == []
