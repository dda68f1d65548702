"""Rows of the online store as they come from PostgreSQL, and as numpy columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from feast import FeatureView
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import feast_value_type_to_python_type
from numpy.typing import NDArray

from feature_repo.online_sql import NEVER, Answer, moment
from feature_repo.packing import FLOATS, INTEGERS, KINDS, MESSAGE, Block, Schema

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


@dataclass(frozen=True)
class OnlineRows:
    """Online features of n keys as columns."""

    keys: tuple[str | int, ...]
    names: tuple[str, ...]
    """Columns of `numbers`."""
    numbers: NDArray[np.float64]
    """n × names; NaN where the value is null, expired or was never written. Integers above 2**53 lose digits."""
    others: dict[str, NDArray[np.object_]]
    """Columns that are no numbers (text, times, lists), as Python values; None as NaN above."""
    event_times: dict[str, NDArray[np.datetime64]]
    """By view: the time of each key's row, UTC microseconds; NaT where there is no row."""
    statuses: dict[str, NDArray[np.uint8]]
    """By view: Feast's FieldStatus of each key's row: PRESENT, NOT_FOUND or OUTSIDE_MAX_AGE."""
    read_at: dt.datetime
    """The store's clock at the read, UTC: what ages are counted from."""

    def take(self, places: Sequence[int]) -> OnlineRows:
        """The rows at these places, in this order; a place may come twice."""
        at = np.array(places, np.intp)
        return OnlineRows(
            tuple(self.keys[place] for place in places),
            self.names,
            self.numbers[at],
            {name: column[at] for name, column in self.others.items()},
            {view: times[at] for view, times in self.event_times.items()},
            {view: statuses[at] for view, statuses in self.statuses.items()},
            self.read_at,
        )

    def absent(self) -> NDArray[np.bool_]:
        """Keys without a row in any view."""
        absent: NDArray[np.bool_] = np.all([statuses == NOT_FOUND for statuses in self.statuses.values()], axis=0)
        return absent

    def expired(self) -> list[tuple[str, str | int, np.datetime64]]:
        """View, key and event time of every row that is too old to be served."""
        return [
            (view, self.keys[i], self.event_times[view][i])
            for view, statuses in self.statuses.items()
            for i in np.flatnonzero(statuses == OUTSIDE_MAX_AGE)
        ]

    def newest(self) -> NDArray[np.datetime64]:
        """Event time of the newest of each key's rows; NaT where there is none."""
        newest: NDArray[np.datetime64] = np.fmax.reduce(list(self.event_times.values()))
        return newest

    def ages(self) -> dict[str, NDArray[np.float64]]:
        """By view: seconds from each row's event time to the read; NaN where there is no row."""
        now = np.datetime64(self.read_at.replace(tzinfo=None), "us")
        return {view: (now - times) / np.timedelta64(1, "s") for view, times in self.event_times.items()}


@dataclass(frozen=True)
class Wanted:
    """The features wanted of one view: numbers, and others, each in the order given. Made by `Wanted.of`."""

    view: str
    numbers: tuple[str, ...]
    others: tuple[str, ...]

    @classmethod
    def of(cls, view: FeatureView, names: Sequence[str]) -> Wanted:
        kinds = {feature.name: KINDS.get(feature.dtype.to_value_type(), MESSAGE) for feature in view.features}
        if unknown := [name for name in names if name not in kinds]:
            raise ValueError(f"{view.name} has no feature {', '.join(unknown)}")
        others = tuple(name for name in names if kinds[name] in (MESSAGE, "unix_timestamp_val"))
        numbers = tuple(name for name in names if name not in others)
        return cls(str(view.projection.name_to_use()), numbers, others)  # type: ignore[no-untyped-call]


