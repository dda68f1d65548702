"""The offsets that consumer groups have committed: a journal that is written again when most of it is outdated."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from betting_assets.embedded.broker.open_files import OpenFiles

MOST_OUTDATED = 10_000


class Place(NamedTuple):
    group: str
    topic: str
    partition: int


class Position(NamedTuple):
    offset: int
    metadata: str


class Committed:
    """Line by line: where, and the position there; null where it was deleted. A last line without its end is cut."""

    def __init__(self, folder: Path, files: OpenFiles) -> None:
        self._path = folder / "committed.jsonl"
        self._files = files
        self._positions: dict[Place, Position] = {}
        self._lines = 0
        self._size = 0
        self._load()

    def of(self, group: str) -> dict[Place, Position]:
        return {place: position for place, position in self._positions.items() if place.group == group}

    def groups(self) -> set[str]:
        return {place.group for place in self._positions}

    def commit(self, positions: dict[Place, Position]) -> None:
        """Raises OSError; nothing is then committed."""
        self._write(positions.items())
        self._positions |= positions

    def delete(self, places: Iterable[Place]) -> None:
        gone = [place for place in places if place in self._positions]
        self._write((place, None) for place in gone)
        for place in gone:
            del self._positions[place]

    def delete_topic(self, topic: str) -> None:
        self.delete([place for place in self._positions if place.topic == topic])

    def _write(self, entries: Iterable[tuple[Place, Position | None]]) -> None:
        if self._lines > MOST_OUTDATED + 2 * len(self._positions):
            self._compact()
        lines = [json.dumps([place, position]) for place, position in entries]
        data = "".join(line + "\n" for line in lines).encode()
        if data:
            self._files.write(self._path, data, self._size)
            self._size += len(data)
            self._lines += len(lines)

    def _load(self) -> None:
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        self._size = data.rfind(b"\n") + 1
        os.truncate(self._path, self._size)
        for line in data[: self._size].splitlines():
            place, position = json.loads(line)
            self._lines += 1
            if position is None:
                self._positions.pop(Place(*place), None)
            else:
                self._positions[Place(*place)] = Position(*position)

    def _compact(self) -> None:
        new = self._path.with_suffix(".new")
        lines = [json.dumps(entry) for entry in self._positions.items()]
        new.write_text("".join(line + "\n" for line in lines))
        self._files.forget(self._path)
        new.replace(self._path)
        self._size, self._lines = self._path.stat().st_size, len(lines)
        self._files.sync(self._path)
