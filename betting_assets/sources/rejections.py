"""What was left out of one file, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from betting_assets.sources.batch import frame
from betting_assets.sources.table import Row

_CONTENT_LENGTH = 500


class Rejection(NamedTuple):
    row: Row
    reason: str


@dataclass
class Rejections:
    """The rows and cells of one file that were left out."""

    file: str
    entries: list[Rejection] = field(default_factory=list)

    def add(self, row: Row, reason: str) -> None:
        self.entries.append(Rejection(row, reason))

    def first(self) -> str:
        return (
            f"line {self.entries[0].row.line}: {self.entries[0].reason}" if self.entries else "no row below the header"
        )

    def frame(self) -> pd.DataFrame:
        """The entries in order of lines. NUL, which PostgreSQL cannot store, becomes U+FFFD."""
        entries = sorted(self.entries, key=lambda entry: entry.row.line)
        return frame(
            "rejected",
            {
                "file": [self.file] * len(entries),
                "line": [entry.row.line for entry in entries],
                "reason": [_storable(entry.reason) for entry in entries],
                "content": [_storable(entry.row.text) for entry in entries],
            },
        )


def _storable(text: str) -> str:
    return text[:_CONTENT_LENGTH].replace("\x00", "\ufffd")
