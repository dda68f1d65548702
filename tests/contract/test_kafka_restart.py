"""A broker that was stopped or killed comes back as the same one, with everything that it acknowledged."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import confluent_kafka
import pytest
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka_clients import PATIENCE_SECONDS, Message, admin_of, make_topic, python_read, python_send, until

from betting_assets.embedded.broker_process import BrokerProcess

pytestmark = pytest.mark.services

KILLS = 3


def identity(servers: str, topic: str) -> tuple[str, str]:
    """Cluster id and topic id."""
    with admin_of(servers) as admin:
        return admin.describe_cluster()["cluster_id"], str(admin.describe_topics([topic])[0]["topic_id"])


def test_cluster_and_topic_keep_their_ids_and_a_new_folder_has_new_ones(
    own_broker: BrokerProcess, new_broker: Callable[[], BrokerProcess]
) -> None:
    servers = own_broker.servers
    before = identity(servers, make_topic(servers, "a-topic"))
    own_broker.stop()
    assert own_broker.pid is None
    assert own_broker.start() == servers
    assert identity(servers, "a-topic") == before
    own_broker.kill()
    own_broker.start()
    assert identity(servers, "a-topic") == before
    other = new_broker()
    after = identity(other.servers, make_topic(other.servers, "a-topic"))
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_topics_records_and_committed_offsets_survive_a_kill(own_broker: BrokerProcess) -> None:
    servers, place = own_broker.servers, TopicPartition("kept", 1)
    make_topic(servers, "kept", 2, {"retention.ms": "7200000"})
    make_topic(servers, "deleted")
    sent = [Message(str(number).encode(), partition=1) for number in range(100)]
    assert python_send(servers, "kept", sent) == list(range(100))
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id="a-group", enable_auto_commit=False)
    consumer.assign([place])
    consumer.commit({place: OffsetAndMetadata(42, "note", -1)})
    consumer.close()
    with admin_of(servers) as admin:
        admin.delete_topics(["deleted"])
        until(lambda: "deleted" not in admin.list_topics())
    own_broker.kill()
    own_broker.start()
    with admin_of(servers) as admin:
        assert {"kept", "deleted"} & set(admin.list_topics()) == {"kept"}
        assert admin.list_group_offsets({"a-group": None})["a-group"][place].offset == 42
    assert [one.value for one in python_read(servers, "kept", 100)] == [one.value for one in sent]
    assert python_send(servers, "kept", [Message(b"next", partition=1)]) == [100]


@contextmanager
def python_sending(servers: str, topic: str, numbers: Iterator[int]) -> Iterator[dict[int, int]]:
    """Sends numbers without end; yields those that were acknowledged, with their offsets."""
    acknowledged: dict[int, int] = {}
    stop = threading.Event()
    producer = KafkaProducer(bootstrap_servers=servers, acks="all", delivery_timeout_ms=180_000, retry_backoff_ms=50)

    def send() -> None:
        while not stop.wait(0.001):
            number = next(numbers)
            future = producer.send(topic, str(number).encode(), partition=number % 2)
            future.add_callback(lambda told, number=number: acknowledged.setdefault(number, told.offset))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        thread.join()
        producer.flush(2 * PATIENCE_SECONDS)
        producer.close(5)


@contextmanager
def confluent_sending(servers: str, topic: str, numbers: Iterator[int]) -> Iterator[dict[int, int]]:
    acknowledged: dict[int, int] = {}
    stop = threading.Event()
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": servers, "enable.idempotence": True, "message.timeout.ms": 180_000, "log_level": 0}
    )

    def told(error: Any, message: Any) -> None:
        if error is None:
            acknowledged.setdefault(int(message.value()), message.offset())

    def send() -> None:
        while not stop.wait(0.001):
            number = next(numbers)
            producer.produce(topic, str(number).encode(), partition=number % 2, on_delivery=told)
            producer.poll(0)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        thread.join()
        assert producer.flush(2 * PATIENCE_SECONDS) == 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("sending", [python_sending, confluent_sending], ids=["kafka-python", "librdkafka"])
def test_kills_while_producing_lose_nothing_acknowledged_and_double_nothing(
    own_broker: BrokerProcess, sending: Any
) -> None:
    servers, topic = own_broker.servers, "busy"
    make_topic(servers, topic, 2)
    with sending(servers, topic, itertools.count()) as acknowledged:
        for _ in range(KILLS):
            before = len(acknowledged)
            until(lambda before=before: len(acknowledged) > before + 200, 2 * PATIENCE_SECONDS)
            own_broker.kill()
            own_broker.start()
    place = [TopicPartition(topic, partition) for partition in (0, 1)]
    consumer = KafkaConsumer(bootstrap_servers=servers)
    count = sum(consumer.end_offsets(place).values())
    consumer.close()
    found = python_read(servers, topic, count)
    kept: dict[int, list[int]] = defaultdict(list)
    for one in found:
        kept[int(one.value or b"")].append(one.offset)
    assert {number: [offset] for number, offset in acknowledged.items()}.items() <= kept.items()
    assert {number for number, offsets in kept.items() if len(offsets) > 1} == set()
    for partition in (0, 1):
        numbers = [int(one.value or b"") for one in found if one.partition == partition]
        assert numbers == sorted(numbers)
