"""Requests about the cluster and its topics: metadata, making, growing, configuring and deleting them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kafka.protocol.admin import (
    CreatePartitionsResponse,
    CreateTopicsResponse,
    DeleteTopicsResponse,
    DescribeClusterResponse,
    DescribeConfigsResponse,
    IncrementalAlterConfigsResponse,
)
from kafka.protocol.metadata import FindCoordinatorResponse, MetadataResponse

from betting_assets.embedded.broker.catalogue import Catalogue, Topic
from betting_assets.embedded.broker.codes import Code, Refused
from betting_assets.embedded.broker.configs import Entry

NODE = 1
GROUP_KEY = 0
OF_TOPIC, OF_BROKER = 2, 4
"""Kafka's numbers for kinds of resources."""
SET, DELETE = 0, 1

_Described = MetadataResponse.MetadataResponseTopic
_Configs = DescribeConfigsResponse.DescribeConfigsResult


class TopicApi:
    """Args:
    on_delete: called with the name of a topic that was deleted.
    """

    def __init__(self, catalogue: Catalogue, host: str, port: int, on_delete: Callable[[str], None]) -> None:
        self._catalogue = catalogue
        self._host = host
        self._port = port
        self._on_delete = on_delete

    def metadata(self, request: Any, version: int) -> Any:
        everything = request.topics is None or (version == 0 and not request.topics)
        topics = [_describe(one) for one in self._catalogue] if everything else map(self._known, request.topics)
        broker = MetadataResponse.MetadataResponseBroker(node_id=NODE, host=self._host, port=self._port)
        return MetadataResponse(
            version=version,
            brokers=[broker],
            cluster_id=self._catalogue.cluster_id,
            controller_id=NODE,
            topics=list(topics),
        )

    def _known(self, wanted: Any) -> Any:
        try:
            return _describe(self._catalogue.topic(wanted.name, wanted.topic_id))
        except Refused as refused:
            return _described_error(wanted, refused.code)

    def describe_cluster(self, request: Any, version: int) -> Any:
        broker = DescribeClusterResponse.DescribeClusterBroker(broker_id=NODE, host=self._host, port=self._port)
        cluster = self._catalogue.cluster_id
        return DescribeClusterResponse(version=version, cluster_id=cluster, controller_id=NODE, brokers=[broker])

    def find_coordinator(self, request: Any, version: int) -> Any:
        if request.key_type != GROUP_KEY:
            message = "transactions are not supported by the development broker"
            return FindCoordinatorResponse(version=version, error_code=Code.INVALID_REQUEST, error_message=message)
        return FindCoordinatorResponse(version=version, node_id=NODE, host=self._host, port=self._port)

    def create_topics(self, request: Any, version: int) -> Any:
        topics = [self._create(one, request.validate_only) for one in request.topics]
        return CreateTopicsResponse(version=version, topics=topics)

    def _create(self, wanted: Any, only_check: bool) -> Any:
        answer = CreateTopicsResponse.CreatableTopicResult
        configs = {one.name: one.value for one in wanted.configs or []}
        try:
            if wanted.assignments:
                raise Refused(Code.INVALID_REPLICA_ASSIGNMENT, "there is one broker")
            if wanted.replication_factor not in (-1, 1):
                raise Refused(Code.INVALID_REPLICATION_FACTOR, "there is one broker, so one replica")
            if only_check:
                count, _ = self._catalogue.check(wanted.name, wanted.num_partitions, configs)
                return answer(name=wanted.name, num_partitions=count, replication_factor=1, error_message=None)
            topic = self._catalogue.create(wanted.name, wanted.num_partitions, configs)
        except Refused as refused:
            return answer(name=wanted.name, error_code=refused.code, error_message=refused.message)
        return answer(
            name=topic.name,
            topic_id=topic.id,
            error_message=None,
            num_partitions=len(topic.partitions),
            replication_factor=1,
        )

    def create_partitions(self, request: Any, version: int) -> Any:
        results = [self._grow(one, request.validate_only) for one in request.topics]
        return CreatePartitionsResponse(version=version, results=results)

    def _grow(self, wanted: Any, only_check: bool) -> Any:
        answer = CreatePartitionsResponse.CreatePartitionsTopicResult
        try:
            if wanted.assignments:
                raise Refused(Code.INVALID_REPLICA_ASSIGNMENT, "there is one broker")
            if not only_check:
                self._catalogue.add_partitions(wanted.name, wanted.count)
        except Refused as refused:
            return answer(name=wanted.name, error_code=refused.code, error_message=refused.message)
        return answer(name=wanted.name)

    def delete_topics(self, request: Any, version: int) -> Any:
        wanted = [(one.name, one.topic_id) for one in request.topics or []]
        wanted = wanted if version >= 6 else [(name, None) for name in request.topic_names]
        return DeleteTopicsResponse(version=version, responses=[self._delete(*one) for one in wanted])

    def _delete(self, name: str | None, topic_id: Any) -> Any:
        answer = DeleteTopicsResponse.DeletableTopicResult
        try:
            topic = self._catalogue.topic(name, topic_id)
        except Refused as refused:
            return answer(name=name, topic_id=topic_id, error_code=refused.code, error_message=refused.message)
        self._catalogue.delete(topic)
        self._on_delete(topic.name)
        return answer(name=topic.name, topic_id=topic.id)

    def describe_configs(self, request: Any, version: int) -> Any:
        return DescribeConfigsResponse(version=version, results=[self._configs(one) for one in request.resources])

    def _configs(self, wanted: Any) -> Any:
        about = {"resource_type": wanted.resource_type, "resource_name": wanted.resource_name}
        try:
            entries = [] if wanted.resource_type == OF_BROKER else self._topic(wanted).config.entries()
        except Refused as refused:
            return _Configs(**about, error_code=refused.code, error_message=refused.message)
        asked = wanted.configuration_keys
        told = [_config(one) for one in entries if asked is None or one.name in asked]
        return _Configs(**about, error_message=None, configs=told)

    def alter_configs(self, request: Any, version: int) -> Any:
        responses = [self._alter(one, request.validate_only) for one in request.resources]
        return IncrementalAlterConfigsResponse(version=version, responses=responses)

    def _alter(self, wanted: Any, only_check: bool) -> Any:
        answer = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse
        about = {"resource_type": wanted.resource_type, "resource_name": wanted.resource_name}
        try:
            topic = self._topic(wanted)
            given = _altered(topic, wanted.configs)
            if not only_check:
                self._catalogue.configure(topic.name, given)
        except Refused as refused:
            return answer(**about, error_code=refused.code, error_message=refused.message)
        return answer(**about, error_message=None)

    def _topic(self, wanted: Any) -> Topic:
        if wanted.resource_type != OF_TOPIC:
            raise Refused(Code.INVALID_REQUEST, "the development broker has configurations of topics only")
        return self._catalogue.topic(wanted.resource_name)


def _describe(topic: Topic) -> Any:
    partitions = [
        _Described.MetadataResponsePartition(
            partition_index=index, leader_id=NODE, leader_epoch=0, replica_nodes=[NODE], isr_nodes=[NODE]
        )
        for index in range(len(topic.partitions))
    ]
    return _Described(name=topic.name, topic_id=topic.id, partitions=partitions)


def _described_error(wanted: Any, code: Code) -> Any:
    return _Described(error_code=code, name=wanted.name, topic_id=wanted.topic_id)


def _config(entry: Entry) -> Any:
    return _Configs.DescribeConfigsResourceResult(
        name=entry.name,
        value=entry.value,
        read_only=entry.read_only,
        config_source=entry.source,
        config_type=entry.kind,
        documentation=None,
    )


def _altered(topic: Topic, changes: list[Any]) -> dict[str, str]:
    given = dict(topic.config.given)
    for change in changes:
        if change.config_operation == SET:
            given[change.name] = change.value
        elif change.config_operation == DELETE:
            given.pop(change.name, None)
        else:
            raise Refused(Code.INVALID_CONFIG, f"{change.name} is no list")
    return given
