"""A process that writes the same keys as others do, in an order of its own: `test_contract_writers` starts it."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from feast.types import Float64
from invented_stores import NOON, SECOND, Opened, Row, opened, repo_config, row, view_of

VIEW = view_of(writer=Float64, turn=Float64)
KEYS = [f"{i}" for i in range(60)]
TURNS = 25


def rows_of(writer: int, turn: int, order: random.Random) -> list[Row]:
    """A row for every key in any order. The event times of all writers are mixed, and no two are equal."""
    keys = order.sample(KEYS, len(KEYS))
    moment = (turn * 7_919 + writer * 104_729) % 100_003
    return [row(key, NOON + moment * SECOND, NOON, writer=float(writer), turn=float(turn)) for key in keys]


def newest(writers: int) -> tuple[float, float]:
    """Writer and turn of the row that must be left of all."""
    turns = [(writer, turn) for writer in range(writers) for turn in range(TURNS)]
    return max(turns, key=lambda pair: rows_of(*pair, random.Random(0))[0][2])


def write_all(store: Opened, writer: int) -> None:
    order = random.Random(writer)
    for turn in range(TURNS):
        store.write(VIEW, *rows_of(writer, turn, order))


def main() -> None:
    """Reads what to open, says that it is ready, waits for a line and writes."""
    kind, url, schema, folder, writer = json.loads(sys.stdin.readline())
    store = opened(kind, repo_config(kind, url, schema, Path(folder)))
    store.read(VIEW, KEYS[0])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    write_all(store, writer)
    store.close()
