"""What the broker keeps: its identity, its topics with their partitions, and the numbers that it gives to producers."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from betting_assets.embedded.broker.codes import Code, Refused
from betting_assets.embedded.broker.configs import TopicConfig
from betting_assets.embedded.broker.files import read_json, write_json
from betting_assets.embedded.broker.open_files import OpenFiles
from betting_assets.embedded.broker.partition import Partition

DEFAULT_PARTITIONS = 1
MOST_PARTITIONS = 1024
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_PRODUCER_BLOCK = 1000


@dataclass
class Topic:
    """`partitions[i]` is partition i."""

    name: str
    id: uuid.UUID
    config: TopicConfig
    partitions: list[Partition]


class Catalogue:
    """Everything below one folder; a folder that is new gets a new cluster id, which clients can notice."""

    def __init__(self, folder: Path, files: OpenFiles) -> None:
        self._folder = folder
        self._files = files
        self._path = folder / "broker.json"
        kept: dict[str, Any] = read_json(self._path) or {}
        self.cluster_id: str = kept.get("cluster_id") or f"development-{uuid.uuid4().hex[:16]}"
        self._next_producer: int = kept.get("next_producer", 1)
        self._reserved = self._next_producer
        self._topics = {name: self._open(name, one) for name, one in kept.get("topics", {}).items()}
        self._by_id = {topic.id: topic for topic in self._topics.values()}
        self._save()
        self._sweep()

    def __iter__(self) -> Iterator[Topic]:
        return iter(self._topics.values())

    def topic(self, name: str | None, topic_id: uuid.UUID | None = None) -> Topic:
        """By name, or by id when there is no name. Raises Refused."""
        if name:
            if name not in self._topics:
                raise Refused(Code.UNKNOWN_TOPIC_OR_PARTITION)
            return self._topics[name]
        if topic_id not in self._by_id:
            raise Refused(Code.UNKNOWN_TOPIC_ID)
        return self._by_id[topic_id]

    def partition(self, name: str, index: int) -> Partition:
        """Raises Refused."""
        partitions = self.topic(name).partitions
        if not 0 <= index < len(partitions):
            raise Refused(Code.UNKNOWN_TOPIC_OR_PARTITION)
        return partitions[index]

    def check(self, name: str, partitions: int, given: Mapping[str, str]) -> tuple[int, TopicConfig]:
        """Whether a topic could be made so. Raises Refused."""
        if not _NAME.fullmatch(name) or name in (".", ".."):
            raise Refused(Code.INVALID_TOPIC, "a name has up to 249 letters, digits, dots, dashes and underscores")
        if name in self._topics:
            raise Refused(Code.TOPIC_ALREADY_EXISTS, f"topic {name} exists")
        return self._count(DEFAULT_PARTITIONS if partitions == -1 else partitions), TopicConfig(given)

    def create(self, name: str, partitions: int, given: Mapping[str, str]) -> Topic:
        """Raises Refused."""
        count, config = self.check(name, partitions, given)
        topic = Topic(name, uuid.uuid4(), config, [])
        self._grow(topic, count)
        self._topics[name] = self._by_id[topic.id] = topic
        self._save()
        return topic

    def add_partitions(self, name: str, count: int) -> None:
        """Grow a topic to `count` partitions. Raises Refused."""
        topic = self.topic(name)
        if self._count(count) <= len(topic.partitions):
            raise Refused(Code.INVALID_PARTITIONS, f"{name} has {len(topic.partitions)} partitions already")
        self._grow(topic, count)
        self._save()

    def configure(self, name: str, given: Mapping[str, str]) -> None:
        """Replace the values that differ from the defaults. Raises Refused."""
        topic = self.topic(name)
        topic.config = TopicConfig(given)
        for partition in topic.partitions:
            partition.config = topic.config
        self._save()

    def delete(self, topic: Topic) -> None:
        del self._topics[topic.name], self._by_id[topic.id]
        self._save()
        for partition in topic.partitions:
            partition.close()
        shutil.rmtree(self._home(topic.id), ignore_errors=True)

    def new_producer(self) -> int:
        """A number that no producer of this folder ever had."""
        if self._next_producer == self._reserved:
            self._reserved += _PRODUCER_BLOCK
            self._save()
        self._next_producer += 1
        return self._next_producer - 1

    def expire(self) -> None:
        for topic in self:
            for partition in topic.partitions:
                partition.expire()

    def _count(self, partitions: int) -> int:
        if not 1 <= partitions <= MOST_PARTITIONS:
            raise Refused(Code.INVALID_PARTITIONS, f"a topic has from 1 to {MOST_PARTITIONS} partitions")
        return partitions

    def _home(self, topic_id: uuid.UUID) -> Path:
        """By id, not by name: a topic of the same name, made later, has nothing to do with this one."""
        return self._folder / "topics" / topic_id.hex

    def _open(self, name: str, kept: dict[str, Any]) -> Topic:
        topic = Topic(name, uuid.UUID(kept["id"]), TopicConfig(kept["configs"]), [])
        self._grow(topic, kept["partitions"])
        return topic

    def _grow(self, topic: Topic, count: int) -> None:
        for index in range(len(topic.partitions), count):
            folder = self._home(topic.id) / str(index)
            topic.partitions.append(Partition(folder, topic.config, self._files))

    def _save(self) -> None:
        topics = {
            one.name: {"id": one.id.hex, "partitions": len(one.partitions), "configs": one.config.given} for one in self
        }
        kept = {"cluster_id": self.cluster_id, "next_producer": self._reserved, "topics": topics}
        write_json(self._path, kept)

    def _sweep(self) -> None:
        """Remove what a kill in the middle of making or deleting a topic has left."""
        known = {self._home(topic.id) for topic in self}
        for home in (self._folder / "topics").glob("*"):
            if home not in known:
                shutil.rmtree(home, ignore_errors=True)
