"""Messages of a match go where every other client of Kafka would send them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import DefaultPartitioner

from betting_assets.streaming.kafka import KeyPartitioner

OURS = KeyPartitioner()


def cluster(partitions: int) -> Any:
    numbers = set(range(partitions))
    return SimpleNamespace(
        topics=lambda: {"t"},
        partitions_for_topic=lambda _: numbers,
        available_partitions_for_topic=lambda _: numbers,
    )


@given(st.binary(max_size=40), st.integers(1, 64))
def test_a_key_goes_where_the_usual_partitioner_sends_it(key: bytes, partitions: int) -> None:
    for _ in range(2):  # worked out, and remembered
        wanted = DefaultPartitioner().partition("t", None, key, None, b"", cluster(partitions))
        assert OURS.partition("t", None, key, None, b"", cluster(partitions)) == wanted


def test_partitions_that_were_added_count_at_once() -> None:
    spread = {OURS.partition("t", None, str(n).encode(), None, b"", cluster(1)) for n in range(50)}
    wider = {OURS.partition("t", None, str(n).encode(), None, b"", cluster(8)) for n in range(50)}
    assert spread == {0}
    assert len(wider) == 8


def test_a_message_without_key_goes_to_any_partition() -> None:
    assert OURS.partition("t", None, None, None, b"", cluster(3)) in range(3)
