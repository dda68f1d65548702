"""Scores rows together with those of the other requests of this moment, and refuses work that could only wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from bentos.match_odds.errors import Overloaded
from bentos.match_odds.model.rows import ModelRow, RowAnswer

MAX_BATCH = 64


class Batcher:
    """Counts what waits, and sheds above a bound.

    Args:
        submit: the way into the adaptive batcher, see `bentoml_inside.batcher`.
        most: rows that may wait at once.
    """

    def __init__(self, submit: Callable[[list[ModelRow]], Awaitable[list[RowAnswer]]], most: int) -> None:
        self._submit = submit
        self._most = most
        self.waiting = 0

    @property
    def is_busy(self) -> bool:
        """Whether more waits than one batch can take."""
        return self.waiting > MAX_BATCH

    async def score(self, rows: Sequence[ModelRow]) -> list[RowAnswer]:
        """One answer a row, in order.

        Raises:
            Overloaded: more than `most` rows wait already, or these waited for too long; nothing was done for them.
        """
        if self.waiting + len(rows) > self._most and self.waiting:
            raise Overloaded(f"{self.waiting} rows wait already, {self._most} may: try again")
        self.waiting += len(rows)
        try:
            if len(rows) <= MAX_BATCH:
                return await self._submit(list(rows))
            answers: list[RowAnswer] = []
            for start in range(0, len(rows), MAX_BATCH):
                answers += await self._submit(list(rows[start : start + MAX_BATCH]))
            return answers
        finally:
            self.waiting -= len(rows)
