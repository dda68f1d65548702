"""Which log the offsets of a topic count in.

A topic that was deleted and made again, or a broker that lost its disk, starts again at offset 0 under the same name.
PostgreSQL numbers the logs of a topic as epochs, so that offsets of one are never taken for those of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

UNKNOWN_TOPIC = 3
"""Kafka's code of the error."""


class LogError(RuntimeError):
    """The broker's log is not the one that was read so far, or lacks a part of it; one line with the way on."""


class LogReplacedError(LogError):
    """Another log answers under the name of the topic."""


class LogTruncatedError(LogError):
    """The log ends before the position of its reader."""


class LogGapError(LogError):
    """The log begins behind the position of its reader: messages were removed unread."""


@dataclass(frozen=True)
class BrokerLog:
    """What the broker says of a topic: its identity, and the first and the next offset of each partition."""

    topic: str
    cluster_id: str
    topic_id: str
    begin: Mapping[int, int]
    end: Mapping[int, int]

    @property
    def partitions(self) -> list[int]:
        return sorted(self.begin)


def read_logs(admin: KafkaAdminClient, consumer: KafkaConsumer, topics: list[str]) -> dict[str, BrokerLog]:
    """What the broker says of these topics now.

    Raises:
        KafkaError: the broker is away.
        LogError: it lacks a topic.
    """
    identities = read_identities(admin, topics)
    partitions = [TopicPartition(topic, n) for topic in topics for n in identities[topic][2]]
    begin, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)

    def of(offsets: Mapping[TopicPartition, int], topic: str) -> dict[int, int]:
        return {partition.partition: offset for partition, offset in offsets.items() if partition.topic == topic}

    return {
        topic: BrokerLog(topic, cluster, topic_id, of(begin, topic), of(end, topic))
        for topic, (cluster, topic_id, _) in identities.items()
    }


def read_identities(admin: KafkaAdminClient, topics: list[str]) -> dict[str, tuple[str, str, list[int]]]:
    """Cluster, topic id (empty where the broker tells none) and partitions of each topic. Raises as `read_logs`."""
    cluster = str(admin.describe_cluster()["cluster_id"] or "")
    found = {}
    for told in admin.describe_topics(topics):
        if told["error_code"] == UNKNOWN_TOPIC:
            raise LogError(f"topic {told['name']}: the broker has none; `betting up` and `betting stream` make it")
        partitions = sorted(part["partition_index"] for part in told["partitions"])
        found[str(told["name"])] = (cluster, _known(told.get("topic_id")), partitions)
    return found


def _known(topic_id: object) -> str:
    text = str(topic_id or "")
    return "" if set(text) <= set("0-") else text


def current_epoch(conn: psycopg.Connection, log: BrokerLog) -> int:
    """The epoch of the broker's log. The first log of a topic is registered as epoch 1.

    Raises:
        LogReplacedError: it is another log than the one that was accepted last.
    """
    with conn.transaction():
        _one_at_a_time(conn, log.topic)
        known = _newest(conn, log.topic)
        if known is None:
            return _register(conn, log, 1)
    epoch, identity = known
    if identity != (log.cluster_id, log.topic_id):
        raise LogReplacedError(
            f"topic {log.topic}: another log answers under this name (cluster {log.cluster_id}, topic id "
            f"{log.topic_id or 'none'}; known is cluster {identity[0]}, topic id {identity[1] or 'none'}): is it the "
            f"right broker? To read the new log from its beginning: betting stream land --accept-new-log {log.topic}"
        )
    return epoch


def accept_new_log(conn: psycopg.Connection, log: BrokerLog) -> int:
    """Number the broker's log as a new epoch, unless it is the known one and holds every offset that was read of it.

    All readers of the topic then start at its beginning. Returns the epoch.
    """
    with conn.transaction():
        _one_at_a_time(conn, log.topic)
        known = _newest(conn, log.topic)
        if known is None:
            return _register(conn, log, 1)
        epoch, identity = known
        same = identity == (log.cluster_id, log.topic_id)
        return epoch if same and not _truncated(conn, log, epoch) else _register(conn, log, epoch + 1)


def _truncated(conn: psycopg.Connection, log: BrokerLog, epoch: int) -> bool:
    rows = conn.execute(
        "SELECT partition, next_offset FROM stream.position WHERE topic = %s AND epoch = %s", [log.topic, epoch]
    )
    return any(offset > log.end.get(partition, 0) for partition, offset in rows)


def _newest(conn: psycopg.Connection, topic: str) -> tuple[int, tuple[str, str]] | None:
    row = conn.execute(
        "SELECT epoch, cluster_id, topic_id FROM stream.topic_log WHERE topic = %s ORDER BY epoch DESC LIMIT 1", [topic]
    ).fetchone()
    return None if row is None else (row[0], (row[1], row[2]))


def _register(conn: psycopg.Connection, log: BrokerLog, epoch: int) -> int:
    conn.execute(
        "INSERT INTO stream.topic_log (topic, epoch, cluster_id, topic_id) VALUES (%s, %s, %s, %s)",
        [log.topic, epoch, log.cluster_id, log.topic_id],
    )
    return epoch


def _one_at_a_time(conn: psycopg.Connection, topic: str) -> None:
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('betting topic_log ' || %s, 0))", [topic])
