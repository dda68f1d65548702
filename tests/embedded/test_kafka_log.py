"""The development broker's log: whatever happens to the file, what is read is what was acknowledged, once, in order."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from betting_assets.embedded.broker.batches import header
from betting_assets.embedded.broker.codes import Code, Refused
from betting_assets.embedded.broker.configs import TopicConfig
from betting_assets.embedded.broker.open_files import OpenFiles
from betting_assets.embedded.broker.partition import Partition

HOUR_MS = 3_600_000
SMALL = TopicConfig({"segment.bytes": "1024"})


def batch_of(values: list[bytes], producer: int = -1, sequence: int = -1, timestamp: int | None = None) -> memoryview:
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=1_000_000)
    if producer >= 0:
        builder.set_producer_state(producer, 0, sequence, False)
    for value in values:
        builder.append(timestamp=timestamp or int(time.time() * 1000), key=None, value=value, headers=[])
    builder.close()
    return memoryview(bytes(builder.buffer()))


def records(partition: Partition, offset: int, most_bytes: int = 300) -> list[tuple[int, bytes]]:
    """(offset, value) of everything from `offset` on, read as a client does: little by little."""
    found: list[tuple[int, bytes]] = []
    while offset < partition.end:
        data = MemoryRecords(partition.read(offset, most_bytes))
        while (batch := data.next_batch()) is not None:
            found += [(one.offset, bytes(one.value)) for one in batch if one.offset >= offset]
        offset = found[-1][0] + 1
    return found


def opened(folder: Path, config: TopicConfig = SMALL) -> Partition:
    return Partition(folder, config, OpenFiles(2))


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6), cut=st.integers(0, 10_000), garbage=st.binary())
@settings(max_examples=60, deadline=None)
def test_a_torn_end_is_cut_and_every_whole_batch_before_it_is_kept(sizes: list[int], cut: int, garbage: bytes) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        partition = opened(folder, TopicConfig())
        ends, total = [0], 0
        for size in sizes:
            data = batch_of([b"value"] * size)
            partition.append(data)
            ends.append(ends[-1] + len(data))
            total += size
        log = next(folder.glob("*.log"))
        kept = cut % (ends[-1] + 1)
        log.write_bytes(log.read_bytes()[:kept] + garbage[:50])
        whole = sum(end <= kept for end in ends[1:])
        again = opened(folder, TopicConfig())
        assert again.end == sum(sizes[:whole])
        assert [offset for offset, _ in records(again, 0)] == list(range(again.end))
        assert again.append(batch_of([b"next"])) == again.end - 1
    finally:
        shutil.rmtree(folder)


def test_a_damaged_last_batch_is_not_served(tmp_path: Path) -> None:
    partition = opened(tmp_path)
    for value in (b"one", b"two"):
        partition.append(batch_of([value]))
    log = next(tmp_path.glob("*.log"))
    data = bytearray(log.read_bytes())
    data[-2] ^= 1
    log.write_bytes(data)
    assert records(opened(tmp_path), 0) == [(0, b"one")]


class LogModel(RuleBasedStateMachine):
    """A partition against a list: appends, repetitions, restarts, deletions, segments that roll, few open files."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.partition = opened(self.folder)
        self.kept: list[bytes] = []
        self.start = 0
        self.sequence = 0
        self.last: tuple[memoryview, int] | None = None

    @rule(values=st.lists(st.binary(max_size=200), min_size=1, max_size=4))
    def append(self, values: list[bytes]) -> None:
        batch = batch_of(values, producer=7, sequence=self.sequence)
        offset = self.partition.append(batch)
        assert offset == len(self.kept)
        self.last = batch, offset
        self.kept += values
        self.sequence += len(values)

    @precondition(lambda self: self.last is not None)
    @rule()
    def append_again(self) -> None:
        assert self.last is not None
        assert self.partition.append(self.last[0]) == self.last[1]

    @rule(gap=st.integers(1, 5))
    def append_after_a_gap(self, gap: int) -> None:
        if self.sequence:
            with pytest.raises(Refused) as refused:
                self.partition.append(batch_of([b"x"], producer=7, sequence=self.sequence + gap))
            assert refused.value.code is Code.OUT_OF_ORDER_SEQUENCE

    @rule()
    def restart(self) -> None:
        self.partition = opened(self.folder)

    @rule(share=st.floats(0, 1))
    def delete_before(self, share: float) -> None:
        offset = int(share * len(self.kept))
        self.partition.delete_before(offset)
        self.start = max(self.start, offset)

    @rule(share=st.floats(0, 1))
    def read_from(self, share: float) -> None:
        offset = self.start + int(share * (len(self.kept) - self.start))
        assert records(self.partition, offset) == list(enumerate(self.kept))[offset:]

    @invariant()
    def the_ends_are_known(self) -> None:
        assert (self.partition.start, self.partition.end) == (self.start, len(self.kept))

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


TestLogModel = LogModel.TestCase
TestLogModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("restarted", [False, True])
def test_records_older_than_the_retention_go_by_their_own_timestamps(tmp_path: Path, restarted: bool) -> None:
    config = TopicConfig({"segment.bytes": "1024", "retention.ms": str(HOUR_MS)})
    now = int(time.time() * 1000)
    partition = opened(tmp_path, config)
    for age_hours in (5, 4, 3, 0.5):
        partition.append(batch_of([b"x" * 900], timestamp=now - int(age_hours * HOUR_MS)))
    if restarted:
        partition = opened(tmp_path, config)
    partition.expire(now / 1000)
    assert (partition.start, partition.end) == (3, 4)
    assert len(list(tmp_path.glob("*.log"))) == 1
    partition.expire(now / 1000 + 3600)
    assert (partition.start, partition.end) == (4, 4)
    assert opened(tmp_path, config).end == 4


def test_the_oldest_segments_go_when_a_partition_grows_over_its_bytes(tmp_path: Path) -> None:
    partition = opened(tmp_path, TopicConfig({"segment.bytes": "1024", "retention.bytes": "2000"}))
    for _ in range(10):
        partition.append(batch_of([b"x" * 900]))
    partition.expire()
    kept = sum(path.stat().st_size for path in tmp_path.glob("*.log"))
    assert 2000 <= kept < 3100
    assert [offset for offset, _ in records(partition, partition.start)] == list(range(partition.start, 10))


@given(deltas=st.lists(st.integers(-5, 20), min_size=1, max_size=40), asked=st.integers(-50, 400))
@settings(max_examples=60, deadline=None)
def test_the_offset_for_a_time_is_the_first_record_not_older(deltas: list[int], asked: int) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        base, times = int(time.time() * 1000) - HOUR_MS, [0]
        partition = opened(folder)
        for delta in deltas:
            times.append(times[-1] + delta)
            partition.append(batch_of([b"x" * 100], timestamp=base + times[-1]))
        expected = next((offset for offset, one in enumerate(times[1:]) if one >= asked), None)
        for one in (partition, opened(folder)):
            found = one.first_at(base + asked)
            assert (found and found[1]) == expected
    finally:
        shutil.rmtree(folder)


def test_a_batch_keeps_its_checksum_when_it_is_given_an_offset(tmp_path: Path) -> None:
    partition = opened(tmp_path)
    sent = batch_of([b"value"])
    partition.append(sent)
    partition.append(sent)
    assert header(partition.read(1, 1000)).crc == header(sent).crc
