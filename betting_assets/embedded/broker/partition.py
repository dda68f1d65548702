"""One partition: its log in segments, who wrote to it, and who waits for more."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from betting_assets.embedded.broker import batches
from betting_assets.embedded.broker.codes import Code, Refused
from betting_assets.embedded.broker.configs import TopicConfig
from betting_assets.embedded.broker.files import read_json, write_json
from betting_assets.embedded.broker.open_files import OpenFiles
from betting_assets.embedded.broker.producers import Producers
from betting_assets.embedded.broker.segment import Segment

log = logging.getLogger(__name__)

MOST_AHEAD_SECONDS = 3600
"""Apache Kafka's default of message.timestamp.after.max.ms."""


class Partition:
    """A folder with segments. A segment that is complete has `<base>.sealed` beside it: its end, its newest
    timestamp and the producers as they were then, so that a start reads the last segment only.

    Attributes:
        start: the first offset that is still kept.
        written: bytes since the broker was started.
        closed: its topic was deleted.
    """

    def __init__(self, folder: Path, config: TopicConfig, files: OpenFiles) -> None:
        self.config = config
        self.written = 0
        self.closed = False
        self._folder = folder
        self._files = files
        self._producers = Producers()
        self._waiting: set[asyncio.Event] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self._segments = self._found()
        self.start = min(max(read_json(folder / "start") or 0, self._segments[0].base), self.end)

    @property
    def end(self) -> int:
        """The offset that the next record gets."""
        return self._last.end

    def append(self, data: memoryview) -> int:
        """Keep a batch as it came; returns its offset, also when it was kept before.

        Raises:
            Refused: see there; nothing was kept.
        """
        batch = batches.received(data, self.config.max_message_bytes)
        if (kept := self._producers.kept_at(batch)) is not None:
            return kept
        if batch.newest > (time.time() + MOST_AHEAD_SECONDS) * 1000:
            raise Refused(Code.INVALID_TIMESTAMP, "a timestamp is more than an hour ahead of the clock")
        batch = batch._replace(base=self.end)
        placed = bytearray(data)
        batches.place(placed, batch.base)
        try:
            if self._last.size and self._last.size + len(placed) > self.config.segment_bytes:
                self._roll()
            self._last.append(batch, placed)
        except OSError as error:
            log.error("cannot write to %s: %s", self._folder, error.strerror)
            raise Refused(Code.STORAGE_ERROR, f"the broker cannot write: {error.strerror}") from error
        self._producers.add(batch)
        self.written += len(placed)
        self.wake()
        return batch.base

    def read(self, offset: int, most_bytes: int) -> bytes:
        """Whole batches from the one that holds `offset`; the last may be cut off. Empty at the end.

        Raises:
            Refused: the offset is not kept, or not there yet.
        """
        if not self.start <= offset <= self.end:
            raise Refused(Code.OFFSET_OUT_OF_RANGE)
        if offset == self.end:
            return b""
        holding = next(one for one in reversed(self._segments) if one.base <= offset)
        return holding.read(offset, most_bytes)

    def first_at(self, timestamp: int) -> tuple[int, int] | None:
        """(timestamp, offset) of the first record kept that is not older than `timestamp`."""
        found = (one.first_at(timestamp) for one in self._segments)
        first = next((one for one in found if one is not None), None)
        return first if first is None or first[1] >= self.start else (first[0], self.start)

    def delete_before(self, offset: int) -> int:
        """Drop what is older than `offset` (-1: everything); returns the new start.

        Raises:
            Refused: no such offset.
        """
        offset = self.end if offset == -1 else offset
        if not 0 <= offset <= self.end:
            raise Refused(Code.OFFSET_OUT_OF_RANGE)
        if offset > self.start:
            write_json(self._folder / "start", offset)
            self.start = offset
            self._drop(sum(one.end <= offset for one in self._segments[:-1]))
        return self.start

    def expire(self, now: float | None = None) -> None:
        """Drop segments that are older than the topic keeps records, by the records' own timestamps, or too many."""
        milliseconds = (time.time() if now is None else now) * 1000
        count = 0
        if self.config.retention_ms >= 0:
            old = milliseconds - self.config.retention_ms
            if self._last.size and all(one.newest < old for one in self._segments):
                self._roll()
            while count < len(self._segments) - 1 and self._segments[count].newest < old:
                count += 1
        if self.config.retention_bytes >= 0:
            kept = sum(one.size for one in self._segments[count:])
            while count < len(self._segments) - 1 and kept - self._segments[count].size >= self.config.retention_bytes:
                kept -= self._segments[count].size
                count += 1
        self._drop(count)

    def watch(self, event: asyncio.Event) -> None:
        """Set `event` whenever there is more, or this partition is deleted."""
        self._waiting.add(event)

    def unwatch(self, event: asyncio.Event) -> None:
        self._waiting.discard(event)

    def wake(self) -> None:
        for event in self._waiting:
            event.set()

    def close(self) -> None:
        """For a partition that is about to be deleted."""
        for segment in self._segments:
            self._files.forget(segment.path)
        self.closed = True
        self.wake()

    @property
    def _last(self) -> Segment:
        return self._segments[-1]

    def _found(self) -> list[Segment]:
        bases = sorted(int(path.stem) for path in self._folder.glob("*.log")) or [0]
        segments = [Segment(self._folder, base, self._files) for base in bases]
        for segment in segments:
            kept = read_json(self._seal(segment)) if segment is not segments[-1] else None
            if kept is not None:
                segment.sealed(kept["end"], kept["newest"])
                self._producers = Producers.from_json(kept["producers"])
            elif (cut := segment.recover(self._producers.add)) > 0:
                log.warning("%s: %d bytes of an unfinished write were cut off", segment.path, cut)
        return segments

    def _roll(self) -> None:
        self._last.sync()
        kept = {"end": self.end, "newest": self._last.newest, "producers": self._producers.as_json()}
        write_json(self._seal(self._last), kept)
        self._segments.append(Segment(self._folder, self.end, self._files))
        self._last.create()

    def _drop(self, count: int) -> None:
        for segment in self._segments[:count]:
            segment.delete()
            self._seal(segment).unlink(missing_ok=True)
        if count:
            self._segments = self._segments[count:]
            self.start = max(self.start, self._segments[0].base)

    @staticmethod
    def _seal(segment: Segment) -> Path:
        return segment.path.with_suffix(".sealed")
