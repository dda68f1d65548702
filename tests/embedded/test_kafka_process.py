"""The development broker as a process: alone in its folder, clear about what is wrong, and not harmed by strangers."""

from __future__ import annotations

import os
import random
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaStorageError

from betting_assets.embedded.broker_process import HOST, KafkaServerError, answers
from betting_assets.embedded.kafka import EmbeddedKafka
from betting_assets.embedded.ports import free_port

pytestmark = pytest.mark.services


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    one = EmbeddedKafka(tmp_path / "broker")
    one.start()
    yield one
    one.kill()


def make(broker: EmbeddedKafka, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.servers)
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})
    admin.close()


def test_starting_twice_finds_the_one_that_runs(broker: EmbeddedKafka) -> None:
    again = EmbeddedKafka(broker.folder)
    assert again.start() == broker.servers
    assert again.pid == broker.pid


def test_it_listens_on_loopback_only(broker: EmbeddedKafka) -> None:
    listening = [one for one in psutil.Process(broker.pid).net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert [one.laddr for one in listening] == [(HOST, broker.port)]


def test_a_second_process_on_the_same_folder_is_refused_in_one_line(broker: EmbeddedKafka) -> None:
    command = [sys.executable, "-m", "betting_assets.embedded.kafka"]
    command += ["--folder", str(broker.folder), "--port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip() == f"{broker.folder} is in use by another development broker: stop that first"
    assert answers(broker.port)


def test_a_taken_port_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(KafkaServerError, match=rf"port {port} on 127.0.0.1 is taken: .*BETTING_KAFKA_PORT"):
            EmbeddedKafka(tmp_path, port).start()


def test_it_says_that_it_is_a_development_broker(broker: EmbeddedKafka) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.servers)
    assert admin.describe_cluster()["cluster_id"].startswith("development-")
    admin.close()
    assert "development broker" in broker.log_file.read_text()


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from betting_assets.embedded.kafka import EmbeddedKafka\n"
        "broker = EmbeddedKafka(Path(sys.argv[1])); broker.start(); print(broker.pid, flush=True); os._exit(1)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert int(done.stdout) > 0
    deadline = time.monotonic() + 60
    while EmbeddedKafka(tmp_path).pid is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("seed", range(5))
def test_bytes_that_are_no_request_end_their_connection_only(broker: EmbeddedKafka, seed: int) -> None:
    noise = random.Random(seed)
    pid = broker.pid
    for _ in range(20):
        with socket.create_connection((HOST, broker.port), timeout=10) as stranger:
            body = noise.randbytes(noise.randrange(8, 200))
            key, version = noise.choice([0, 1, 2, 3, 8, 9, 10, 11, 14, 18, 19, 99]), noise.randrange(-1, 9)
            body = key.to_bytes(2, "big") + version.to_bytes(2, "big", signed=True) + body
            size = noise.choice([len(body), len(body), len(body), 2**31 - 1, 0])
            stranger.sendall(size.to_bytes(4, "big") + body)
    assert answers(broker.port)
    assert broker.pid == pid
    make(broker, "after")


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process are set on Linux only")
def test_when_it_cannot_write_nothing_is_acknowledged_and_nothing_lost(broker: EmbeddedKafka) -> None:
    """A limit on the size of its files stands for a full disk."""
    make(broker, "x")
    producer = KafkaProducer(bootstrap_servers=broker.servers, enable_idempotence=False, retries=0)
    assert producer.send("x", b"before").get(30).offset == 0
    assert broker.pid is not None
    unlimited = resource.prlimit(broker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (1, unlimited[1]))
    with pytest.raises(KafkaStorageError, match="the broker cannot write"):
        producer.send("x", os.urandom(5000)).get(30)
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, unlimited)
    assert producer.send("x", b"after").get(30).offset == 1
    producer.close(5)
    consumer = KafkaConsumer(bootstrap_servers=broker.servers, auto_offset_reset="earliest")
    consumer.assign([TopicPartition("x", 0)])
    found: list[bytes] = []
    while len(found) < 2:
        found += [one.value for batch in consumer.poll(1000).values() for one in batch]
    consumer.close()
    assert found == [b"before", b"after"]
