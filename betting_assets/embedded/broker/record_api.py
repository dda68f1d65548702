"""Requests about records: produce, fetch, offsets by time, deletion of old records, numbers for producers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any

from kafka.protocol.admin import DeleteRecordsResponse
from kafka.protocol.consumer import FetchResponse, ListOffsetsResponse
from kafka.protocol.producer import InitProducerIdResponse, ProduceResponse

from betting_assets.embedded.broker.catalogue import Catalogue
from betting_assets.embedded.broker.codes import Code, Refused
from betting_assets.embedded.broker.partition import Partition

LATEST, EARLIEST = -1, -2
MOST_ANSWER_BYTES = 16 * 1024 * 1024
LONGEST_WAIT_SECONDS = 300.0

_Produced = ProduceResponse.TopicProduceResponse
_Fetched = FetchResponse.FetchableTopicResponse
_Listed = ListOffsetsResponse.ListOffsetsTopicResponse
_Deleted = DeleteRecordsResponse.DeleteRecordsTopicResult


class RecordApi:
    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def produce(self, request: Any, version: int) -> Any:
        """None when the client wants no answer."""
        topics = [
            _Produced(
                name=topic.name, partition_responses=[self._keep(topic.name, one) for one in topic.partition_data]
            )
            for topic in request.topic_data
        ]
        return ProduceResponse(version=version, responses=topics) if request.acks != 0 else None

    def _keep(self, topic: str, sent: Any) -> Any:
        answer = _Produced.PartitionProduceResponse
        try:
            partition = self._catalogue.partition(topic, sent.index)
            offset = partition.append(memoryview(sent.records or b""))
        except Refused as refused:
            return answer(index=sent.index, error_code=refused.code, base_offset=-1, error_message=refused.message)
        return answer(index=sent.index, base_offset=offset, log_start_offset=partition.start)

    async def fetch(self, request: Any, version: int) -> Any:
        """Answers when there are `min_bytes`, or an error, or `max_wait_ms` are over."""
        found = self._read(request)
        wait = min(request.max_wait_ms / 1000, LONGEST_WAIT_SECONDS)
        if not found.refused and found.size < request.min_bytes and wait > 0:
            await _grown(found.partitions, request.min_bytes - found.size, wait)
            found = self._read(request)
        return FetchResponse(version=version, responses=found.topics)

    def _read(self, request: Any) -> _Found:
        found = _Found([], [])
        left = min(request.max_bytes, MOST_ANSWER_BYTES)
        for topic in request.topics:
            answers = []
            for wanted in topic.partitions:
                answers.append(self._read_one(topic.topic, wanted, left - found.size, found))
            found.topics.append(_Fetched(topic=topic.topic, partitions=answers))
        return found

    def _read_one(self, topic: str, wanted: Any, left: int, found: _Found) -> Any:
        answer = _Fetched.PartitionData
        try:
            partition = self._catalogue.partition(topic, wanted.partition)
            found.partitions.append(partition)
            most = min(left, wanted.partition_max_bytes)
            records = partition.read(wanted.fetch_offset, most) if left > 0 else b""
        except Refused as refused:
            found.refused = True
            return answer(partition_index=wanted.partition, error_code=refused.code, high_watermark=-1, records=b"")
        found.size += len(records)
        return answer(
            partition_index=wanted.partition,
            high_watermark=partition.end,
            last_stable_offset=partition.end,
            log_start_offset=partition.start,
            aborted_transactions=None,
            records=records,
        )

    def list_offsets(self, request: Any, version: int) -> Any:
        topics = [
            _Listed(name=topic.name, partitions=[self._offset(topic.name, one) for one in topic.partitions])
            for topic in request.topics
        ]
        return ListOffsetsResponse(version=version, topics=topics)

    def _offset(self, topic: str, wanted: Any) -> Any:
        answer = _Listed.ListOffsetsPartitionResponse
        index = wanted.partition_index
        try:
            partition = self._catalogue.partition(topic, index)
        except Refused as refused:
            return answer(partition_index=index, error_code=refused.code)
        if wanted.timestamp == LATEST:
            return answer(partition_index=index, offset=partition.end, leader_epoch=0)
        if wanted.timestamp == EARLIEST:
            return answer(partition_index=index, offset=partition.start, leader_epoch=0)
        if wanted.timestamp < 0:
            return answer(partition_index=index, error_code=Code.UNSUPPORTED_VERSION)
        timestamp, offset = partition.first_at(wanted.timestamp) or (-1, -1)
        return answer(partition_index=index, timestamp=timestamp, offset=offset, leader_epoch=0)

    def delete_records(self, request: Any, version: int) -> Any:
        topics = [
            _Deleted(name=topic.name, partitions=[self._delete(topic.name, one) for one in topic.partitions])
            for topic in request.topics
        ]
        return DeleteRecordsResponse(version=version, topics=topics)

    def _delete(self, topic: str, wanted: Any) -> Any:
        answer = _Deleted.DeleteRecordsPartitionResult
        try:
            start = self._catalogue.partition(topic, wanted.partition_index).delete_before(wanted.offset)
        except Refused as refused:
            return answer(partition_index=wanted.partition_index, error_code=refused.code, low_watermark=-1)
        return answer(partition_index=wanted.partition_index, low_watermark=start)

    def new_producer(self, request: Any, version: int) -> Any:
        if request.transactional_id is not None:
            return InitProducerIdResponse(version=version, error_code=Code.INVALID_REQUEST)
        return InitProducerIdResponse(version=version, producer_id=self._catalogue.new_producer())


@dataclass
class _Found:
    """What a fetch has read so far."""

    topics: list[Any]
    partitions: list[Partition]
    size: int = 0
    refused: bool = False


async def _grown(partitions: list[Partition], most: int, seconds: float) -> None:
    """Wait until the partitions together have got `most` more bytes, one of them is deleted, or the time is over."""
    event = asyncio.Event()
    before = sum(partition.written for partition in partitions)
    until = time.monotonic() + seconds
    for partition in partitions:
        partition.watch(event)
    try:
        with contextlib.suppress(TimeoutError):
            while sum(partition.written for partition in partitions) - before < most:
                await asyncio.wait_for(event.wait(), until - time.monotonic())
                event.clear()
                if any(partition.closed for partition in partitions):
                    return
    finally:
        for partition in partitions:
            partition.unwatch(event)
