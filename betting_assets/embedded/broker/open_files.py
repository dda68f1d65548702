"""Few open files for many logs, and what they have not yet put on the disk."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from pathlib import Path

MOST_OPEN = 256


class OpenFiles:
    """Descriptors by path; the one unused for longest is closed when there are too many."""

    def __init__(self, most: int = MOST_OPEN) -> None:
        self._most = most
        self._open: OrderedDict[Path, int] = OrderedDict()
        self._unsynced: set[Path] = set()

    def descriptor(self, path: Path) -> int:
        """Open for reading and writing, made when missing. Use it at once: a later call may close it."""
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        if len(self._open) >= self._most:
            os.close(self._open.popitem(last=False)[1])
        self._open[path] = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        return self._open[path]

    def write(self, path: Path, data: bytes | bytearray, at: int) -> None:
        """Write all of it, or leave the file as it was.

        Raises:
            OSError: the disk is full, for example.
        """
        descriptor = self.descriptor(path)
        try:
            written = os.pwrite(descriptor, data, at)
            while written < len(data):
                written += os.pwrite(descriptor, memoryview(data)[written:], at + written)
        except OSError:
            os.ftruncate(descriptor, at)
            raise
        self._unsynced.add(path)

    def forget(self, path: Path) -> None:
        """Close it, for a file that goes away."""
        self._unsynced.discard(path)
        if (descriptor := self._open.pop(path, None)) is not None:
            os.close(descriptor)

    def sync(self, path: Path) -> None:
        """Put what was written on the disk, now."""
        os.fsync(self.descriptor(path))
        self._unsynced.discard(path)

    async def sync_all(self) -> None:
        """Put everything that was written on the disk, without holding up the loop. Raises OSError."""
        for path in list(self._unsynced):
            if path not in self._unsynced:
                continue  # deleted meanwhile
            copy = os.dup(self.descriptor(path))  # ours may be closed meanwhile
            self._unsynced.discard(path)  # what is written from here on is for the next time
            try:
                await asyncio.to_thread(os.fsync, copy)
            except OSError:
                self._unsynced.add(path)
                raise
            finally:
                os.close(copy)

    def close(self) -> None:
        """Put everything on the disk and close."""
        for path in list(self._unsynced):
            self.sync(path)
        for path in list(self._open):
            self.forget(path)
