"""Values of every type that a feature may have, with the ones that are easily lost: extremes, nulls, empties, NaN."""

from __future__ import annotations

import math

from feast.protos.feast.types.Value_pb2 import (
    NULL,
    BoolList,
    BoolSet,
    BytesList,
    BytesSet,
    DoubleList,
    DoubleSet,
    FloatList,
    FloatSet,
    Int32List,
    Int32Set,
    Int64List,
    Int64Set,
    Map,
    MapKey,
    MapList,
    RepeatedValue,
    ScalarMap,
    ScalarMapEntry,
    StringList,
    StringSet,
    Value,
    ZonedTimestamp,
)
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeastType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Json,
    PdfBytes,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
)
from feast.types import (
    Map as MapType,
)
from feast.types import (
    ScalarMap as ScalarMapType,
)
from feast.types import (
    ZonedTimestamp as ZonedTimestampType,
)

INT32, INT64 = [-(2**31), -1, 0, 1, 2**31 - 1], [-(2**63), -(2**53) - 1, -1, 0, 2**53 + 1, 2**63 - 1]
DOUBLE = [0.0, -0.0, 0.1, -1.5, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan]
FLOAT = [0.0, -0.0, 0.1, -1.5, 1e-45, 3.4028234663852886e38, math.inf, -math.inf, math.nan]
TEXT = ["", "a", "Ångström 東京 🏟", "'; DROP TABLE x; --", '{"a": [1]}', "  \n", "x" * 300_000]
BYTES = [b"", b"a", b"\x00", b"a\x00b\xff", bytes(range(256)), b"\x00" * 100_000]
UUIDS = ["7e5b4a5c-1d2e-4f60-8a9b-0c1d2e3f4a5b", "00000000-0000-0000-0000-000000000000"]
DECIMALS = ["0", "-0.10", "1.2300", "123456789012345678901234567890.123456789", "1E-400", "NaN", "Infinity"]
JSONS = ["null", "{}", "[]", '{"a": [1, 2.50, null, "é"]}', '"\\u0000"']

NESTED = Map(
    val={"a": Value(int64_val=2**60), "b": Value(list_val=RepeatedValue(val=[Value(), Value(string_val="é")]))}
)

