"""The log file of one service: one older generation kept, bounded while it grows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 20 * 1024 * 1024
TAIL_BYTES = 16 * 1024


class ServiceLog:
    """`path` and `path`.1, each of `most_bytes` or little more.

    The service writes to the file itself, not to a pipe of ours, so that it outlives us and its last words are kept.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._old = path.with_name(path.name + ".1")
        self._most_bytes = most_bytes

    def begin(self) -> None:
        """A new file; what the last start wrote is kept as .1."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self.path.replace(self._old)

    def open(self) -> BinaryIO:
        """For the service's output; appending, so that it goes on at the beginning of a file that was cut."""
        return self.path.open("ab")

    def bound(self) -> None:
        """Move a full file's content to .1. What is written in that moment may be lost."""
        if self.path.stat().st_size > self._most_bytes:
            shutil.copyfile(self.path, self._old)
            os.truncate(self.path, 0)

    def gist(self, lines: int = 3) -> str:
        """The last `lines` lines that are not empty, in one line."""
        with self.path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = file.read().decode(errors="replace")
        written = [line.strip() for line in text.splitlines() if line.strip()]
        return " | ".join(written[-lines:]) or "(nothing was logged)"
