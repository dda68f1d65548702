"""What need not be waited for, in a thread of its own: features to the stores, and checkpoints.

Predictions go out first; the stores follow some milliseconds later with the newest row of each match. A checkpoint is
written only when everything before it is out: features pushed, predictions acknowledged by the broker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from kafka import TopicPartition

from betting_assets.streaming.scoring.checkpoint import Changed, Move, save

PUSH_SECONDS = 0.05
"""Least time from one push to the next: what comes in between is pushed together, only the newest row of each match."""

REST, LONGEST_REST = 3.0, 0.25
"""How much longer than at work the thread rests, and the most seconds: the thread that scores needs the processor."""

Rows = Mapping[str, tuple[Any, ...]]
"""Rows of the view match_market by match, see `feature_repo.push_rows.Row`."""


@dataclass(frozen=True)
class _Checkpoint:
    changed: Changed
    moves: Mapping[TopicPartition, Move]


class Keeper:
    """One thread. What goes wrong in it is raised by `check` and `settle`; nothing is kept after that.

    Args:
        conn: for checkpoints, this thread's alone (autocommit).
        push: writes feature rows to the stores.
        flush: waits until the broker has every prediction.
        refresh: reads what the store says of matches anew.
    """

    def __init__(
        self,
        conn: psycopg.Connection,
        push: Callable[[Rows], object],
        flush: Callable[[], None],
        refresh: Callable[[Sequence[str]], object],
    ) -> None:
        self._conn, self._push, self._flush, self._refresh = conn, push, flush, refresh
        self._changes = threading.Condition()
        self._rows: dict[str, tuple[Any, ...]] = {}
        self._old: dict[str, None] = {}
        self._checkpoint: _Checkpoint | None = None
        self._busy = self._closing = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether the last checkpoint is written."""
        return self._checkpoint is None

    def put(self, rows: Rows) -> None:
        """Hand over features; a later row of a match takes the place of an earlier one."""
        with self._changes:
            self._rows.update(rows)
            self._changes.notify()

    def refresh(self, match_ids: Sequence[str]) -> None:
        """Have these matches read again."""
        with self._changes:
            self._old.update(dict.fromkeys(match_ids))
            self._changes.notify()

    def checkpoint(self, changed: Changed, moves: Mapping[TopicPartition, Move]) -> None:
        """Have this written once all that was handed over and sent before is out. Only while `is_idle`."""
        with self._changes:
            assert self._checkpoint is None
            self._checkpoint = _Checkpoint(changed, moves)
            self._changes.notify()

    def check(self) -> None:
        """Raises what ended the thread."""
        if self._error is not None:
            raise self._error

    def settle(self, seconds: float) -> None:
        """Wait until everything is written. Raises what ended the thread, or TimeoutError."""
        with self._changes:
            done = self._changes.wait_for(lambda: self._error is not None or not self._has_work(), seconds)
        self.check()
        if not done:
            raise TimeoutError(f"a checkpoint took longer than {seconds:.0f} s")

    def close(self) -> None:
        """End the thread after what it has in hand; the rest is left."""
        with self._changes:
            self._closing = True
            self._changes.notify()
        self._thread.join()

    def _has_work(self) -> bool:
        return self._busy or bool(self._rows or self._old or self._checkpoint)

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except Exception as error:  # noqa: BLE001 the thread that scores raises it
            self._error = error
        finally:
            with self._changes:
                self._busy = False
                self._changes.notify_all()

    def _turn(self) -> bool:
        with self._changes:
            self._busy = False
            self._changes.notify_all()
            self._changes.wait_for(lambda: self._closing or self._has_work())
            if self._closing:
                return False
            self._busy = True
            rows, self._rows = self._rows, {}
            old, self._old = self._old, {}
            checkpoint = self._checkpoint
        began = time.monotonic()
        if rows:
            self._push(rows)
        if old:
            self._refresh(list(old))
        if checkpoint is not None:
            self._flush()
            save(self._conn, checkpoint.changed, checkpoint.moves)
            self._checkpoint = None
        took = time.monotonic() - began
        with self._changes:
            self._changes.wait_for(lambda: self._closing, max(PUSH_SECONDS - took, min(REST * took, LONGEST_REST)))
        return True
