"""What a row of features costs as one value: bytes, and microseconds to make and to read it, in three formats.

python benchmarks/packed_values.py [--quick] [--json FILE]

Formats: feast's RepeatedValue (protobuf), one Arrow IPC record batch a row (its schema kept elsewhere, else each row is
1.7 kB), and the floats with a null bitmap of feature_repo/packing.py. Rows come from and go to feast's messages,
which is what Feast's online store interface speaks, and numpy columns, which is what models read; 1,000 rows at once
(and a lone one, as when one match is read), 5 % nulls, the best of several runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import feature_repo  # noqa: F401  imports Feast without its run-time checks of types

# isort: split
import numpy as np
import pyarrow as pa
from _common import arguments, print_machine, write_json
from feast.protos.feast.types.Value_pb2 import RepeatedValue
from feast.protos.feast.types.Value_pb2 import Value as ValueProto

from feature_repo.packing import MESSAGE, Block, Schema, pack, pack_messages

ROWS, NULLS = 1000, 0.05
Kinds = Mapping[str, str]
Columns = dict[str, np.ndarray]
"""Numbers as float64 with NaN for null, texts as objects with None."""
Messages = list[dict[str, ValueProto]]

VIEWS: dict[str, Kinds] = {
    "15 floats": {f"f{i:02}": "double_val" for i in range(15)},
    "mixed": {f"f{i:02}": "double_val" for i in range(10)}
    | {"i0": "int64_val", "i1": "int64_val", "b": "bool_val", "t": "unix_timestamp_val", "s": "string_val"},
}
CASTS: dict[str, Callable[[Any], Any]] = {
    "double_val": float,
    "int64_val": int,
    "bool_val": bool,
    "unix_timestamp_val": int,
    "string_val": str,
}
ARROW = {
    "double_val": pa.float64(),
    "int64_val": pa.int64(),
    "bool_val": pa.bool_(),
    "unix_timestamp_val": pa.int64(),
    "string_val": pa.string(),
}


class Format(Protocol):
    """One way to keep a row. None may lose anything, which `measure` checks."""

    def of_messages(self, rows: Messages) -> list[bytes]: ...
    def of_columns(self, columns: Columns) -> list[bytes]: ...
    def to_messages(self, values: list[bytes]) -> Messages: ...
    def to_columns(self, values: list[bytes]) -> Columns: ...


class Protobuf:
    """feast's RepeatedValue."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds

    def of_messages(self, rows: Messages) -> list[bytes]:
        return [RepeatedValue(val=row.values()).SerializeToString() for row in rows]

    def of_columns(self, columns: Columns) -> list[bytes]:
        return self.of_messages(as_messages(self._kinds, columns))

    def to_messages(self, values: list[bytes]) -> Messages:
        return [dict(zip(self._kinds, RepeatedValue.FromString(value).val, strict=True)) for value in values]

    def to_columns(self, values: list[bytes]) -> Columns:
        rows = [RepeatedValue.FromString(value).val for value in values]
        return {
            name: as_column(kind, [plain(row[i], kind) for row in rows])
            for i, (name, kind) in enumerate(self._kinds.items())
        }


class Arrow:
    """A record batch a row, without its schema."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._schema = pa.schema([(name, ARROW[kind]) for name, kind in kinds.items()])

    def of_messages(self, rows: Messages) -> list[bytes]:
        cells = {name: [plain(row[name], kind) for row in rows] for name, kind in self._kinds.items()}
        return self._rows(pa.RecordBatch.from_pydict(cells, schema=self._schema))

    def of_columns(self, columns: Columns) -> list[bytes]:
        arrays = [pa.array(columns[name], from_pandas=True).cast(ARROW[kind]) for name, kind in self._kinds.items()]
        return self._rows(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def _rows(self, batch: pa.RecordBatch) -> list[bytes]:
        return [batch.slice(i, 1).serialize().to_pybytes() for i in range(batch.num_rows)]

    def _table(self, values: list[bytes]) -> pa.Table:
        return pa.Table.from_batches([pa.ipc.read_record_batch(pa.py_buffer(v), self._schema) for v in values])

    def to_messages(self, values: list[bytes]) -> Messages:
        table = self._table(values)
        columns = [
            [ValueProto() if cell is None else ValueProto(**{kind: cell}) for cell in table[name].to_pylist()]
            for name, kind in self._kinds.items()
        ]
        return [dict(zip(self._kinds, row, strict=True)) for row in zip(*columns, strict=True)]

    def to_columns(self, values: list[bytes]) -> Columns:
        table = self._table(values).combine_chunks()
        return {
            name: table[name].to_numpy() if kind == "string_val" else table[name].cast(pa.float64()).to_numpy()
            for name, kind in self._kinds.items()
        }


class Packed:
    """Null bitmap and eight bytes a number; the rest as protobuf: feature_repo/packing.py."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._declared = {name: kind for name, kind in kinds.items() if kind != "string_val"}
        self._schema = Schema.of({name: self._declared.get(name, MESSAGE) for name in kinds})

    def of_messages(self, rows: Messages) -> list[bytes]:
        return pack_messages(rows, self._declared)[1]

    def of_columns(self, columns: Columns) -> list[bytes]:
        schema = self._schema
        numbers = np.array([columns[name] for name in schema.names[: schema.fixed]]).T
        rest = schema.names[schema.fixed :]
        texts = as_messages({name: self._kinds[name] for name in rest}, {name: columns[name] for name in rest})
        present = ~np.isnan(numbers)
        cells = np.where(present, numbers, 0.0)
        floats, integers = cells[:, : schema.floats], cells[:, schema.floats :].astype(np.int64)
        return pack(schema, floats, integers, present, [list(row.values()) for row in texts])

    def _block(self, values: list[bytes]) -> Block:
        ends = np.cumsum([len(value) for value in values])
        return Block(self._schema, b"".join(values), ends - [len(value) for value in values], ends)

    def to_messages(self, values: list[bytes]) -> Messages:
        block = self._block(values)
        columns = [block.cells(self._schema.places[name]) for name in self._kinds]
        return [dict(zip(self._kinds, row, strict=True)) for row in zip(*columns, strict=True)]

    def to_columns(self, values: list[bytes]) -> Columns:
        block, columns = self._block(values), {}
        for name in self._kinds:
            place = self._schema.places[name]
            if place < self._schema.fixed:
                columns[name] = np.where(block.present[:, place], block.numbers(place), np.nan)
            else:
                columns[name] = as_column(self._kinds[name], [plain(c, self._kinds[name]) for c in block.cells(place)])
        return columns


