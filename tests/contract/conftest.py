"""The contract is the same for both brokers: the embedded development broker, and Apache Kafka."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka_clients import Broker

from betting_assets.embedded.apache_kafka import ApacheKafka, fetched
from betting_assets.embedded.broker_process import BrokerProcess, KafkaServerError
from betting_assets.embedded.kafka import EmbeddedKafka

KINDS = [
    pytest.param(EmbeddedKafka, id="embedded"),
    pytest.param(ApacheKafka, id="apache", marks=pytest.mark.apache_kafka),
]
_numbers = itertools.count()


def started(kind: type[BrokerProcess], folder: Path) -> BrokerProcess:
    """Apache Kafka is skipped where it is not there, unless $BETTING_REQUIRE_KAFKA says that it must be."""
    required = os.environ.get("BETTING_REQUIRE_KAFKA") == "1"
    if kind is ApacheKafka and not required and not fetched():
        pytest.skip("Apache Kafka is not fetched: `make kafka` does it")
    broker = kind(folder)
    try:
        broker.start()
    except KafkaServerError as error:
        if kind is EmbeddedKafka or required:
            pytest.fail(str(error))
        pytest.skip(str(error))
    return broker


@pytest.fixture(scope="session", params=KINDS)
def session_broker(request: pytest.FixtureRequest) -> Iterator[BrokerProcess]:
    folder = Path(tempfile.mkdtemp(prefix="betting-contract-"))
    broker = started(request.param, folder)
    yield broker
    broker.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def broker(session_broker: BrokerProcess) -> Iterator[Broker]:
    """A broker that is shared; a test must not stop it. Its topics are the test's own and go with it."""
    one = Broker(session_broker.servers, f"t{next(_numbers)}.")
    yield one
    one.clean()


@pytest.fixture(params=KINDS)
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerProcess]:
    """A running broker of the test's own, to stop, kill and start."""
    broker = started(request.param, tmp_path / "broker")
    yield broker
    broker.kill()


@pytest.fixture
def new_broker(own_broker: BrokerProcess, tmp_path: Path) -> Iterator[Callable[[], BrokerProcess]]:
    """Makes another broker of the same kind in a new folder."""
    made: list[BrokerProcess] = []

    def make() -> BrokerProcess:
        made.append(started(type(own_broker), tmp_path / f"another-{len(made)}"))
        return made[-1]

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def admin(broker: Broker) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=broker.servers)
    yield client
    client.close()
