"""Rows of the online store as they come from PostgreSQL, and as numpy columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from feast import FeatureView
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import feast_value_type_to_python_type
from numpy.typing import NDArray

from feature_repo.packing import INTEGERS, KINDS, MESSAGE, Block, Schema

PRESENT = FieldStatus.PRESENT
NOT_FOUND = FieldStatus.NOT_FOUND
OUTSIDE_MAX_AGE = FieldStatus.OUTSIDE_MAX_AGE


@dataclass
class ViewRows:
    """What one view holds of n keys."""

    times: list[dt.datetime | None]
    """Event time of each key's row, UTC; None where there is no row."""
    statuses: NDArray[np.uint8]
    """FieldStatus of each key's row. An expired row has a time, and no values."""
    blocks: list[tuple[Block, list[int]]] = field(default_factory=list)
    """The rows with values, by schema, and the keys that they belong to."""

    def messages(self, names: Sequence[str] | None) -> list[dict[str, ValueProto] | None]:
        """Feast's messages of each key by feature; a feature that a row was written without is absent."""
        answer: list[dict[str, ValueProto] | None] = [None] * len(self.times)
        for block, places in self.blocks:
            there = [name for name in (block.schema.names if names is None else names) if name in block.schema.places]
            columns = [block.cells(block.schema.places[name]) for name in there]
            rows = zip(*columns, strict=True) if columns else iter([()] * len(places))
            for place, row in zip(places, rows, strict=True):
                answer[place] = dict(zip(there, row, strict=True))
        return answer


def gather(
    rows: Sequence[tuple[Any, ...]],
    sizes: Sequence[int],
    ttls: Sequence[dt.timedelta | None],
    schemas: Mapping[int, Schema],
) -> tuple[dt.datetime, list[ViewRows]]:
    """Sort the rows of `online_sql.read_statement` by view.

    Returns:
        The store's time of the read, and for each view what it holds of as many keys as `sizes` says.
    """
    now = next(time for number, _, time, _, _ in rows if number < 0)
    oldest = [now - ttl if ttl else None for ttl in ttls]
    views = [ViewRows([None] * n, np.full(n, NOT_FOUND, np.uint8)) for n in sizes]
    values: list[dict[int, tuple[list[int], list[bytes]]]] = [{} for _ in sizes]
    for number, place, time, schema, value in rows:
        if number < 0:
            continue
        view, limit, key = views[number], oldest[number], place - 1
        view.times[key] = time
        if limit is not None and time < limit:
            view.statuses[key] = OUTSIDE_MAX_AGE
            continue
        places, packed = values[number].setdefault(schema, ([], []))
        places.append(key)
        packed.append(value)
    for view, by_schema in zip(views, values, strict=True):
        for schema, (places, packed) in by_schema.items():
            view.blocks.append((Block(schemas[schema], packed), places))
            view.statuses[places] = PRESENT
    return now, views


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

    def ages(self) -> dict[str, NDArray[np.float64]]:
        """By view: seconds from each row's event time to the read; NaN where there is no row."""
        now = np.datetime64(self.read_at.replace(tzinfo=None), "us")
        return {view: (now - times) / np.timedelta64(1, "s") for view, times in self.event_times.items()}


def as_columns(
    keys: Sequence[str | int],
    wanted: Sequence[tuple[FeatureView, Sequence[str]]],
    views: Sequence[ViewRows],
    read_at: dt.datetime,
) -> OnlineRows:
    """What was read, as columns, in the order in which the features are wanted."""
    plans = [_plan(tuple(names), _kinds(view)) for view, names in wanted]
    matrix = np.full((len(keys), sum(len(plan.numbers) for plan in plans)), np.nan)
    others: dict[str, NDArray[np.object_]] = {}
    first = 0
    for plan, rows in zip(plans, views, strict=True):
        last = first + len(plan.numbers)
        for block, places in rows.blocks:
            _fill(matrix[:, first:last], plan.numbers, block, places)
        others |= {name: _objects(name, len(keys), rows) for name in plan.others}
        first = last
    names = [str(view.projection.name_to_use()) for view, _ in wanted]  # type: ignore[no-untyped-call]
    return OnlineRows(
        keys=tuple(keys),
        names=tuple(name for plan in plans for name in plan.numbers),
        numbers=matrix,
        others=others,
        event_times={name: _times(rows) for name, rows in zip(names, views, strict=True)},
        statuses={name: rows.statuses for name, rows in zip(names, views, strict=True)},
        read_at=read_at,
    )


@dataclass(frozen=True)
class _Plan:
    numbers: tuple[str, ...]
    others: tuple[str, ...]


@lru_cache(maxsize=512)
def _plan(names: tuple[str, ...], kinds: frozenset[str]) -> _Plan:
    return _Plan(tuple(n for n in names if n in kinds), tuple(n for n in names if n not in kinds))


def _kinds(view: FeatureView) -> frozenset[str]:
    """The features that are declared as numbers."""
    kinds = ((feature.name, KINDS.get(feature.dtype.to_value_type(), MESSAGE)) for feature in view.features)
    return frozenset(name for name, kind in kinds if kind not in (MESSAGE, "unix_timestamp_val"))


def _fill(matrix: NDArray[np.float64], names: tuple[str, ...], block: Block, places: list[int]) -> None:
    """Write the block's numbers to their rows of `matrix` (n × names)."""
    layout = _layout(names, block.schema)
    if len(layout.floats):
        cells = np.where(block.present[:, layout.floats], block.floats[:, layout.floats], np.nan)
        matrix[np.array(places)[:, None], layout.to_floats] = cells
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
            cells = block.cells(block.schema.places[name])
            for place, cell in zip(places, cells, strict=True):
                column[place] = feast_value_type_to_python_type(cell)
    return column


def _times(rows: ViewRows) -> NDArray[np.datetime64]:
    return np.array([time and time.replace(tzinfo=None) for time in rows.times], "datetime64[us]")
