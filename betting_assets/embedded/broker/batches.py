"""Record batches (format 2) as the broker sees them: a header that it reads, and records that it does not."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from kafka.errors import UnsupportedCodecError
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import calc_crc32c

from betting_assets.embedded.broker.codes import Code, Refused

_HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES = _HEADER.size
_BEFORE_LENGTH = 12
_CRC_FROM = 21
_MAGIC_AT = 16
_FORMAT = 2
_TRANSACTIONAL_OR_CONTROL = 0b11_0000


class Batch(NamedTuple):
    """The header. The first two fields, the leader's epoch and the magic are outside of the checksum."""

    base: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_delta: int
    first_timestamp: int
    newest: int
    producer: int
    producer_epoch: int
    sequence: int
    records: int

    @property
    def size(self) -> int:
        """Of the whole batch, in bytes."""
        return self.length + _BEFORE_LENGTH

    @property
    def end(self) -> int:
        """The offset after its last record."""
        return self.base + self.last_delta + 1

    @property
    def last_sequence(self) -> int:
        return (self.sequence + self.last_delta) & 0x7FFF_FFFF


def header(data: bytes | bytearray | memoryview, at: int = 0) -> Batch:
    return Batch._make(_HEADER.unpack_from(data, at))


def is_whole(batch: Batch, data: bytes | bytearray | memoryview) -> bool:
    """Whether `data` is this batch, complete and undamaged."""
    if batch.magic != _FORMAT or batch.size != len(data) or batch.last_delta < 0:
        return False
    return int(calc_crc32c(memoryview(data)[_CRC_FROM:])) == batch.crc


def received(data: memoryview, most_bytes: int) -> Batch:
    """The header of what a producer sent: exactly one whole batch.

    Raises:
        Refused: it is no batch that we can keep.
    """
    if len(data) > _MAGIC_AT and data[_MAGIC_AT] != _FORMAT:
        raise Refused(Code.UNSUPPORTED_FOR_MESSAGE_FORMAT)
    if len(data) < HEADER_BYTES:
        raise Refused(Code.CORRUPT_MESSAGE)
    if len(data) > most_bytes:
        raise Refused(Code.MESSAGE_TOO_LARGE, f"a batch of {len(data)} bytes; max.message.bytes is {most_bytes}")
    batch = header(data)
    if not is_whole(batch, data):
        raise Refused(Code.CORRUPT_MESSAGE)
    if batch.records != batch.last_delta + 1 or batch.attributes & _TRANSACTIONAL_OR_CONTROL:
        raise Refused(Code.INVALID_RECORD, "transactions are not supported by the development broker")
    return batch


def place(data: bytearray, base: int) -> None:
    """Give a received batch its offset."""
    struct.pack_into(">q", data, 0, base)
    struct.pack_into(">i", data, _BEFORE_LENGTH, 0)


def first_at(data: bytes, timestamp: int) -> tuple[int, int] | None:
    """(timestamp, offset) of the first record of a batch that is not older than `timestamp`.

    It is that of the batch where the records are compressed in a way that this Python cannot read.
    """
    batch = header(data)
    try:
        for record in _records(data):
            if record[0] >= timestamp:
                return record
    except UnsupportedCodecError:
        return batch.newest, batch.base
    return None


def _records(data: bytes) -> Iterator[tuple[int, int]]:
    for record in DefaultRecordBatch(data):
        yield record.timestamp, record.offset
