"""The Kafka side of the scorer: ticks in at once, predictions out at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import consumer, options, producer, told
from betting_assets.streaming.messages import Prediction
from betting_assets.streaming.topic_logs import BrokerLog, read_identities, read_logs
from betting_assets.streaming.topics import ODDS_TICKS, PREDICTIONS, create_topics

REQUEST_MS = 5_000
"""Shorter than Ownership.IDLE_SECONDS: a broker that is away must not cost what is owned."""

LINGER_MS = 2
"""Without it every prediction is a request of its own, which costs more time than this."""

FETCH = {
    "fetch_min_bytes": 1,
    "fetch_max_wait_ms": 100,
    "max_partition_fetch_bytes": 1 << 20,
    "isolation_level": "read_committed",
    "auto_offset_reset": "none",  # an offset that is gone is an error, never silently another one
}


class Feed:
    """Makes topics that are missing. Any method may raise KafkaError or BrokerError. Use as a context manager."""

    def __init__(self, settings: Settings) -> None:
        self.topic, self._predictions = ODDS_TICKS.name(settings), PREDICTIONS.name(settings)
        create_topics(settings)
        with told(settings):
            self._admin = KafkaAdminClient(**options(settings), request_timeout_ms=REQUEST_MS)
        self._consumer = consumer(settings, request_timeout_ms=REQUEST_MS, **FETCH)
        self._producer = producer(
            settings, request_timeout_ms=REQUEST_MS, delivery_timeout_ms=2 * REQUEST_MS, linger_ms=LINGER_MS
        )
        self._failed: BaseException | None = None

    def log(self) -> BrokerLog:
        """Raises LogError if the topic of ticks is missing."""
        return read_logs(self._admin, self._consumer, [self.topic])[self.topic]

    def identity(self) -> tuple[str, str, list[int]]:
        return read_identities(self._admin, [self.topic])[self.topic]

    def read_from(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read these partitions, and no other, from these offsets on."""
        self._consumer.assign(sorted(offsets))
        for partition, offset in offsets.items():
            self._consumer.seek(partition, offset)

    def poll(self, wait_ms: int, most: int) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        return self._consumer.poll(timeout_ms=wait_ms, max_records=most)  # type: ignore[no-any-return]

    def lag(self, offsets: Mapping[TopicPartition, int]) -> int:
        """How many messages wait, as far as the last answers of the broker tell."""
        ends = {partition: self._consumer.highwater(partition) for partition in offsets}
        return sum(max(0, end - offsets[partition]) for partition, end in ends.items() if end is not None)

    def publish(self, prediction: Prediction) -> None:
        """Hand a message to the producer; `flush` says whether the broker has it."""
        sent: Any = self._producer.send(
            self._predictions, key=prediction.match_id.encode(), value=prediction.model_dump_json().encode()
        )
        sent.add_errback(self._note)

    def flush(self) -> None:
        """Wait until the broker has all that was published. Raises KafkaError."""
        self._producer.flush(timeout=3 * REQUEST_MS / 1000)
        if self._failed is not None:
            raise self._failed

    def _note(self, error: BaseException) -> None:
        self._failed = error

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producer.close(timeout=REQUEST_MS / 1000)
        self._consumer.close(autocommit=False)
        self._admin.close()
