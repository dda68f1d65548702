"""The Kafka side of the lander: what the broker holds, and messages of the partitions that are owned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType

from kafka import KafkaAdminClient, TopicPartition

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import consumer, options, producer, told
from betting_assets.streaming.landing.records import Message, read_leanly
from betting_assets.streaming.topic_logs import BrokerLog, read_identities, read_logs
from betting_assets.streaming.topics import TOPICS, create_topics

REQUEST_MS = 5_000
"""Shorter than Ownership.IDLE_SECONDS: a broker that is away must not cost what is owned."""

FETCH = {
    "fetch_min_bytes": 65_536,  # else a slow feed is landed in transactions of one row
    "fetch_max_wait_ms": 100,
    "max_partition_fetch_bytes": 1 << 20,
    "isolation_level": "read_committed",
    "auto_offset_reset": "none",  # an offset that is gone is an error, never silently another one
}


class Source:
    """Topics of the broker. Makes those that are missing. Any method may raise KafkaError or BrokerError.

    Use as a context manager.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.topics = {topic.name(settings): topic for topic in TOPICS}
        create_topics(settings)
        with told(settings):
            self._admin = KafkaAdminClient(**options(settings), request_timeout_ms=REQUEST_MS)
        self._consumer = read_leanly(consumer(settings, request_timeout_ms=REQUEST_MS, **FETCH))
        self.producer = producer(settings, request_timeout_ms=REQUEST_MS, delivery_timeout_ms=3 * REQUEST_MS)
        self._assigned: set[TopicPartition] = set()

    def logs(self) -> dict[str, BrokerLog]:
        """Raises LogError if a topic is missing."""
        return read_logs(self._admin, self._consumer, list(self.topics))

    def identities(self) -> dict[str, tuple[str, str, list[int]]]:
        return read_identities(self._admin, list(self.topics))

    def read_from(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read these partitions, and no other, from these offsets on."""
        self._assigned = set(offsets)
        self._consumer.assign(sorted(offsets))
        for partition, offset in offsets.items():
            self._consumer.seek(partition, offset)

    def poll(self, wait_ms: int, most: int) -> Mapping[TopicPartition, Sequence[Message]]:
        return self._consumer.poll(timeout_ms=wait_ms, max_records=most)  # type: ignore[no-any-return]

    def lag(self, offsets: Mapping[TopicPartition, int]) -> int:
        """How many messages wait, as far as the last answers of the broker tell."""
        ends = {partition: self._consumer.highwater(partition) for partition in offsets if partition in self._assigned}
        return sum(max(0, end - offsets[partition]) for partition, end in ends.items() if end is not None)

    def close(self) -> None:
        self.producer.close(timeout=REQUEST_MS / 1000)
        self._consumer.close(autocommit=False)
        self._admin.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
