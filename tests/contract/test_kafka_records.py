"""What is sent to a broker is what is read from it: whole, in order, at the same offsets, by either client."""

from __future__ import annotations

import threading
import time

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
)
from kafka_clients import (
    PATIENCE_SECONDS,
    READERS,
    SENDERS,
    Broker,
    Message,
    confluent_read,
    confluent_send,
    python_read,
    python_send,
    until,
)

pytestmark = pytest.mark.services

NOON = int(time.time() * 1000) - 3_600_000
"""Recent, for brokers drop what is older than their topics keep records."""
each_sender = pytest.mark.parametrize("sender", SENDERS)
each_reader = pytest.mark.parametrize("reader", READERS)


@each_sender
@each_reader
def test_a_record_comes_back_with_its_key_value_headers_and_time(broker: Broker, sender: str, reader: str) -> None:
    topic = broker.topic()
    sent = [
        Message(b"value", b"key", (("one", b"1"), ("two", b""), ("one", b"again")), NOON),
        Message(None, b"only a key", (), NOON + 1),
        Message(b"", None, (("of nothing", b"x"),), NOON - 5),
        Message("Zürich ⚽".encode() * 1000, b"\x00\xff", (), NOON + 2),
    ]
    assert SENDERS[sender](broker.servers, topic, sent) == [0, 1, 2, 3]
    assert READERS[reader](broker.servers, topic, 4) == sent


@each_sender
@each_reader
def test_the_order_within_a_partition_is_that_of_sending(broker: Broker, sender: str, reader: str) -> None:
    topic = broker.topic(partitions=3)
    sent = [Message(str(number).encode(), timestamp=NOON, partition=number % 3) for number in range(3000)]
    SENDERS[sender](broker.servers, topic, sent)
    found = READERS[reader](broker.servers, topic, 3000)
    for partition in range(3):
        mine = [one for one in found if one.partition == partition]
        assert mine == [one for one in sent if one.partition == partition]
        assert [one.offset for one in mine] == list(range(1000))


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_records_come_back(broker: Broker, codec: str) -> None:
    topic = broker.topic()
    sent = [Message(b"the same again " * 50, str(number).encode(), timestamp=NOON) for number in range(500)]
    confluent_send(broker.servers, topic, sent, **{"compression.type": codec, "linger.ms": 50})
    assert confluent_read(broker.servers, topic, 500) == sent


@each_reader
def test_records_that_kafka_python_compressed_come_back(broker: Broker, reader: str) -> None:
    topic = broker.topic()
    sent = [Message(b"the same again " * 50, str(number).encode(), timestamp=NOON) for number in range(500)]
    python_send(broker.servers, topic, sent, compression_type="gzip", linger_ms=50)
    assert READERS[reader](broker.servers, topic, 500) == sent


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_a_record_arrives_however_it_is_acknowledged(broker: Broker, acks: int | str) -> None:
    topic = broker.topic()
    sent = [Message(str(number).encode(), timestamp=NOON) for number in range(100)]
    python_send(broker.servers, topic, sent, acks=acks, enable_idempotence=acks == "all")
    assert python_read(broker.servers, topic, 100) == sent


@each_sender
@each_reader
def test_a_reader_can_begin_in_the_middle_of_a_batch(broker: Broker, sender: str, reader: str) -> None:
    topic = broker.topic()
    linger = {"linger_ms": 200} if sender == "kafka-python" else {"linger.ms": 200}
    sent = [Message(str(number).encode(), timestamp=NOON) for number in range(300)]
    SENDERS[sender](broker.servers, topic, sent, **linger)
    for offset in (0, 1, 37, 150, 298, 299):
        found = READERS[reader](broker.servers, topic, 300 - offset, {0: offset})
        assert found == sent[offset:]
        assert found[0].offset == offset


def test_offsets_are_told_for_the_beginning_the_end_and_a_time(broker: Broker) -> None:
    topic = broker.topic()
    times = [NOON + 10 * number for number in range(100)]
    python_send(broker.servers, topic, [Message(b"x", timestamp=one) for one in times], linger_ms=200)
    consumer = KafkaConsumer(bootstrap_servers=broker.servers)
    place = TopicPartition(topic, 0)
    try:
        assert consumer.beginning_offsets([place]) == {place: 0}
        assert consumer.end_offsets([place]) == {place: 100}
        for asked, offset in ((0, 0), (NOON, 0), (NOON + 1, 1), (NOON + 505, 51), (NOON + 990, 99)):
            answer = consumer.offsets_for_times({place: asked})[place]
            assert (answer.offset, answer.timestamp) == (offset, times[offset])
        assert consumer.offsets_for_times({place: NOON + 991})[place] is None
    finally:
        consumer.close()


