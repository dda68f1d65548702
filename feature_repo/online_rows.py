"""Rows of the online store as they come from PostgreSQL, and as numpy columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from feast import FeatureView
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import feast_value_type_to_python_type
from numpy.typing import NDArray

from feature_repo.online_sql import NEVER, Answer
from feature_repo.packing import INTEGERS, KINDS, MESSAGE, Block, Schema

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

    @property
    def whole(self) -> Block | None:
        """The block of all keys, in their order, if there is such."""
        if len(self.blocks) == 1 and len(self.blocks[0][1]) == len(self.times):
            return self.blocks[0][0]
        return None

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


def view_rows(answer: Answer, ttls: Sequence[dt.timedelta | None], schemas: Mapping[int, Schema]) -> list[ViewRows]:
    """The rows of each view by schema, without those that are older than the view's TTL."""
    oldest = np.array([[answer.now - ttl // MICROSECOND if ttl else NEVER + 1] for ttl in ttls])
    live = answer.times >= oldest
    statuses = np.where(live, PRESENT, np.where(answer.times == NEVER, NOT_FOUND, OUTSIDE_MAX_AGE)).astype(np.uint8)
    every = np.arange(answer.times.shape[1])
    whole = (live & (answer.schemas == answer.schemas[:, :1])).all(axis=1).tolist()
    views = []
    for view in range(len(ttls)):
        if whole[view] and len(every):
            schema = schemas[int(answer.schemas[view, 0])]
            blocks = [(Block(schema, answer.values[view], answer.lengths[view]), every)]
        else:
            blocks = _blocks(answer, view, live[view], schemas)
        views.append(ViewRows(answer.times[view], statuses[view], blocks))
    return views


def _blocks(
    answer: Answer, view: int, live: NDArray[np.bool_], schemas: Mapping[int, Schema]
) -> list[tuple[Block, NDArray[np.intp]]]:
    lengths, ids = answer.lengths[view], answer.schemas[view]
    ends = lengths.cumsum()
    starts = ends - lengths
    blocks = []
    for schema in np.unique(ids[live]).tolist():
        places = np.flatnonzero(live & (ids == schema))
        pairs = zip(starts[places].tolist(), ends[places].tolist(), strict=True)
        data = b"".join([answer.values[view][start:end] for start, end in pairs])
        blocks.append((Block(schemas[schema], data, lengths[places]), places))
    return blocks


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


def as_columns(
    keys: Sequence[str | int], wanted: Sequence[Wanted], views: Sequence[ViewRows], read_at: dt.datetime
) -> OnlineRows:
    """What was read, as columns, in the order in which the features are wanted."""
    matrix = np.full((len(keys), sum([len(features.numbers) for features in wanted])), np.nan)
    others: dict[str, NDArray[np.object_]] = {}
    first = 0
    for features, rows in zip(wanted, views, strict=True):
        last = first + len(features.numbers)
        for block, places in rows.blocks:
            _fill(matrix[:, first:last], features.numbers, block, places)
        others |= {name: _objects(name, len(keys), rows) for name in features.others}
        first = last
    return OnlineRows(
        keys=tuple(keys),
        names=tuple(name for features in wanted for name in features.numbers),
        numbers=matrix,
        others=others,
        event_times={f.view: rows.times.view("datetime64[us]") for f, rows in zip(wanted, views, strict=True)},
        statuses={features.view: rows.statuses for features, rows in zip(wanted, views, strict=True)},
        read_at=read_at,
    )


def _fill(matrix: NDArray[np.float64], names: tuple[str, ...], block: Block, places: NDArray[np.intp]) -> None:
    """Write the block's numbers to their rows of `matrix` (n × names)."""
    layout = _layout(names, block.schema)
    if len(layout.floats) == len(names) and len(places) == len(matrix):
        matrix[:] = block.floats[:, layout.floats]
        return
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
