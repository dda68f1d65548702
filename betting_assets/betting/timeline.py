"""The order in which a rating may learn: what was known when each match had to be decided.

Time is counted in whole days, because many sources know only the date of a match. On any day every decision is read
before any result is learned, and all results of a day are learned from the same state: the one at its beginning.
Hence a read on day D sees exactly the results of days before D, and the order of rows within a day means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Days = NDArray[np.int64]
Rows = NDArray[np.intp]

NEVER = int(np.iinfo(np.int64).min)
"""The day of an event that does not happen; the integer value of numpy's NaT."""


@dataclass(frozen=True)
class Day:
    """One day: first serve `reads` from the state so far, then learn all of `updates` at once. Rows, ascending."""

    day: int
    reads: Rows
    updates: Rows


def timeline(decision_day: Days, result_day: Days) -> Iterator[Day]:
    """The days on which something happens, in order.

    decision_day  (n,) days since 1970 on which each match is decided, NEVER for a match without a decision
    result_day    (n,) days on which each result is learned, at the end of the day; NEVER for a match without a result
    """
    reads, updates = _by_day(decision_day), _by_day(result_day)
    nothing = np.empty(0, dtype=np.intp)
    for day in sorted(reads.keys() | updates.keys()):
        yield Day(day, reads.get(day, nothing), updates.get(day, nothing))


def _by_day(days: Days) -> dict[int, Rows]:
    rows = np.flatnonzero(days != NEVER)
    rows = rows[np.argsort(days[rows], kind="stable")]
    present, starts = np.unique(days[rows], return_index=True)
    return dict(zip(present.tolist(), np.split(rows, starts[1:]), strict=True)) if len(rows) else {}
