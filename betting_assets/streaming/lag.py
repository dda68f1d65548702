"""Where the broker's topics end, asked by callers that cannot wait for a broker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import BrokerError, consumer, servers, told

Ends = dict[tuple[str, int], int]


@dataclass(frozen=True)
class Answer:
    """End offsets by topic and partition; or `error`, one line why there are none."""

    ends: Ends
    error: str | None = None


class EndOffsets:
    """Asks from a thread of its own, with one client that is kept: a broker that hangs costs no more than a budget."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it tells of each attempt; the answer says it once
        self._settings, self._topics = settings, topics
        self._thread: threading.Thread | None = None
        self._client: KafkaConsumer | None = None
        self._answer: Answer | None = None
        self._late: str | None = None

    def ask(self) -> None:
        """Begin to ask, unless the last question is still waiting for its answer."""
        if self._thread is None or not self._thread.is_alive():
            self._late = self._answer.error if self._answer else None
            self._answer = None
            self._thread = threading.Thread(target=self._ask, name="end-offsets", daemon=True)
            self._thread.start()

    def answer(self, seconds: float) -> Answer:
        """The answer to `ask`, if it comes within `seconds`."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._answer or Answer({}, self._late or f"Kafka at {servers(self._settings)}: no answer in time")

    def _ask(self) -> None:
        try:
            self._answer = Answer(self._end_offsets())
        except BrokerError as error:
            self._answer = Answer({}, str(error))
            self._forget_client()

    def _end_offsets(self) -> Ends:
        if self._client is None:
            self._client = consumer(self._settings)
        with told(self._settings):
            found = {topic: self._client.partitions_for_topic(topic) or set() for topic in self._topics}
            asked = [TopicPartition(topic, number) for topic, numbers in found.items() for number in sorted(numbers)]
            ends = self._client.end_offsets(asked) if asked else {}
        return {(one.topic, one.partition): int(end) for one, end in ends.items()}

    def _forget_client(self) -> None:
        if self._client is not None:
            self._client.close(timeout_ms=0)
            self._client = None