SAMPLES: dict[str, list[Value]] = {
    "null_val": [Value(null_val=NULL)],
    "bool_val": [Value(bool_val=value) for value in (True, False)],
    "int32_val": [Value(int32_val=value) for value in INT32],
    "int64_val": [Value(int64_val=value) for value in INT64],
    "double_val": [Value(double_val=value) for value in DOUBLE],
    "float_val": [Value(float_val=value) for value in FLOAT],
    "string_val": [Value(string_val=value) for value in TEXT],
    "bytes_val": [Value(bytes_val=value) for value in BYTES],
    "unix_timestamp_val": [Value(unix_timestamp_val=value) for value in INT64],
    "zoned_timestamp_val": [
        Value(zoned_timestamp_val=ZonedTimestamp(unix_timestamp=1_600_000_000, zone=zone))
        for zone in ("", "Asia/Tokyo", "UTC-07:00")
    ],
    "uuid_val": [Value(uuid_val=value) for value in UUIDS],
    "time_uuid_val": [Value(time_uuid_val=value) for value in UUIDS],
    "decimal_val": [Value(decimal_val=value) for value in DECIMALS],
    "json_val": [Value(json_val=value) for value in JSONS],
    "map_val": [Value(map_val=Map()), Value(map_val=NESTED), Value(map_val=Map(val={"": Value()}))],
    "struct_val": [Value(struct_val=Map()), Value(struct_val=NESTED)],
    "scalar_map_val": [
        Value(scalar_map_val=ScalarMap()),
        Value(
            scalar_map_val=ScalarMap(
                val=[
                    ScalarMapEntry(key=MapKey(int64_key=2**62), value=Value(double_val=math.nan)),
                    ScalarMapEntry(key=MapKey(bytes_key=b"\x00"), value=Value()),
                    ScalarMapEntry(key=MapKey(bool_key=False), value=Value(string_val="")),
                ]
            )
        ),
    ],
    "bool_list_val": [Value(bool_list_val=BoolList(val=value)) for value in ([], [True, False])],
    "bool_set_val": [Value(bool_set_val=BoolSet(val=value)) for value in ([], [True, False])],
    "int32_list_val": [Value(int32_list_val=Int32List(val=value)) for value in ([], [0], INT32)],
    "int32_set_val": [Value(int32_set_val=Int32Set(val=value)) for value in ([], INT32)],
    "int64_list_val": [Value(int64_list_val=Int64List(val=value)) for value in ([], [0], INT64)],
    "int64_set_val": [Value(int64_set_val=Int64Set(val=value)) for value in ([], INT64)],
    "double_list_val": [Value(double_list_val=DoubleList(val=value)) for value in ([], [0.0], DOUBLE)],
    "double_set_val": [Value(double_set_val=DoubleSet(val=value)) for value in ([], DOUBLE)],
    "float_list_val": [Value(float_list_val=FloatList(val=value)) for value in ([], [0.0], FLOAT)],
    "float_set_val": [Value(float_set_val=FloatSet(val=value)) for value in ([], FLOAT)],
    "string_list_val": [Value(string_list_val=StringList(val=value)) for value in ([], [""], [*TEXT, "a\x00b"])],
    "string_set_val": [Value(string_set_val=StringSet(val=value)) for value in ([], [""], [*TEXT, "a\x00b"])],
    "bytes_list_val": [Value(bytes_list_val=BytesList(val=value)) for value in ([], [b""], BYTES)],
    "bytes_set_val": [Value(bytes_set_val=BytesSet(val=value)) for value in ([], [b""], BYTES)],
    "unix_timestamp_list_val": [Value(unix_timestamp_list_val=Int64List(val=value)) for value in ([], INT64)],
    "unix_timestamp_set_val": [Value(unix_timestamp_set_val=Int64Set(val=value)) for value in ([], INT64)],
    "uuid_list_val": [Value(uuid_list_val=StringList(val=value)) for value in ([], UUIDS)],
    "uuid_set_val": [Value(uuid_set_val=StringSet(val=value)) for value in ([], UUIDS)],
    "time_uuid_list_val": [Value(time_uuid_list_val=StringList(val=value)) for value in ([], UUIDS)],
    "time_uuid_set_val": [Value(time_uuid_set_val=StringSet(val=value)) for value in ([], UUIDS)],
    "decimal_list_val": [Value(decimal_list_val=StringList(val=value)) for value in ([], DECIMALS)],
    "decimal_set_val": [Value(decimal_set_val=StringSet(val=value)) for value in ([], DECIMALS)],
    "json_list_val": [Value(json_list_val=StringList(val=value)) for value in ([], JSONS)],
    "map_list_val": [Value(map_list_val=MapList(val=value)) for value in ([], [Map(), NESTED])],
    "struct_list_val": [Value(struct_list_val=MapList(val=value)) for value in ([], [Map(), NESTED])],
    "list_val": [
        Value(list_val=RepeatedValue(val=value))
        for value in ([], [Value(double_list_val=DoubleList()), Value(double_list_val=DoubleList(val=DOUBLE))])
    ],
    "set_val": [
        Value(set_val=RepeatedValue(val=value)) for value in ([], [Value(string_list_val=StringList(val=TEXT[:3]))])
    ],
}
"""Field of Feast's Value → values of it."""

_SCALARS: dict[str, FeastType] = {
    "bool": Bool,
    "int32": Int32,
    "int64": Int64,
    "double": Float64,
    "float": Float32,
    "string": String,
    "bytes": Bytes,
    "unix_timestamp": UnixTimestamp,
    "uuid": Uuid,
    "time_uuid": TimeUuid,
    "decimal": Decimal,
}
_STRUCT = Struct({"a": Int64, "b": Array(String)})

TYPES: dict[str, FeastType] = {
    **{f"{name}_val": dtype for name, dtype in _SCALARS.items()},
    **{f"{name}_list_val": Array(dtype) for name, dtype in _SCALARS.items()},
    **{f"{name}_set_val": Set(dtype) for name, dtype in _SCALARS.items()},
    "null_val": Float64,
    "zoned_timestamp_val": ZonedTimestampType,
    "json_val": Json,
    "json_list_val": Array(Json),
    "map_val": MapType,
    "map_list_val": Array(MapType),
    "struct_val": _STRUCT,
    "struct_list_val": Array(_STRUCT),
    "scalar_map_val": ScalarMapType,
    "list_val": Array(Array(Float64)),
    "set_val": Set(Array(String)),
}
"""Field of Feast's Value → the type that a view declares for it."""

BYTES_BY_OTHER_NAMES: list[FeastType] = [PdfBytes, ImageBytes]
"""Declared types whose values travel as bytes_val."""
