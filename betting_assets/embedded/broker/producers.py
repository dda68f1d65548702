"""Who has written to a partition, so that a batch that is sent again is not kept twice."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from betting_assets.embedded.broker.batches import Batch
from betting_assets.embedded.broker.codes import Code, Refused

MOST_PRODUCERS = 1000
REMEMBERED_BATCHES = 5
"""As many as a producer may have in flight."""


class Producers:
    """Per producer: its epoch and its last batches, as (first sequence, last sequence, offset)."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[int, deque[tuple[int, int, int]]]] = OrderedDict()

    def kept_at(self, batch: Batch) -> int | None:
        """The offset of this very batch if it was kept before; None: it is the next one.

        Raises:
            Refused: a batch before it is missing, or the producer has been replaced.
        """
        if batch.producer < 0 or batch.producer not in self._known:
            return None
        epoch, batches = self._known[batch.producer]
        if batch.producer_epoch < epoch:
            raise Refused(Code.INVALID_PRODUCER_EPOCH)
        if batch.producer_epoch > epoch:
            if batch.sequence != 0:
                raise Refused(Code.OUT_OF_ORDER_SEQUENCE)
            return None
        for first, last, offset in batches:
            if (first, last) == (batch.sequence, batch.last_sequence):
                return offset
        expected = (batches[-1][1] + 1) & 0x7FFF_FFFF
        if batch.sequence != expected:
            raise Refused(Code.OUT_OF_ORDER_SEQUENCE, f"sequence {batch.sequence} instead of {expected}")
        return None

    def add(self, batch: Batch) -> None:
        """Remember a batch that is kept at its base."""
        if batch.producer < 0:
            return
        epoch, batches = self._known.pop(batch.producer, (batch.producer_epoch, deque(maxlen=REMEMBERED_BATCHES)))
        if epoch != batch.producer_epoch:
            batches.clear()
        batches.append((batch.sequence, batch.last_sequence, batch.base))
        self._known[batch.producer] = batch.producer_epoch, batches
        if len(self._known) > MOST_PRODUCERS:
            self._known.popitem(last=False)

    def as_json(self) -> list[Any]:
        return [[producer, epoch, list(batches)] for producer, (epoch, batches) in self._known.items()]

    @classmethod
    def from_json(cls, kept: list[Any]) -> Producers:
        producers = cls()
        for producer, epoch, batches in kept:
            remembered = deque((tuple(batch) for batch in batches), maxlen=REMEMBERED_BATCHES)
            producers._known[producer] = epoch, remembered
        return producers
