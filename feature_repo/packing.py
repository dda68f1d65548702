"""All features of one row in one compact value.

A value is laid out by its schema as

    null bitmap | float64 … | int64 … | the other features as one serialized feast RepeatedValue

little-endian, one bit and eight bytes for each feature of fixed width. Rows of one schema are packed and read a column
at a time by numpy; Feast's own messages are made of them in bulk, as bytes that protobuf parses in C.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from feast import ValueType
from feast.protos.feast.types.Value_pb2 import RepeatedValue
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from numpy.typing import NDArray

FLOATS = ("double_val", "float_val")
INTEGERS = ("int64_val", "int32_val", "bool_val", "unix_timestamp_val")
MESSAGE = "message"
"""Kind of a feature whose cells have no fixed width, or not all the same type."""

KINDS = {
    ValueType.DOUBLE: "double_val",
    ValueType.FLOAT: "float_val",
    ValueType.INT64: "int64_val",
    ValueType.INT32: "int32_val",
    ValueType.BOOL: "bool_val",
    ValueType.UNIX_TIMESTAMP: "unix_timestamp_val",
}
"""Field of feast's Value that holds a feature of fixed width, by its declared type."""

FEW = 16
"""Up to so many cells are made one by one: fewer are not worth numpy's start."""

NULL = ValueProto()
NOTHING = (None, "null_val")
VALUE = 0x0A
"""Tag of a Value in feast's RepeatedValue and FeatureVector alike: field 1, length-delimited."""


