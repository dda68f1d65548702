"""A bounded queue between serving and one background thread, on which no row is lost without being counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """Rows that wait, and rows that the thread has in hand; together never more than `capacity`.

    Every row ends in exactly one of three ways: `put` turned it away, the thread settled it, or it was given up.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._rows: deque[T] = deque()
        self._in_hand = 0
        self._given_up = False
        self._lock = threading.Lock()  # held for a few steps only, never while anything is awaited

    def __len__(self) -> int:
        """Rows that wait."""
        return len(self._rows)

    def put(self, rows: Sequence[T]) -> int:
        """Take in what fits; returns how many rows were turned away. Never waits."""
        with self._lock:
            room = 0 if self._given_up else self._capacity - len(self._rows) - self._in_hand
            self._rows.extend(rows if len(rows) <= room else rows[:room])
        return max(0, len(rows) - room)

    def take(self, most: int) -> list[T]:
        """Up to `most` rows, oldest first. The thread has them in hand until it settles them."""
        with self._lock:
            taken = list(islice(self._rows, most))
            if len(taken) == len(self._rows):
                self._rows.clear()
            else:
                for _ in taken:
                    self._rows.popleft()
            self._in_hand += len(taken)
        return taken

    def settle(self, rows: int) -> bool:
        """So many rows in hand have met their fate; False where they had been given up, and counted, before."""
        with self._lock:
            if self._given_up:
                return False
            self._in_hand -= rows
        return True

    def give_up(self) -> int:
        """Take in nothing any more; returns how many rows were left, those in hand included."""
        with self._lock:
            left = 0 if self._given_up else len(self._rows) + self._in_hand
            self._given_up = True
            self._rows.clear()
        return left
