"""Online features as numpy columns: what the service reads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from feast import FeatureView
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import feast_value_type_to_python_type
from numpy.typing import NDArray

from feature_repo.online_read import NOT_FOUND, OUTSIDE_MAX_AGE, Floats, Read, ViewRows
from feature_repo.online_sql import moment
from feature_repo.packing import FLOATS, INTEGERS, KINDS, MESSAGE, Block, Schema


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
