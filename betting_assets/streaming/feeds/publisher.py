"""Events to the topics, keyed by match; what the broker acknowledged is counted.

Messages carry the time of publication, not of the event: Kafka deletes by that time, and a match of last season would
be gone before anybody read it. The times of the event are in the message.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from betting_assets.settings import Settings
from betting_assets.sources.feed import Event
from betting_assets.sources.records import LiveResult, Tick
from betting_assets.streaming.feeds.pacer import MAX, Pacer
from betting_assets.streaming.kafka import producer, told
from betting_assets.streaming.messages import MatchResult, OddsTick
from betting_assets.streaming.topics import MATCH_RESULTS, ODDS_TICKS, Topic, create_topics

MAX_IN_FLIGHT = 5_000
"""Messages sent and not yet acknowledged; at the bound publishing waits for the oldest."""

_PATIENCE_MS = 30_000
_FAREWELL = 5.0
_OPTIONS = {
    "linger_ms": 5,
    "batch_size": 131_072,
    "max_block_ms": _PATIENCE_MS,
    "request_timeout_ms": 10_000,
    "delivery_timeout_ms": _PATIENCE_MS,
    "reconnect_backoff_max_ms": 1_000,
}


@dataclass(frozen=True)
class Published:
    """Messages that the broker acknowledged, by the topic's name without prefix, and the seconds that it took."""

    by_topic: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return self.by_topic.total()


def topic_of(record: Tick | LiveResult) -> Topic:
    return ODDS_TICKS if isinstance(record, Tick) else MATCH_RESULTS


def encode(record: Tick | LiveResult) -> tuple[bytes, bytes]:
    """Key and value of the message. The record is valid already, so that it is only given its schema's version."""
    message = OddsTick if isinstance(record, Tick) else MatchResult
    value = message.model_construct(**{name: getattr(record, name) for name in type(record).model_fields})
    return record.match_id.encode(), value.model_dump_json().encode()


class Publisher:
    """Sends records; a context manager that at its end waits until all are acknowledged.

    Raises BrokerError, at a later `send` or at the end, when the broker took a message for thirty seconds not.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = {topic: topic.name(settings) for topic in (ODDS_TICKS, MATCH_RESULTS)}
        self._waiting: deque[tuple[str, Any]] = deque()
        self.acknowledged: Counter[str] = Counter()
        self._producer: KafkaProducer | None = None

    def __enter__(self) -> Publisher:
        create_topics(self._settings, (ODDS_TICKS, MATCH_RESULTS))
        self._producer = producer(self._settings, **_OPTIONS)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._producer is not None
        try:
            if kind is None:
                self.flush()
        finally:
            _close(self._producer)

    def send(self, record: Tick | LiveResult) -> None:
        assert self._producer is not None
        topic = topic_of(record)
        key, value = encode(record)
        with told(self._settings):
            future = self._producer.send(self._names[topic], value, key)
        self._waiting.append((topic.base, future))
        while self._waiting and (len(self._waiting) > MAX_IN_FLIGHT or self._waiting[0][1].is_done):
            self._settle()

    def flush(self) -> None:
        """Wait until every message sent is acknowledged."""
        while self._waiting:
            self._settle()

    def _settle(self) -> None:
        topic, future = self._waiting.popleft()
        with told(self._settings):
            future.get(timeout=2 * _PATIENCE_MS / 1000)
        self.acknowledged[topic] += 1


def _close(client: KafkaProducer) -> None:
    """Close with a moment for what is on its way; then give it up, an error is told already.

    kafka-python 3.0.12 waits before it closes, and where that wait runs out its thread stays behind.
    """
    try:
        client.close(timeout=_FAREWELL)
    except KafkaError:
        client._sender.force_close()
        client._sender.join(_FAREWELL)
        client.close(timeout=_FAREWELL)


def publish(
    settings: Settings,
    events: Iterable[Event],
    speed: float = MAX,
    *,
    max_gap: float | None = None,
    progress: Callable[[int], None] = lambda acknowledged: None,
) -> Published:
    """Publish the events, spaced as they were divided by `speed` (0: as fast as possible); topics are created first.

    `progress` is told now and then how many messages are acknowledged.

    Raises:
        BrokerError: one line; what was acknowledged before stays published. To repeat all of it is safe: receivers
            order by time and sequence, so that old messages change nothing.
    """
    began, shown = time.monotonic(), 0.0
    with Publisher(settings) as publisher:
        for event in Pacer(speed, max_gap).pace(events):
            publisher.send(event.record)
            if time.monotonic() - shown >= 1:
                shown = time.monotonic()
                progress(publisher.acknowledged.total())
    progress(publisher.acknowledged.total())
    return Published(publisher.acknowledged, time.monotonic() - began)