def test_an_empty_partition_begins_and_ends_at_zero(broker: Broker) -> None:
    place = TopicPartition(broker.topic(), 0)
    consumer = KafkaConsumer(bootstrap_servers=broker.servers)
    try:
        assert consumer.beginning_offsets([place]) == consumer.end_offsets([place]) == {place: 0}
        assert consumer.offsets_for_times({place: 0})[place] is None
    finally:
        consumer.close()


@each_reader
def test_a_message_of_almost_a_mebibyte_is_kept_and_a_greater_one_is_refused(broker: Broker, reader: str) -> None:
    topic = broker.topic()
    producer = KafkaProducer(bootstrap_servers=broker.servers, max_request_size=4_000_000, acks="all")
    try:
        producer.send(topic, b"k" * 1_040_000).get(PATIENCE_SECONDS)
        with pytest.raises(MessageSizeTooLargeError):
            producer.send(topic, b"g" * 1_100_000).get(PATIENCE_SECONDS)
    finally:
        producer.close(5)
    python_send(broker.servers, topic, [Message(b"after")])
    assert [len(one.value or b"") for one in READERS[reader](broker.servers, topic, 2)] == [1_040_000, 5]


def test_a_timestamp_far_ahead_of_the_clock_is_refused(broker: Broker) -> None:
    topic = broker.topic()
    with pytest.raises(InvalidTimestampError):
        python_send(broker.servers, topic, [Message(b"x", timestamp=int(time.time() * 1000) + 2 * 3_600_000)])


def test_records_to_a_topic_that_is_not_there_are_refused_and_make_no_topic(
    broker: Broker, admin: KafkaAdminClient
) -> None:
    missing = broker.name()
    producer = KafkaProducer(bootstrap_servers=broker.servers, max_block_ms=2000)
    try:
        with pytest.raises(KafkaError):
            producer.send(missing, b"x").get(PATIENCE_SECONDS)
    finally:
        producer.close(1)
    assert missing not in admin.list_topics()


@pytest.mark.parametrize("offset", [1000, 3])
def test_a_reader_is_told_that_its_offset_is_not_there(broker: Broker, admin: KafkaAdminClient, offset: int) -> None:
    topic = broker.topic()
    place = TopicPartition(topic, 0)
    python_send(broker.servers, topic, [Message(b"x") for _ in range(10)])
    admin.delete_records({place: 5})
    consumer = KafkaConsumer(bootstrap_servers=broker.servers, auto_offset_reset="none", enable_auto_commit=False)
    try:
        consumer.assign([place])
        consumer.seek(place, offset)
        with pytest.raises(OffsetOutOfRangeError):
            until(lambda: consumer.poll(200))
    finally:
        consumer.close()


def test_deleted_records_are_gone_and_the_rest_keep_their_offsets(broker: Broker, admin: KafkaAdminClient) -> None:
    topic = broker.topic()
    place = TopicPartition(topic, 0)
    sent = [Message(str(number).encode(), timestamp=NOON) for number in range(20)]
    python_send(broker.servers, topic, sent)
    admin.delete_records({place: 15})
    consumer = KafkaConsumer(bootstrap_servers=broker.servers)
    try:
        assert consumer.beginning_offsets([place]) == {place: 15}
        assert consumer.end_offsets([place]) == {place: 20}
        assert consumer.offsets_for_times({place: NOON})[place].offset == 15
    finally:
        consumer.close()
    assert python_read(broker.servers, topic, 5, {0: 15}) == sent[15:]


def test_a_waiting_reader_is_answered_when_a_record_comes(broker: Broker) -> None:
    topic = broker.topic()
    place = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=broker.servers, fetch_max_wait_ms=200_000, request_timeout_ms=300_000)
    try:
        consumer.assign([place])
        consumer.seek(place, 0)
        assert not consumer.poll(1000)  # the broker now holds a request
        sending = threading.Thread(target=python_send, args=(broker.servers, topic, [Message(b"news")]))
        sending.start()
        found = consumer.poll(PATIENCE_SECONDS * 1000)
        sending.join()
        assert [one.value for one in found[place]] == [b"news"]
    finally:
        consumer.close()
