"""One file of a partition's log: batches one after the other, and where to find them."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

from betting_assets.embedded.broker import batches
from betting_assets.embedded.broker.batches import HEADER_BYTES, Batch
from betting_assets.embedded.broker.open_files import OpenFiles

INDEX_EVERY_BYTES = 16_384


class Segment:
    """Batches from the offset `base` on, in `<base>.log`.

    The index in memory has one entry for every 16 KiB of the file.
    """

    def __init__(self, folder: Path, base: int, files: OpenFiles) -> None:
        self.path = folder / f"{base:020d}.log"
        self.base = base
        self.end = base
        self.size = 0
        self.newest = -1
        self._files = files
        self._indexed = True
        self._noted = -1  # the newest timestamp up to here
        self._offsets, self._positions, self._newest_before = array("q"), array("q"), array("q")

    def recover(self, seen: Callable[[Batch], None]) -> int:
        """Read the file, cut off what is not a whole batch (we were killed while writing it); returns bytes cut."""
        there = os.fstat(self._files.descriptor(self.path)).st_size
        self._forget_index()
        self.size, self.end, self.newest = 0, self.base, -1
        while self.size + HEADER_BYTES <= there:
            batch = batches.header(self._bytes(self.size, HEADER_BYTES))
            if batch.base != self.end or batch.size < HEADER_BYTES or self.size + batch.size > there:
                break
            if not batches.is_whole(batch, self._bytes(self.size, batch.size)):
                break
            self._count(batch)
            seen(batch)
        os.ftruncate(self._files.descriptor(self.path), self.size)
        return there - self.size

    def sealed(self, end: int, newest: int) -> None:
        """Take over what is known of a file that is complete, without reading it."""
        self.size = self.path.stat().st_size
        self.end, self.newest = end, newest
        self._indexed = False

    def append(self, batch: Batch, data: bytearray) -> None:
        """Raises OSError; nothing is then written."""
        self._files.write(self.path, data, self.size)
        self._count(batch)

    def read(self, offset: int, most_bytes: int) -> bytes:
        """Whole batches from the one that holds `offset`; the last may be cut off, the first never is."""
        at, batch = next((at, batch) for at, batch in self._walk(self._position(offset)) if batch.end > offset)
        return self._bytes(at, min(max(most_bytes, batch.size), self.size - at))

    def first_at(self, timestamp: int) -> tuple[int, int] | None:
        """(timestamp, offset) of the first record that is not older than `timestamp`."""
        if self.newest < timestamp:
            return None
        self._index()
        entry = max(0, bisect_left(self._newest_before, timestamp) - 1)
        for at, batch in self._walk(self._positions[entry]):
            if batch.newest >= timestamp and (found := batches.first_at(self._bytes(at, batch.size), timestamp)):
                return found
        return None

    def create(self) -> None:
        """Make the file, so that a start finds it."""
        self._files.descriptor(self.path)

    def sync(self) -> None:
        self._files.sync(self.path)

    def delete(self) -> None:
        self._files.forget(self.path)
        self.path.unlink(missing_ok=True)

    def _bytes(self, at: int, count: int) -> bytes:
        return os.pread(self._files.descriptor(self.path), count, at)

    def _walk(self, at: int) -> Iterator[tuple[int, Batch]]:
        while at < self.size:
            batch = batches.header(self._bytes(at, HEADER_BYTES))
            yield at, batch
            at += batch.size

    def _count(self, batch: Batch) -> None:
        self._note(self.size, batch)
        self.size += batch.size
        self.end = batch.end
        self.newest = max(self.newest, batch.newest)

    def _note(self, at: int, batch: Batch) -> None:
        if not self._positions or at - self._positions[-1] >= INDEX_EVERY_BYTES:
            self._offsets.append(batch.base)
            self._positions.append(at)
            self._newest_before.append(self._noted)
        self._noted = max(self._noted, batch.newest)

    def _position(self, offset: int) -> int:
        self._index()
        return self._positions[max(0, bisect_right(self._offsets, offset) - 1)]

    def _index(self) -> None:
        """A sealed file of an earlier start is indexed when it is first read."""
        if self._indexed:
            return
        self._forget_index()
        for at, batch in self._walk(0):
            self._note(at, batch)

    def _forget_index(self) -> None:
        self._offsets, self._positions, self._newest_before = array("q"), array("q"), array("q")
        self._noted = -1
        self._indexed = True
