"""What PostgreSQL answered, judged and found: which rows may be served, and where their values lie."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from numpy.typing import NDArray

from feature_repo.online_sql import NEVER, Answer
from feature_repo.packing import Block, Schema

MICROSECOND = dt.timedelta(microseconds=1)
PRESENT = FieldStatus.PRESENT
NOT_FOUND = FieldStatus.NOT_FOUND
OUTSIDE_MAX_AGE = FieldStatus.OUTSIDE_MAX_AGE


@dataclass(frozen=True)
class ViewRows:
    """What one view holds of n keys."""

    times: NDArray[np.int64]
    """Event time of each key's row, microseconds since 1970 UTC; NEVER where there is no row."""
    statuses: NDArray[np.uint8]
    """FieldStatus of each key's row. An expired row has a time, and no values."""
    blocks: list[tuple[Block, NDArray[np.intp]]]
    """The rows with values, by schema, and the keys that they belong to."""

    def messages(self, names: Sequence[str] | None) -> list[dict[str, ValueProto] | None]:
        """Feast's messages of each key by feature; a feature that a row was written without is absent."""
        answer: list[dict[str, ValueProto] | None] = [None] * len(self.times)
        for block, places in self.blocks:
            there = [name for name in (block.schema.names if names is None else names) if name in block.schema.places]
            columns = [block.cells(block.schema.places[name]) for name in there]
            rows = zip(*columns, strict=True) if columns else iter([()] * len(places))
            for place, row in zip(places.tolist(), rows, strict=True):
                answer[place] = dict(zip(there, row, strict=True))
        return answer


class Read:
    """An answer of PostgreSQL with the schemas of its rows, judged by the TTL of each view (v views, n keys)."""

    def __init__(self, answer: Answer, ttls: Sequence[dt.timedelta | None], schemas: Mapping[int, Schema]) -> None:
        self.answer = answer
        self._schemas = schemas
        oldest = np.array([[answer.now - ttl // MICROSECOND if ttl else NEVER + 1] for ttl in ttls])
        self.live = answer.times >= oldest
        """v × n: there is a row, and it may be served."""
        self.all_live = bool(self.live.all())
        self.statuses = np.full(self.live.shape, PRESENT, np.uint8)
        """v × n: FieldStatus."""
        if not self.all_live:
            self.statuses[~self.live] = OUTSIDE_MAX_AGE
            self.statuses[answer.times == NEVER] = NOT_FOUND

    @cached_property
    def uniform(self) -> tuple[Schema | None, ...] | None:
        """The schema of all rows of each view (None: there is no row), if in no view there are rows of several."""
        known = [set(ids) - {0} for ids in self.answer.schemas.tolist()]
        if any(len(ids) > 1 for ids in known):
            return None
        return tuple([self._schemas[ids.pop()] if ids else None for ids in known])

    def view(self, number: int) -> ViewRows:
        """One view's rows by schema."""
        answer, live = self.answer, self.live[number]
        if self.all_live and self.uniform and (one := self.uniform[number]):
            block = Block(one, answer.data, answer.starts[number], answer.ends[number])
            return ViewRows(answer.times[number], self.statuses[number], [(block, np.arange(len(live)))])
        ids, blocks = answer.schemas[number], []
        for schema in sorted(set(ids[live].tolist())):
            places = np.flatnonzero(live & (ids == schema))
            starts, ends = answer.starts[number][places], answer.ends[number][places]
            blocks.append((Block(self._schemas[schema], answer.data, starts, ends), places))
        return ViewRows(answer.times[number], self.statuses[number], blocks)


class Floats:
    """Where the floats of several views lie in the rows of an answer whose views have one schema each.

    Args:
        schemas: of each view.
        names: of each view the features wanted.
    """

    def __init__(self, schemas: Sequence[Schema | None], names: Sequence[Sequence[str]], kinds: Sequence[str]) -> None:
        found = [
            (view, name, schema)
            for view, (schema, wanted) in enumerate(zip(schemas, names, strict=True))
            for name in wanted
            if schema and name in schema.places and schema.kinds[schema.places[name]] in kinds
        ]
        self._widths = np.array([[schema.width if schema else 0] for schema in schemas])
        self.names = [(view, name) for view, name, _ in found]
        """View and name of each of the F features that were found."""
        places = np.array([schema.places[name] for _, name, schema in found], np.int64)
        self.view = np.array([view for view, _, _ in found], np.intp)
        self._offset = np.array([schema.bitmap for _, _, schema in found], np.int64) + 8 * places
        self._byte, self._bit = places // 8, (places % 8).astype(np.uint8)[:, None]

    def values(self, read: Read) -> NDArray[np.float64]:
        """F × n, NaN where null; where the row is not live it says nothing."""
        answer = read.answer
        if (read.live & (answer.ends - answer.starts < self._widths)).any():
            raise ValueError("a packed row is shorter than its schema says: materialize again")
        # A float64 at every byte: one look-up finds those of all views and rows.
        words = np.ndarray(max(len(answer.data) - 7, 0), "<f8", answer.data, strides=(1,))
        values: NDArray[np.float64] = words.take(answer.starts[self.view] + self._offset[:, None], mode="clip")
        return values

    def present(self, read: Read) -> NDArray[np.bool_]:
        """F × n: False where null or not live."""
        answer = read.answer
        at = answer.starts[self.view] + self._byte[:, None]
        bits = np.frombuffer(answer.data, np.uint8).take(at, mode="clip") >> self._bit & 1
        present = bits.view(np.bool_)
        return present if read.all_live else present & read.live[self.view]
