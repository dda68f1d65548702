"""What ADBC reads from PostgreSQL in the types that Feast knows."""

from __future__ import annotations

import pyarrow as pa


def as_feast_types(table: pa.Table) -> pa.Table:
    """`table` with numeric as float64, uuid and JSON as text, and lists likewise; every other column is as it was."""
    for number, field in enumerate(table.schema):
        kind = _plain(field.type)
        if kind != field.type:
            chunks = [_convert(chunk, kind) for chunk in table.column(number).chunks]
            table = table.set_column(number, field.name, pa.chunked_array(chunks, kind))
    return table


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    if not isinstance(kind, pa.BaseExtensionType):
        return kind
    return pa.float64() if isinstance(kind, pa.OpaqueType) and kind.type_name == "numeric" else pa.string()


def _convert(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if isinstance(array, pa.ListArray):
        values = _convert(array.values, kind.value_type)
        return pa.ListArray.from_arrays(array.offsets, values, mask=array.is_null())
    if isinstance(array.type, pa.UuidType):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], kind)
    return array.storage.cast(kind) if isinstance(array, pa.ExtensionArray) else array
