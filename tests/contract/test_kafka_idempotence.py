"""A batch that a producer sends again, because the answer was lost, is acknowledged and kept once."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

import pytest
from kafka.protocol.producer import InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka_clients import Broker, python_read, until

pytestmark = pytest.mark.services

OK, CORRUPT_MESSAGE, OUT_OF_ORDER_SEQUENCE, INVALID_PRODUCER_EPOCH = 0, 2, 45, 47
VERSION = 8


class Wire:
    """A connection on which requests are written by hand."""

    def __init__(self, servers: str) -> None:
        host, port = servers.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=60)

    def send(self, request: Any, version: int) -> None:
        request.API_VERSION = version
        request.with_header(correlation_id=1)
        self._socket.sendall(request.encode(header=True, framed=True))

    def ask(self, request: Any, version: int, kind: Any) -> Any:
        self.send(request, version)
        (size,) = struct.unpack(">i", self._socket.recv(4, socket.MSG_WAITALL))
        return kind.decode(self._socket.recv(size, socket.MSG_WAITALL), version=version, header=True)

    def new_producer(self) -> int:
        """A broker that has just started may have none yet; it says so, and clients ask again."""
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)

        def told() -> Any:
            answer = self.ask(request, 1, InitProducerIdResponse)
            return answer if answer.error_code == OK else None

        return int(until(told).producer_id)

    def produce(self, topic: str, batch: bytes) -> tuple[int, int]:
        """Returns (error code, offset)."""
        told = self.ask(produce_request(topic, batch), VERSION, ProduceResponse)
        answer = told.responses[0].partition_responses[0]
        return answer.error_code, answer.base_offset

    def close(self) -> None:
        self._socket.close()


def produce_request(topic: str, batch: bytes) -> ProduceRequest:
    data = ProduceRequest.TopicProduceData
    part = data.PartitionProduceData(index=0, records=batch)
    return ProduceRequest(
        transactional_id=None, acks=-1, timeout_ms=30_000, topic_data=[data(name=topic, partition_data=[part])]
    )


def batch_of(producer: int, sequence: int, *values: bytes, epoch: int = 0) -> bytes:
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=1_000_000)
    builder.set_producer_state(producer, epoch, sequence, False)
    for value in values:
        builder.append(timestamp=int(time.time() * 1000), key=None, value=value, headers=[])
    builder.close()
    return bytes(builder.buffer())


@pytest.fixture
def wire(broker: Broker) -> Any:
    connection = Wire(broker.servers)
    yield connection
    connection.close()


def test_a_batch_whose_answer_was_lost_is_kept_once(broker: Broker, wire: Wire) -> None:
    topic, producer = broker.topic(), wire.new_producer()
    batch = batch_of(producer, 0, b"a", b"b")
    lost = Wire(broker.servers)
    lost.send(produce_request(topic, batch), VERSION)
    lost.close()  # without reading the answer; whether the broker kept it, we cannot know
    assert wire.produce(topic, batch) == (OK, 0)
    assert wire.produce(topic, batch) == (OK, 0)
    assert wire.produce(topic, batch_of(producer, 2, b"c")) == (OK, 2)
    assert [one.value for one in python_read(broker.servers, topic, 3)] == [b"a", b"b", b"c"]


def test_any_of_the_last_five_batches_may_come_again(broker: Broker, wire: Wire) -> None:
    topic, producer = broker.topic(), wire.new_producer()
    batches = [batch_of(producer, number, str(number).encode()) for number in range(5)]
    assert [wire.produce(topic, batch) for batch in batches] == [(OK, number) for number in range(5)]
    assert [wire.produce(topic, batch) for batch in batches] == [(OK, number) for number in range(5)]
    assert wire.produce(topic, batch_of(producer, 5, b"5")) == (OK, 5)


def test_a_batch_after_a_missing_one_is_refused(broker: Broker, wire: Wire) -> None:
    topic, producer = broker.topic(), wire.new_producer()
    assert wire.produce(topic, batch_of(producer, 0, b"a")) == (OK, 0)
    assert wire.produce(topic, batch_of(producer, 2, b"c"))[0] == OUT_OF_ORDER_SEQUENCE
    assert wire.produce(topic, batch_of(producer, 1, b"b")) == (OK, 1)


def test_a_producer_of_an_older_epoch_is_refused(broker: Broker, wire: Wire) -> None:
    topic, producer = broker.topic(), wire.new_producer()
    assert wire.produce(topic, batch_of(producer, 0, b"a", epoch=1)) == (OK, 0)
    assert wire.produce(topic, batch_of(producer, 1, b"b", epoch=0))[0] == INVALID_PRODUCER_EPOCH
    assert wire.produce(topic, batch_of(producer, 0, b"c", epoch=2)) == (OK, 1)


def test_producers_do_not_disturb_each_other(broker: Broker, wire: Wire) -> None:
    topic = broker.topic()
    one, two = wire.new_producer(), wire.new_producer()
    assert one != two
    assert wire.produce(topic, batch_of(one, 0, b"a")) == (OK, 0)
    assert wire.produce(topic, batch_of(two, 0, b"b")) == (OK, 1)
    assert wire.produce(topic, batch_of(one, 0, b"a")) == (OK, 0)


def test_a_damaged_batch_is_refused_and_nothing_of_it_is_kept(broker: Broker, wire: Wire) -> None:
    topic = broker.topic()
    batch = bytearray(batch_of(-1, -1, b"whole"))
    batch[-3] ^= 0x01
    assert wire.produce(topic, bytes(batch))[0] == CORRUPT_MESSAGE
    assert wire.produce(topic, batch_of(-1, -1, b"after")) == (OK, 0)
    assert [one.value for one in python_read(broker.servers, topic, 1)] == [b"after"]
