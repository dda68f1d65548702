"""When the events of a recording are told again: with their spacing, faster, or as fast as possible."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from betting_assets.sources.feed import Event

MAX = 0.0
"""The speed that waits for nothing."""


@dataclass(frozen=True)
class Pacer:
    """`speed` divides the time between two events; `max_gap` seconds is the longest that is waited for one.

    What publishing takes counts as waited, so that a replay does not fall behind by it. Events that are out of order
    are told at once.
    """

    speed: float = MAX
    max_gap: float | None = None
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def pace(self, events: Iterable[Event]) -> Iterator[Event]:
        due, newest = self.now(), dt.datetime.min.replace(tzinfo=dt.UTC)
        first = True
        for event in events:
            if self.speed > 0 and not first and event.at > newest:
                due = self._wait(due, (event.at - newest).total_seconds() / self.speed)
            first = False
            newest = max(newest, event.at)
            yield event

    def _wait(self, due: float, gap: float) -> float:
        """Sleep until the next moment; returns it."""
        due += gap if self.max_gap is None else min(gap, self.max_gap)
        if (left := due - self.now()) > 0:
            self.sleep(left)
        return due
