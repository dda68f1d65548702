"""Reads record batches for the lander: the client's own reader, with the part that runs for each record written anew.

The client spends half of the lander's time on things that the lander does not ask for, and refuses for ever a partition
in which one record has a header whose name is not UTF-8. The batches, their checksums and aborted transactions stay
the client's. Held to the client's own reader by tests/streaming/test_records.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError, UnsupportedVersionError
from kafka.record.util import decode_varint

FORMAT = 2
"""The only message format since Kafka 3.0."""


class Message(NamedTuple):
    """One message of a topic; `timestamp` is in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def read_leanly(consumer: KafkaConsumer) -> KafkaConsumer:
    """`consumer`, whose poll now returns `Message`s."""
    consumer._fetcher.PartitionRecords = LeanRecords
    return consumer


class LeanRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """Records of one fetched partition."""

    def _unpack_records(self, tp: TopicPartition, records: Any, *_: Any) -> Iterator[Message]:
        while (batch := records.next_batch()) is not None:
            self._check(batch)
            self.leader_epoch = batch.leader_epoch
            if not self._is_hidden(batch):
                self.bytes_read += batch.size_in_bytes
                try:
                    for message in messages(batch, tp):
                        self.records_read += 1
                        self.next_fetch_offset = message[2] + 1
                        yield message
                except (IndexError, ValueError) as error:
                    raise CorruptRecordError(
                        f"{tp.topic}, partition {tp.partition}: a record behind offset {self.next_fetch_offset - 1} "
                        f"is no record ({error})"
                    ) from error
            self.next_fetch_offset = batch.next_offset  # compaction may have removed the last ones of a batch
        self.drain()

    def _check(self, batch: Any) -> None:
        if batch.magic != FORMAT:
            raise UnsupportedVersionError(f"messages of format {batch.magic}: let the broker convert them to {FORMAT}")
        if self.check_crcs and not batch.validate_crc():
            raise CorruptRecordError(f"{self.topic_partition}: the batch at offset {batch.base_offset} is damaged")

    def _is_hidden(self, batch: Any) -> bool:
        """Whether its records are not for readers: markers of transactions, and what a transaction took back."""
        if batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)


def messages(batch: Any, tp: TopicPartition) -> Iterator[Message]:
    """The messages of a batch of format 2, see https://kafka.apache.org/documentation/#record.

    Numbers are zigzag varints; those of one byte, which most are, are decoded in place.
    """
    batch._maybe_uncompress()
    data, at = bytes(batch._buffer), int(batch._pos)
    topic, partition, first = tp.topic, tp.partition, batch.base_offset
    since = batch.first_timestamp
    appended = batch.max_timestamp if batch.timestamp_type else None
    new = tuple.__new__
    for _ in range(batch.records_count):
        length, at = decode_varint(data, at)
        end = at + length
        at += 1  # attributes, of which there are none yet
        delta, at = decode_varint(data, at)
        byte = data[at]
        if byte < 128:
            place, at = (byte >> 1) ^ -(byte & 1), at + 1
        else:
            place, at = decode_varint(data, at)
        byte = data[at]
        if byte < 128:
            size, at = (byte >> 1) ^ -(byte & 1), at + 1
        else:
            size, at = decode_varint(data, at)
        key = None if size < 0 else data[at : at + size]
        at += max(size, 0)
        size, at = decode_varint(data, at)
        value = None if size < 0 else data[at : at + size]
        at += max(size, 0)
        count = data[at]
        headers: tuple[tuple[str, bytes | None], ...] = ()
        if count:
            headers, at = _headers(data, at)
        else:
            at += 1
        if at != end or end > len(data):
            raise ValueError(f"its length is {length}, its content ends at {at - end + length}")
        yield new(Message, (topic, partition, first + place, appended or since + delta, key, value, headers))


def _headers(data: bytes, at: int) -> tuple[tuple[tuple[str, bytes | None], ...], int]:
    """Headers from a position on, and the position behind them."""
    count, at = decode_varint(data, at)
    found: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        size, at = decode_varint(data, at)
        name = data[at : at + size].decode("utf-8", "backslashreplace")
        at += size
        size, at = decode_varint(data, at)
        found.append((name, None if size < 0 else data[at : at + size]))
        at += max(size, 0)
    return tuple(found), at