class Columns:
    """Turns answers into columns. What depends on the schemas of their rows is worked out once.

    Args:
        wanted: of each view.
    """

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        self._wanted = wanted
        self._names = tuple(name for features in wanted for name in features.numbers)
        self._floats: dict[tuple[int, ...], Floats] = {}

    def of(self, keys: Sequence[str | int], read: Read) -> OnlineRows:
        """The rows of these keys."""
        numbers = self._fast_numbers(read)
        views = [read.view(number) if numbers is None or f.others else None for number, f in enumerate(self._wanted)]
        others: dict[str, NDArray[np.object_]] = {}
        for rows, features in zip(views, self._wanted, strict=True):
            others |= {name: _objects(name, len(keys), rows) for name in features.others if rows}
        return OnlineRows(
            keys=tuple(keys),
            names=self._names,
            numbers=self._numbers(len(keys), views) if numbers is None else numbers,
            others=others,
            event_times={f.view: read.answer.times[i].view("datetime64[us]") for i, f in enumerate(self._wanted)},
            statuses={f.view: read.statuses[i] for i, f in enumerate(self._wanted)},
            read_at=moment(read.answer.now),
        )

    def _fast_numbers(self, read: Read) -> NDArray[np.float64] | None:
        """All numbers at once, where each view's rows have one schema that keeps them all as floats; else None."""
        schemas = read.uniform
        if schemas is None or None in schemas:
            return None
        ids = tuple(schema.id for schema in schemas if schema)
        if ids not in self._floats:
            self._floats[ids] = Floats(schemas, [features.numbers for features in self._wanted], FLOATS)
        floats = self._floats[ids]
        if len(floats.names) != len(self._names):
            return None
        values = floats.values(read)
        if not read.all_live:
            values[~read.live[floats.view]] = np.nan
        return values.T

    def _numbers(self, n: int, views: Sequence[ViewRows | None]) -> NDArray[np.float64]:
        matrix = np.full((n, len(self._names)), np.nan)
        first = 0
        for features, rows in zip(self._wanted, views, strict=True):
            last = first + len(features.numbers)
            for block, places in rows.blocks if rows else ():
                _fill(matrix[:, first:last], features.numbers, block, places)
            first = last
        return matrix


def _fill(matrix: NDArray[np.float64], names: tuple[str, ...], block: Block, places: NDArray[np.intp]) -> None:
    """Write the block's numbers to their rows of `matrix` (n × names)."""
    layout = _layout(names, block.schema)
    matrix[places[:, None], layout.to_floats] = block.floats[:, layout.floats]
    for to, place in layout.integers:
        matrix[places, to] = np.where(block.present[:, place], block.numbers(place), np.nan)
    for to, place in layout.messages:
        matrix[places, to] = [_number(cell) for cell in block.cells(place)]


@dataclass(frozen=True)
class _Layout:
    """Where a schema keeps the features that go to the columns of a matrix."""

    floats: NDArray[np.intp]
    to_floats: NDArray[np.intp]
    integers: tuple[tuple[int, int], ...]
    messages: tuple[tuple[int, int], ...]


@lru_cache(maxsize=512)
def _layout(names: tuple[str, ...], schema: Schema) -> _Layout:
    there = [(to, schema.places[name]) for to, name in enumerate(names) if name in schema.places]
    floats = [(to, place) for to, place in there if place < schema.floats]
    return _Layout(
        np.array([place for _, place in floats], np.intp),
        np.array([to for to, _ in floats], np.intp),
        tuple((to, place) for to, place in there if schema.kinds[place] in INTEGERS),
        tuple((to, place) for to, place in there if schema.kinds[place] == MESSAGE),
    )


def _number(cell: ValueProto) -> float:
    value = feast_value_type_to_python_type(cell)
    return float("nan") if value is None else float(value)


def _objects(name: str, n: int, rows: ViewRows) -> NDArray[np.object_]:
    column = np.full(n, None, np.object_)
    for block, places in rows.blocks:
        if name in block.schema.places:
            column[places] = [_python(cell) for cell in block.cells(block.schema.places[name])]
    return column


def _python(cell: ValueProto) -> Any:
    return cell.string_val if cell.HasField("string_val") else feast_value_type_to_python_type(cell)
