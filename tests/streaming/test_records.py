"""The lander's reader of record batches finds what the client's own reader finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder
from landings import send, wait_until

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import options
from betting_assets.streaming.landing.records import LeanRecords, Message, messages, read_leanly
from betting_assets.streaming.topics import ODDS_TICKS

TP = TopicPartition("t", 3)
RECORDS = st.lists(
    st.tuples(
        st.integers(0, 2**45),
        st.none() | st.binary(max_size=200),
        st.none() | st.binary(max_size=20_000),
        st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=300)), max_size=3),
    ),
    min_size=1,
    max_size=5,
)


def batch_of(records: list[Any], compression: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 1 << 30)
    for offset, (timestamp, key, value, headers) in enumerate(records):
        builder.append(offset, timestamp, key, value, headers)
    return bytes(builder.build())


def batches(data: bytes) -> Iterator[Any]:
    records = MemoryRecords(data)
    while (batch := records.next_batch()) is not None:
        yield batch


@given(RECORDS, st.sampled_from([0, 1]))
def test_every_record_is_read_as_the_client_reads_it(records: list[Any], compression: int) -> None:
    data = batch_of(records, compression)
    found = [one for batch in batches(data) for one in messages(batch, TP)]
    stock = [one for batch in batches(data) for one in batch]
    assert found == [
        Message("t", 3, one.offset, one.timestamp, one.key, one.value, tuple(one.headers)) for one in stock
    ]


def test_a_header_whose_name_is_no_text_blocks_nothing() -> None:
    data = batch_of([(1, b"k", b"v", [("nameX", b"x")])]).replace(b"nameX", b"name\xff")
    [found] = [one for batch in batches(data) for one in messages(batch, TP)]
    assert found.headers == (("name\\xff", b"x"),)


@given(st.integers(61, 200), st.integers(0, 255))
def test_a_record_that_is_none_is_said_to_be_damaged_and_nothing_else_breaks(place: int, byte: int) -> None:
    data = bytearray(batch_of([(1, b"key", b"value" * 20, [("name", b"x")])] * 2))
    data[min(place, len(data) - 1)] = byte
    one = LeanRecords(0, TP, MemoryRecords(bytes(data)), check_crcs=False)
    with suppress(CorruptRecordError):
        assert len(one.take()) <= 2


def test_a_damaged_batch_is_noticed() -> None:
    data = bytearray(batch_of([(1, b"key", b"value", [])]))
    data[-2] ^= 1
    with pytest.raises(CorruptRecordError, match="damaged"):
        LeanRecords(0, TP, MemoryRecords(bytes(data)), check_crcs=True).take()


@pytest.mark.services
def test_a_topic_is_read_as_the_client_reads_it_from_any_offset(stream_settings: Settings) -> None:
    send(stream_settings, [b"%d" % n * (n % 50 + 1) for n in range(400)], partition=0)
    send(stream_settings, [None, b"{}"], partition=0, headers=[("a", b"b")])
    topic = ODDS_TICKS.name(stream_settings)
    for start in (0, 1, 137, 401):
        stock = read(stream_settings, TopicPartition(topic, 0), start, lean=False)
        lean = read(stream_settings, TopicPartition(topic, 0), start, lean=True)
        assert [tuple(one) for one in lean] == [
            (topic, 0, one.offset, one.timestamp, one.key, one.value, tuple(one.headers)) for one in stock
        ]
        assert [one.offset for one in lean] == list(range(start, 402))


def read(settings: Settings, partition: TopicPartition, start: int, *, lean: bool) -> list[Any]:
    consumer = KafkaConsumer(**options(settings), isolation_level="read_committed", enable_auto_commit=False)
    consumer = read_leanly(consumer) if lean else consumer
    consumer.assign([partition])
    consumer.seek(partition, start)
    found: list[Any] = []

    def enough() -> bool:
        for some in consumer.poll(timeout_ms=200, max_records=37).values():
            found.extend(some)
        return len(found) >= 402 - start

    wait_until(enough)
    consumer.close(autocommit=False)
    return found


@pytest.mark.services
def test_what_a_transaction_took_back_is_not_read(stream_settings: Settings) -> None:
    confluent_kafka = pytest.importorskip("confluent_kafka")
    send(stream_settings, [b"before"], partition=0)
    topic = ODDS_TICKS.name(stream_settings)
    client = confluent_kafka.Producer(
        {"bootstrap.servers": stream_settings.kafka_servers, "transactional.id": topic, "log_level": 0}
    )
    try:
        client.init_transactions(5)
    except confluent_kafka.KafkaException as error:
        pytest.skip(f"the broker has no transactions: {error}")
    for value, end in ((b"aborted", client.abort_transaction), (b"committed", client.commit_transaction)):
        client.begin_transaction()
        client.produce(topic, value, partition=0)
        client.flush(10)
        end(10)
    send(stream_settings, [b"after"], partition=0)
    consumer = read_leanly(KafkaConsumer(**options(stream_settings), isolation_level="read_committed"))
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek(TopicPartition(topic, 0), 0)
    found: list[bytes] = []

    def enough() -> bool:
        found.extend(one.value for some in consumer.poll(timeout_ms=200).values() for one in some)
        return b"after" in found

    wait_until(enough)
    consumer.close(autocommit=False)
    assert found == [b"before", b"committed", b"after"]
