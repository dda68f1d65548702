"""What the topics of a test hold, read back with a consumer of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kafka import TopicPartition

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import consumer
from betting_assets.streaming.messages import MatchResult, OddsTick
from betting_assets.streaming.topics import MATCH_RESULTS, ODDS_TICKS, Topic


@dataclass(frozen=True)
class Held:
    """A message as it lies in the topic."""

    key: str
    partition: int
    timestamp: int
    value: bytes


def held(settings: Settings, topic: Topic) -> list[Held]:
    """All messages, partition by partition, in order of offset."""
    name = topic.name(settings)
    reader = consumer(settings)
    try:
        places = [TopicPartition(name, number) for number in sorted(reader.partitions_for_topic(name) or ())]
        reader.assign(places)
        ends = reader.end_offsets(places)
        reader.seek_to_beginning()
        found: list[Held] = []
        until = time.monotonic() + 60
        while any(reader.position(place) < ends[place] for place in places):
            assert time.monotonic() < until, "the topic could not be read to its end"
            for records in reader.poll(500).values():
                found += [Held(r.key.decode(), r.partition, r.timestamp, r.value) for r in records]
        return sorted(found, key=lambda one: one.partition)
    finally:
        reader.close()


def ticks(settings: Settings) -> list[OddsTick]:
    return [OddsTick.model_validate_json(one.value) for one in held(settings, ODDS_TICKS)]


def results(settings: Settings) -> list[MatchResult]:
    return [MatchResult.model_validate_json(one.value) for one in held(settings, MATCH_RESULTS)]
