"""A consumer group: every partition has one reader, and what was committed is where the next one begins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import confluent_kafka
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka_clients import PATIENCE_SECONDS, Broker, Message, python_send, until

pytestmark = pytest.mark.services

SESSION_MS = 6000
"""The shortest that Apache Kafka allows."""

READER = """
import sys
from kafka import KafkaConsumer
servers, topic, group = sys.argv[1:]
consumer = KafkaConsumer(topic, bootstrap_servers=servers, group_id=group, auto_offset_reset="earliest",
                         session_timeout_ms=6000, heartbeat_interval_ms=500, enable_auto_commit=False,
                         metadata_max_age_ms=1000)
while True:
    consumer.poll(200)
    sys.stdout.write(f"{sorted(p.partition for p in consumer.assignment())}\\n")
    sys.stdout.flush()
"""


@contextmanager
def member(broker: Broker, topic: str, group: str) -> Iterator[KafkaConsumer]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker.servers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=500,
        metadata_max_age_ms=1000,  # a leader that has no metadata yet gives nobody anything, and waits for it to age
    )
    try:
        yield consumer
    finally:
        consumer.close()


class Reader:
    """A member that polls in a thread of its own, as members do: one that waits its turn holds up the others."""

    def __init__(self, broker: Broker, topic: str, group: str) -> None:
        self.partitions: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(broker, topic, group))

    def _read(self, broker: Broker, topic: str, group: str) -> None:
        with member(broker, topic, group) as consumer:
            while not self._stop.is_set():
                consumer.poll(500)
                self.partitions = {place.partition for place in consumer.assignment()}

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def shared(*readers: Reader) -> Callable[[], bool]:
    """Whether the four partitions are shared out: everybody has some, and none has two readers."""

    def holds() -> bool:
        parts = [set(one.partitions) for one in readers]
        return all(parts) and sorted(one for part in parts for one in part) == [0, 1, 2, 3]

    return holds


def test_a_group_goes_on_where_it_committed(broker: Broker) -> None:
    topic, group = broker.topic(), f"{broker.prefix}group"
    python_send(broker.servers, topic, [Message(str(number).encode()) for number in range(10)])
    place = TopicPartition(topic, 0)
    with member(broker, topic, group) as first:
        until(lambda: first.poll(200))
        first.commit({place: OffsetAndMetadata(4, "half-way", -1)})
        assert first.committed(place) == 4
    with member(broker, topic, group) as second:
        found: list[Any] = until(lambda: second.poll(200).get(place))
        assert found[0].offset == 4


def test_a_position_can_be_committed_without_being_a_member(broker: Broker, admin: KafkaAdminClient) -> None:
    """As the lander does, to show its lag."""
    topic, group = broker.topic(), f"{broker.prefix}group"
    place = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=broker.servers, group_id=group, enable_auto_commit=False)
    try:
        consumer.assign([place])
        consumer.commit({place: OffsetAndMetadata(7, "", -1)})
    finally:
        consumer.close()
    assert admin.list_group_offsets({group: None})[group][place].offset == 7
    assert group in {one["group_id"] for one in admin.list_groups()}


def test_partitions_are_shared_when_a_member_joins_and_handed_back_when_it_leaves(broker: Broker) -> None:
    topic, group = broker.topic(partitions=4), f"{broker.prefix}group"
    with Reader(broker, topic, group) as first:
        until(shared(first))
        with Reader(broker, topic, group) as second:
            until(shared(first, second))
            with Reader(broker, topic, group) as third:
                until(shared(first, second, third))
        until(shared(first))


def test_a_killed_member_is_replaced(broker: Broker) -> None:
    topic, group = broker.topic(partitions=4), f"{broker.prefix}group"
    command = [sys.executable, "-c", READER, broker.servers, topic, group]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert any("[0, 1, 2, 3]" in line for line in other.stdout)
            os.kill(other.pid, signal.SIGKILL)
            other.wait(PATIENCE_SECONDS)
            with Reader(broker, topic, group) as first:
                until(shared(first))
        finally:
            other.kill()


def test_a_member_that_was_replaced_cannot_commit(broker: Broker) -> None:
    topic, group = broker.topic(partitions=1), f"{broker.prefix}group"
    place = confluent_kafka.TopicPartition(topic, 0, 5)
    options = {"bootstrap.servers": broker.servers, "group.id": group, "session.timeout.ms": SESSION_MS}
    slow = confluent_kafka.Consumer(
        {**options, "max.poll.interval.ms": SESSION_MS, "heartbeat.interval.ms": 500, "enable.auto.commit": False}
    )
    try:
        slow.subscribe([topic])
        until(lambda: slow.poll(0.2) or slow.assignment())
        with member(broker, topic, group) as other:
            until(lambda: other.poll(500) or other.assignment())  # the slow one does not poll, so it is put out
            with pytest.raises(confluent_kafka.KafkaException):
                slow.commit(offsets=[place], asynchronous=False)
            assert other.committed(TopicPartition(topic, 0)) is None
    finally:
        slow.close()


def test_members_of_librdkafka_share_partitions_too(broker: Broker) -> None:
    topic, group = broker.topic(partitions=4), f"{broker.prefix}group"
    python_send(broker.servers, topic, [Message(b"x", partition=number % 4) for number in range(400)])
    options = {
        "bootstrap.servers": broker.servers,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "heartbeat.interval.ms": 500,
        "session.timeout.ms": SESSION_MS,
    }
    members = [confluent_kafka.Consumer(options) for _ in range(2)]
    try:
        for one in members:
            one.subscribe([topic])
        found: set[tuple[int, int]] = set()

        def all_read_by_two() -> bool:
            for one in members:
                found.update((m.partition(), m.offset()) for m in one.consume(100, 0.2) if not m.error())
            return len(found) == 400 and [len(one.assignment()) for one in members] == [2, 2]

        until(all_read_by_two)
    finally:
        for one in members:
            one.close()


def test_a_group_is_listed_described_and_deleted_when_nobody_is_in_it(broker: Broker, admin: KafkaAdminClient) -> None:
    topic, group = broker.topic(partitions=2), f"{broker.prefix}group"
    with member(broker, topic, group) as one:
        until(lambda: one.poll(500) or len(one.assignment()) == 2)
        one.commit({TopicPartition(topic, 0): OffsetAndMetadata(0, "", -1)})
        told = admin.describe_groups([group])[group]
        assert (told["group_state"], len(told["members"])) == ("Stable", 1)
        assert admin.delete_groups([group]) == {group: "NonEmptyGroupError"}
    until(lambda: admin.describe_groups([group])[group]["group_state"] == "Empty")
    assert admin.delete_groups([group]) == {group: "OK"}
    assert group not in {listed["group_id"] for listed in admin.list_groups()}