@dataclass(frozen=True)
class Schema:
    """Names and kinds of the features of a packed row, in the order of its layout. Made by `Schema.of`."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, kinds: Mapping[str, str]) -> Schema:
        """The one schema of these features, whatever the order they come in: floats, integers, messages; by name."""
        order = sorted(kinds, key=lambda name: (_group(kinds[name]), name))
        return cls(tuple(order), tuple(kinds[name] for name in order))

    def __hash__(self) -> int:
        return self.id

    @cached_property
    def id(self) -> int:
        """63 bits of a hash of the content: the same in every process, with nobody to ask."""
        text = "\n".join(f"{kind} {name}" for name, kind in zip(self.names, self.kinds, strict=True))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    @cached_property
    def floats(self) -> int:
        return sum(kind in FLOATS for kind in self.kinds)

    @cached_property
    def fixed(self) -> int:
        """Number of features of fixed width."""
        return sum(kind != MESSAGE for kind in self.kinds)

    @cached_property
    def places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def bitmap(self) -> int:
        """Bytes of the null bitmap."""
        return (self.fixed + 7) // 8

    @cached_property
    def width(self) -> int:
        """Bytes of the part of fixed width."""
        return self.bitmap + 8 * self.fixed


def _group(kind: str) -> int:
    return 0 if kind in FLOATS else 1 if kind in INTEGERS else 2


def pack(
    schema: Schema,
    floats: NDArray[np.float64],
    integers: NDArray[np.int64],
    present: NDArray[np.bool_],
    messages: Sequence[Sequence[ValueProto]] = (),
) -> list[bytes]:
    """One value a row. A null float is also NaN in its place, so that numbers can be read without the bitmap.

    Args:
        floats: n × (number of floats), in the schema's order.
        integers: n × (number of integers).
        present: n × (both), False where the cell is null.
        messages: n rows of the other features; empty where the schema has none.
    """
    n = len(present)
    rows = np.empty((n, schema.width), np.uint8)
    rows[:, : schema.bitmap] = np.packbits(present, axis=1, bitorder="little")
    split = schema.bitmap + 8 * schema.floats
    numbers = np.ascontiguousarray(np.where(present[:, : schema.floats], floats, np.nan), "<f8")
    rows[:, schema.bitmap : split] = numbers.view(np.uint8).reshape(n, -1)
    rows[:, split:] = np.ascontiguousarray(integers, "<i8").view(np.uint8).reshape(n, -1)
    data, width = rows.tobytes(), schema.width
    fixed = [data[i * width : (i + 1) * width] for i in range(n)]
    if len(schema.names) == schema.fixed:
        return fixed
    rest = (RepeatedValue(val=row).SerializeToString() for row in messages)
    return [head + tail for head, tail in zip(fixed, rest, strict=True)]


def pack_messages(rows: Sequence[Mapping[str, ValueProto]], declared: Mapping[str, str]) -> tuple[Schema, list[bytes]]:
    """Pack feast's messages. All rows bring the same features.

    Args:
        declared: kind of each feature of fixed width by declaration. A column whose cells are of another type is packed
            as messages: Feast does not hold writers to the declared types.
    """
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    types = {name: [cell.WhichOneof("val") for cell in cells] for name, cells in columns.items()}
    schema = Schema.of({name: _kind(declared.get(name, MESSAGE), types[name]) for name in columns})
    present = np.array([[kind not in NOTHING for kind in types[name]] for name in schema.names[: schema.fixed]], bool)
    numbers = [
        [getattr(cell, kind) for cell in columns[name]]
        for name, kind in zip(schema.names[: schema.fixed], schema.kinds, strict=False)
    ]
    n = len(rows)
    floats = np.array(numbers[: schema.floats], np.float64).reshape(schema.floats, n)
    integers = np.array(numbers[schema.floats :], np.int64).reshape(schema.fixed - schema.floats, n)
    rest = schema.names[schema.fixed :]
    messages = list(zip(*(columns[name] for name in rest), strict=True)) if rest else []
    return schema, pack(schema, floats.T, integers.T, present.reshape(schema.fixed, n).T, messages)


def _kind(declared: str, types: Iterable[str | None]) -> str:
    return declared if {declared, *NOTHING}.issuperset(types) else MESSAGE


class Block:
    """Packed rows of one schema, read a column at a time. Shapes: n rows.

    Args:
        data: bytes with the rows.
        starts: where each row starts, n.
        ends: where it ends, n.

    Raises:
        ValueError: a row is shorter than its schema says.
    """

    def __init__(self, schema: Schema, data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self.schema = schema
        self._data = data
        self._starts = starts
        self._ends = ends
        if (ends - starts).min(initial=schema.width) < schema.width:
            raise ValueError(f"a packed row is shorter than the {schema.width} bytes of its schema: materialize again")

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        """n × width: the part of fixed width."""
        width = self.schema.width
        data = b"".join([self._data[start : start + width] for start in self._starts.tolist()])
        return np.frombuffer(data, np.uint8).reshape(len(self._starts), width)

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """n × fixed: False where the cell is null."""
        bits = np.unpackbits(self._bytes[:, : self.schema.bitmap], axis=1, count=self.schema.fixed, bitorder="little")
        return bits.view(np.bool_)

    @property
    def floats(self) -> NDArray[np.float64]:
        """n × floats; NaN where null."""
        start = self.schema.bitmap
        return self._bytes[:, start : start + 8 * self.schema.floats].view("<f8")

    @property
    def integers(self) -> NDArray[np.int64]:
        """n × integers; 0 where null."""
        return self._bytes[:, self.schema.bitmap + 8 * self.schema.floats :].view("<i8")

    @cached_property
    def messages(self) -> Sequence[ValueProto]:
        """The features that have no fixed width as feast messages, row after row.

        One message after the other is the message of all: so the rows are parsed in one go.
        """
        pairs = zip((self._starts + self.schema.width).tolist(), self._ends.tolist(), strict=True)
        return list(RepeatedValue.FromString(b"".join([self._data[start:end] for start, end in pairs])).val)

    def numbers(self, place: int) -> NDArray[Any]:
        """The cells of a feature of fixed width, float64 or int64; NaN or 0 where null."""
        floats = self.schema.floats
        return self.floats[:, place] if place < floats else self.integers[:, place - floats]

    def cells(self, place: int) -> list[ValueProto]:
        """The cells of any feature as feast messages; an unset message is null."""
        if place >= self.schema.fixed:
            return list(self.messages[place - self.schema.fixed :: len(self.schema.names) - self.schema.fixed])
        kind, present = self.schema.kinds[place], self.present[:, place]
        if kind == "double_val" and len(present) > FEW:
            (column,) = serialized_doubles(self.numbers(place)[None], present[None])
            return list(RepeatedValue.FromString(column).val)
        numbers = self.numbers(place)
        cells: list[Any] = (numbers.astype(np.bool_) if kind == "bool_val" else numbers).tolist()
        pairs = zip(cells, present.tolist(), strict=True)
        return [ValueProto(**{kind: cell}) if there else NULL for cell, there in pairs]


def serialized_doubles(numbers: NDArray[np.float64], present: NDArray[np.bool_]) -> list[bytes]:
    """For each row of a features × n matrix the serialized field `repeated Value = 1`, unset where it is null.

    A double is tag, length, tag of double_val and eight bytes; an unset Value is tag and length 0.
    """
    features, n = numbers.shape
    cells = np.empty((features, n, 11), np.uint8)
    cells[:, :, :3] = (VALUE, 9, 0x29)
    cells[:, :, 3:] = np.ascontiguousarray(numbers, "<f8").view(np.uint8).reshape(features, n, 8)
    if present.all():
        data = cells.tobytes()
        return [data[start : start + 11 * n] for start in range(0, len(data), 11 * n)]
    cells[~present, 1] = 0
    keep = np.ones_like(cells, np.bool_)
    keep[~present, 2:] = False
    data = cells[keep].tobytes()
    ends = (11 * n - 9 * (n - present.sum(axis=1))).cumsum().tolist()
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