FORMATS: dict[str, Callable[[Kinds], Format]] = {"protobuf": Protobuf, "Arrow IPC": Arrow, "packed": Packed}


def invented(kinds: Kinds) -> Columns:
    rng = np.random.default_rng(0)
    draws: dict[str, Callable[[], np.ndarray]] = {
        "double_val": lambda: rng.normal(size=ROWS),
        "int64_val": lambda: rng.integers(0, 100_000, ROWS).astype(float),
        "bool_val": lambda: rng.integers(0, 2, ROWS).astype(float),
        "unix_timestamp_val": lambda: rng.integers(1_500_000_000, 1_700_000_000, ROWS).astype(float),
        "string_val": lambda: rng.choice(["e0", "sp1", "northport-07"], ROWS).astype(object),
    }
    columns = {name: draws[kind]() for name, kind in kinds.items()}
    for name, kind in kinds.items():
        columns[name][rng.random(ROWS) < NULLS] = None if kind == "string_val" else np.nan
    return columns


def as_messages(kinds: Kinds, columns: Columns) -> Messages:
    cells = [
        [ValueProto() if v is None or v != v else ValueProto(**{kind: CASTS[kind](v)}) for v in columns[name].tolist()]
        for name, kind in kinds.items()
    ]
    return [dict(zip(kinds, row, strict=True)) for row in zip(*cells, strict=True)]


def plain(cell: ValueProto, kind: str) -> Any:
    return getattr(cell, kind) if cell.WhichOneof("val") == kind else None


def as_column(kind: str, cells: list[Any]) -> np.ndarray:
    return np.array(cells, object if kind == "string_val" else np.float64)


def check(form: Format, columns: Columns, messages: Messages) -> None:
    """Raises AssertionError when a format does not give back what it was given."""
    for values in (form.of_messages(messages), form.of_columns(columns)):
        assert form.to_messages(values) == messages
        for name, column in form.to_columns(values).items():
            np.testing.assert_array_equal(column, columns[name], err_msg=name)


def microseconds(work: Callable[[], Any], repeats: int, rows: int = ROWS) -> float:
    """For one of `rows` rows, the best run."""
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best / rows * 1e6


def measure(view: str, name: str, repeats: int) -> dict[str, Any]:
    kinds = VIEWS[view]
    form, columns = FORMATS[name](kinds), invented(kinds)
    messages = as_messages(kinds, columns)
    check(form, columns, messages)
    values = form.of_messages(messages)
    return {
        "view": view,
        "format": name,
        "bytes": sum(map(len, values)) / ROWS,
        "from messages": microseconds(lambda: form.of_messages(messages), repeats),
        "from columns": microseconds(lambda: form.of_columns(columns), repeats),
        "to messages": microseconds(lambda: form.to_messages(values), repeats),
        "to columns": microseconds(lambda: form.to_columns(values), repeats),
        "a lone row to messages": microseconds(lambda: form.to_messages(values[:1]), 50 * repeats, 1),
        "a lone row to columns": microseconds(lambda: form.to_columns(values[:1]), 50 * repeats, 1),
    }


def main() -> None:
    options = arguments(__doc__, "fewer runs, a few seconds").parse_args()
    where = print_machine()
    rows = [measure(view, name, 3 if options.quick else 20) for view in VIEWS for name in FORMATS]
    steps = list(rows[0])[3:]
    print("\nµs a row\n\n| view | format | bytes a row | " + " | ".join(steps) + " |")
    print("|---|---|---:|" + "---:|" * len(steps))
    for row in rows:
        cells = " | ".join(f"{row[step]:.2f}" for step in steps)
        print(f"| {row['view']} | {row['format']} | {row['bytes']:.0f} | {cells} |")
    write_json(options.json, {"machine": where, "rows": rows})


if __name__ == "__main__":
    main()
