"""Topics are made, described, configured and deleted as their names say, and never made by accident."""

from __future__ import annotations

from typing import Any

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource as KafkaResource
from kafka.admin import ConfigResourceType
from kafka.errors import (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from kafka_clients import Broker, Message, make_topic, python_read, python_send, until

pytestmark = pytest.mark.services


def described(admin: KafkaAdminClient, topic: str) -> dict[str, Any]:
    return dict(admin.describe_topics([topic])[0])


def retention(admin: KafkaAdminClient, topic: str) -> str:
    """As the broker tells it, whether it is the default or not."""
    told = admin.describe_configs([KafkaResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    return str(told["topic"][topic]["retention.ms"]["value"])


def test_a_topic_that_was_made_is_listed_and_described(broker: Broker, admin: KafkaAdminClient) -> None:
    topic = broker.topic(partitions=3)
    assert topic in admin.list_topics()
    told = described(admin, topic)
    assert sorted(one["partition_index"] for one in told["partitions"]) == [0, 1, 2]
    assert {one["leader_id"] for one in told["partitions"]} == {admin.describe_cluster()["controller_id"]}


def test_a_topic_is_made_once(broker: Broker, admin: KafkaAdminClient) -> None:
    topic = broker.topic()
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})


def test_a_check_makes_no_topic(broker: Broker, admin: KafkaAdminClient) -> None:
    name = broker.name()
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}}, validate_only=True)
    assert name not in admin.list_topics()


@pytest.mark.parametrize(
    ("name", "how", "error"),
    [
        ("no spaces", {"num_partitions": 1, "replication_factor": 1}, InvalidTopicError),
        ("../elsewhere", {"num_partitions": 1, "replication_factor": 1}, InvalidTopicError),
        ("x" * 250, {"num_partitions": 1, "replication_factor": 1}, InvalidTopicError),
        ("replicated", {"num_partitions": 1, "replication_factor": 3}, InvalidReplicationFactorError),
        ("no-partition", {"num_partitions": 0, "replication_factor": 1}, InvalidPartitionsError),
        ("odd", {"num_partitions": 1, "replication_factor": 1, "configs": {"colour": "red"}}, KafkaError),
        ("odd", {"num_partitions": 1, "replication_factor": 1, "configs": {"retention.ms": "soon"}}, KafkaError),
    ],
)
def test_a_topic_that_cannot_be_is_refused(
    admin: KafkaAdminClient, name: str, how: dict[str, Any], error: type[KafkaError]
) -> None:
    with pytest.raises(error):
        admin.create_topics({name: how})
    assert name not in admin.list_topics()


def test_a_deleted_topic_made_again_is_another_and_empty(broker: Broker, admin: KafkaAdminClient) -> None:
    topic = broker.topic()
    python_send(broker.servers, topic, [Message(b"old")])
    before = described(admin, topic)["topic_id"]
    admin.delete_topics([topic])
    until(lambda: topic not in admin.list_topics())
    make_topic(broker.servers, topic)
    assert described(admin, topic)["topic_id"] != before
    assert python_send(broker.servers, topic, [Message(b"new")]) == [0]
    assert [one.value for one in python_read(broker.servers, topic, 1)] == [b"new"]


def test_a_topic_that_is_not_there_cannot_be_deleted(broker: Broker, admin: KafkaAdminClient) -> None:
    with pytest.raises(UnknownTopicOrPartitionError):
        admin.delete_topics([broker.name()])


def test_the_retention_of_a_topic_is_kept_and_can_be_changed(broker: Broker, admin: KafkaAdminClient) -> None:
    topic = broker.topic(retention_ms="7200000")
    assert retention(admin, topic) == "7200000"
    assert retention(admin, broker.topic()) == "604800000"
    admin.alter_configs([KafkaResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "3600000"})])
    until(lambda: retention(admin, topic) == "3600000")
    admin.alter_configs([KafkaResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "soon"})])
    assert retention(admin, topic) == "3600000"


def test_a_topic_can_grow_but_not_shrink(broker: Broker, admin: KafkaAdminClient) -> None:
    topic = broker.topic(partitions=2)
    python_send(broker.servers, topic, [Message(b"before", partition=1)])
    admin.create_partitions({topic: 4})
    until(lambda: len(described(admin, topic)["partitions"]) == 4)
    python_send(broker.servers, topic, [Message(b"after", partition=3)])
    assert {one.value for one in python_read(broker.servers, topic, 2)} == {b"before", b"after"}
    with pytest.raises(InvalidPartitionsError):
        admin.create_partitions({topic: 3})


def test_librdkafka_makes_describes_and_deletes_topics_too(broker: Broker) -> None:
    admin = AdminClient({"bootstrap.servers": broker.servers})
    name = broker.name()
    admin.create_topics([NewTopic(name, 2, 1, config={"retention.ms": "7200000"})])[name].result(60)
    until(lambda: len(admin.list_topics(timeout=30).topics[name].partitions) == 2)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    assert admin.describe_configs([resource])[resource].result(60)["retention.ms"].value == "7200000"
    admin.delete_topics([name])[name].result(60)
    until(lambda: name not in admin.list_topics(timeout=30).topics)
    with pytest.raises(confluent_kafka.KafkaException):
        admin.delete_topics([name])[name].result(60)
