"""What the contract tests do with a broker, by two clients: kafka-python and librdkafka (confluent-kafka)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import confluent_kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Message:
    """A record; `offset` and `partition` are what the broker gave it."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int | None = None
    partition: int = 0
    offset: int = field(default=-1, compare=False)


@dataclass
class Broker:
    """A broker that runs, and names of topics that no other test uses."""

    servers: str
    prefix: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def name(self) -> str:
        return f"{self.prefix}topic-{next(self._numbers)}"

    def topic(self, partitions: int = 1, **configs: str) -> str:
        """Make a topic."""
        return make_topic(self.servers, self.name(), partitions, {k.replace("_", "."): v for k, v in configs.items()})

    def clean(self) -> None:
        with admin_of(self.servers) as admin:
            if own := [name for name in admin.list_topics() if name.startswith(self.prefix)]:
                admin.delete_topics(own)


@contextmanager
def admin_of(servers: str) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(bootstrap_servers=servers)
    try:
        yield admin
    finally:
        admin.close()


def make_topic(servers: str, name: str, partitions: int = 1, configs: dict[str, str] | None = None) -> str:
    with admin_of(servers) as admin:
        admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1, "configs": configs or {}}})
        until(lambda: len(admin.describe_topics([name])[0]["partitions"]) == partitions)
    return name


def until(holds: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait until `holds()` is true; returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


# kafka-python ---------------------------------------------------------------------------------------------------------


def python_send(servers: str, topic: str, messages: Sequence[Message], **options: Any) -> list[int]:
    """Returns the offsets."""
    producer = KafkaProducer(bootstrap_servers=servers, **{"acks": "all", **options})
    try:
        sent = [
            producer.send(
                topic,
                value=one.value,
                key=one.key,
                headers=list(one.headers),
                partition=one.partition,
                timestamp_ms=one.timestamp,
            )
            for one in messages
        ]
        producer.flush(PATIENCE_SECONDS)
        return [future.get(PATIENCE_SECONDS).offset for future in sent]
    finally:
        producer.close(5)


def python_read(servers: str, topic: str, count: int, at: dict[int, int] | None = None) -> list[Message]:
    """`count` messages of all partitions, or of those in `at` from the given offset on."""
    consumer = KafkaConsumer(bootstrap_servers=servers, auto_offset_reset="none", enable_auto_commit=False)
    try:
        places = at if at is not None else dict.fromkeys(sorted(consumer.partitions_for_topic(topic) or ()), 0)
        consumer.assign([TopicPartition(topic, partition) for partition in places])
        for partition, offset in places.items():
            consumer.seek(TopicPartition(topic, partition), offset)
        found: list[Message] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(found) < count and time.monotonic() < deadline:
            for records in consumer.poll(500).values():
                found += [
                    Message(one.value, one.key, tuple(one.headers), one.timestamp, one.partition, one.offset)
                    for one in records
                ]
        return found
    finally:
        consumer.close()


# librdkafka -----------------------------------------------------------------------------------------------------------


def confluent_send(servers: str, topic: str, messages: Sequence[Message], **options: Any) -> list[int]:
    """Returns the offsets."""
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": servers, "acks": "all", "message.timeout.ms": int(PATIENCE_SECONDS * 1000), **options}
    )
    results: list[Any] = [None] * len(messages)

    def note(index: int) -> Callable[[Any, Any], None]:
        def told(error: Any, message: Any) -> None:
            results[index] = error or message.offset()

        return told

    for index, one in enumerate(messages):
        more = {} if one.timestamp is None else {"timestamp": one.timestamp}
        producer.produce(topic, one.value, one.key, one.partition, note(index), headers=list(one.headers), **more)
        producer.poll(0)
    assert producer.flush(PATIENCE_SECONDS) == 0
    failed = [one for one in results if not isinstance(one, int)]
    assert not failed, failed[0]
    return results


def confluent_read(servers: str, topic: str, count: int, at: dict[int, int] | None = None) -> list[Message]:
    """`count` messages of all partitions, or of those in `at` from the given offset on."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": servers, "group.id": "reads-without-a-group", "auto.offset.reset": "error"}
    )
    try:
        if at is None:
            at = dict.fromkeys(consumer.list_topics(topic, 30).topics[topic].partitions, 0)
        consumer.assign([confluent_kafka.TopicPartition(topic, partition, offset) for partition, offset in at.items()])
        found: list[Message] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(found) < count and time.monotonic() < deadline:
            for one in consumer.consume(1000, 0.5):
                assert not one.error(), one.error()
                headers = tuple(one.headers() or ())
                place = {"partition": one.partition(), "offset": one.offset()}
                found.append(Message(one.value(), one.key(), headers, one.timestamp()[1], **place))
        return found
    finally:
        consumer.close()


SENDERS = {"kafka-python": python_send, "librdkafka": confluent_send}
READERS = {"kafka-python": python_read, "librdkafka": confluent_read}
