"""What one transaction of the lander lands."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from kafka import TopicPartition

from betting_assets.streaming.landing.faults import Fault, fault
from betting_assets.streaming.landing.records import Message
from betting_assets.streaming.landing.rows import MAPPINGS, RowMapping
from betting_assets.streaming.landing.validation import Validator, latest_now
from betting_assets.streaming.topics import Topic


@dataclass(frozen=True)
class DeadLetter:
    """A message that cannot be used."""

    message: Message
    epoch: int
    fault: Fault


@dataclass
class TopicRows:
    """Rows of one topic's table, and the messages that they were made of, one for one."""

    topic: Topic
    rows: list[bytes] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


@dataclass(frozen=True)
class Move:
    """A position that the batch moves: from the offset before it to the one behind it."""

    epoch: int
    old: int
    new: int


@dataclass
class Batch:
    """Rows, dead letters, and the positions behind them: all of it is landed, or nothing."""

    topics: dict[str, TopicRows] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    moves: dict[TopicPartition, Move] = field(default_factory=dict)
    size: int = 0


class Sorter:
    """Sorts the messages of one topic into rows and dead letters."""

    def __init__(self, topic: Topic, name: str, epoch: int) -> None:
        self._topic, self._name, self._epoch = topic, name, epoch
        self._validate = Validator(topic.message)
        self._mapping: RowMapping = MAPPINGS[topic.message]

    def add(self, batch: Batch, partition: TopicPartition, old: int, messages: Sequence[Message]) -> int:
        """Add `messages`, which follow offset `old` of their partition; returns the offset behind them."""
        latest = latest_now()
        into = batch.topics.setdefault(self._name, TopicRows(self._topic))
        for message in messages:
            row = self._row(message, latest)
            if isinstance(row, bytes):
                into.rows.append(row)
                into.messages.append(message)
            else:
                batch.letters.append(DeadLetter(message, self._epoch, row))
        new = int(messages[-1].offset) + 1
        before = batch.moves.get(partition)
        batch.moves[partition] = Move(self._epoch, before.old if before else old, new)
        batch.size += len(messages)
        return new

    def _row(self, message: Message, latest: dt.timedelta) -> bytes | Fault:
        found = self._validate(message, latest)
        if isinstance(found, Fault):
            return found
        record, since = found
        try:
            return self._mapping.row(record, since, message, self._epoch)
        except struct.error:
            return fault("number_too_large", "a number does not fit into the column of the table; see the schema")
