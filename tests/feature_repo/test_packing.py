"""Packed rows hold what was packed, and Feast's answer made of them is the one that Feast would make."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from feast import Entity, FeatureView, Field, FileSource, utils
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Value
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.online_response import fill_response
from feature_repo.online_rows import gather
from feature_repo.online_sql import CLOCK, microseconds, moment
from feature_repo.packed_frame import key_bytes
from feature_repo.packing import KINDS, NULL, Block, Schema, pack_messages

TYPES = {
    "d1": Float64,
    "d2": Float64,
    "f": Float32,
    "i4": Int32,
    "i8": Int64,
    "b": Bool,
    "t": UnixTimestamp,
    "s": String,
    "list": Array(Float64),
}
DECLARED = {n: KINDS[t.to_value_type()] for n, t in TYPES.items() if t.to_value_type() in KINDS}
NULLS = st.just(NULL)
INT64 = st.integers(-(2**63), 2**63 - 1)
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "d1": st.floats().map(lambda x: Value(double_val=x)),
    "d2": st.floats().map(lambda x: Value(double_val=x)),
    "f": st.floats(width=32).map(lambda x: Value(float_val=x)),
    "i4": st.integers(-(2**31), 2**31 - 1).map(lambda x: Value(int32_val=x)),
    "i8": INT64.map(lambda x: Value(int64_val=x)),
    "b": st.booleans().map(lambda x: Value(bool_val=x)),
    "t": INT64.map(lambda x: Value(unix_timestamp_val=x)),
    "s": st.text().map(lambda x: Value(string_val=x)),
    "list": st.lists(st.floats(allow_nan=False)).map(lambda x: Value(double_list_val=DoubleList(val=x))),
}
ROWS = st.lists(st.fixed_dictionaries({name: NULLS | cell for name, cell in CELLS.items()}), min_size=1, max_size=12)
ANY_CELL = st.one_of(NULLS, *CELLS.values())


def same(one: Value, other: Value) -> bool:
    """Equal to the bit: NaN is NaN."""
    return one.SerializeToString() == other.SerializeToString()


def unpacked(schema: Schema, values: list[bytes]) -> list[dict[str, Value]]:
    block = Block(schema, values)
    columns = {name: block.cells(place) for name, place in schema.places.items()}
    return [{name: cells[i] for name, cells in columns.items()} for i in range(len(values))]


@given(ROWS)
def test_what_is_packed_comes_back_to_the_bit(rows: list[dict[str, Value]]) -> None:
    back = unpacked(*pack_messages(rows, DECLARED))
    assert all(same(row[name], again[name]) for row, again in zip(rows, back, strict=True) for name in TYPES)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(TYPES, ANY_CELL)), min_size=1, max_size=6))
def test_cells_of_another_type_than_declared_come_back_too(rows: list[dict[str, Value]]) -> None:
    back = unpacked(*pack_messages(rows, DECLARED))
    assert all(same(row[name], again[name]) for row, again in zip(rows, back, strict=True) for name in TYPES)


@given(st.permutations(list(TYPES)))
def test_a_schema_and_its_id_do_not_depend_on_the_order_of_the_features(names: list[str]) -> None:
    kinds = {name: DECLARED.get(name, "message") for name in names}
    assert Schema.of(kinds).id == Schema.of(dict(sorted(kinds.items()))).id


def test_a_schema_with_another_name_or_type_has_another_id() -> None:
    ids = [Schema.of(kinds).id for kinds in ({"a": "double_val"}, {"b": "double_val"}, {"a": "int64_val"})]
    assert len(set(ids)) == 3
    assert all(0 <= number < 2**63 for number in ids)


def test_a_value_that_is_too_short_for_its_schema_is_refused() -> None:
    schema, (value,) = pack_messages([{"d1": Value(double_val=1.0), "d2": NULL}], DECLARED)
    with pytest.raises(ValueError, match="shorter than the 17 bytes of its schema"):
        Block(schema, [value[:-1]])


@given(st.datetimes(timezones=st.just(dt.UTC)))
def test_times_keep_their_microseconds(time: dt.datetime) -> None:
    assert moment(microseconds(time)) == time
    assert microseconds(time.replace(tzinfo=None)) == microseconds(time)


def view(kind: ValueType = ValueType.STRING) -> FeatureView:
    key = {ValueType.STRING: String, ValueType.INT64: Int64, ValueType.INT32: Int32}[kind]
    return FeatureView(
        name="invented",
        entities=[Entity(name="match", join_keys=["match_id"], value_type=kind)],
        schema=[Field(name="match_id", dtype=key), *(Field(name=n, dtype=t) for n, t in TYPES.items())],
        source=FileSource(path="none.parquet", timestamp_field="event_timestamp"),
    )


@given(st.lists(st.text()))
def test_text_keys_are_those_of_feast(keys: list[str]) -> None:
    expected = [EntityKey(join_keys=["match_id"], entity_values=[Value(string_val=key)]) for key in keys]
    assert key_bytes(view(), keys) == [serialize_entity_key(key, 3) for key in expected]


@given(st.lists(INT64))
def test_number_keys_are_those_of_feast(keys: list[int]) -> None:
    expected = [EntityKey(join_keys=["match_id"], entity_values=[Value(int64_val=key)]) for key in keys]
    assert key_bytes(view(ValueType.INT64), keys) == [serialize_entity_key(key, 3) for key in expected]


def test_keys_of_other_types_are_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match="match_id is INT32, only STRING and INT64"):
        key_bytes(view(ValueType.INT32), [1])


@st.composite
def stored(draw: st.DrawFn) -> tuple[list[tuple[Any, ...]], dict[int, Schema], int]:
    """Rows as PostgreSQL returns them, of two schemas, for some of up to eight keys."""
    n = draw(st.integers(1, 8))
    new = draw(st.lists(st.fixed_dictionaries({k: NULLS | c for k, c in CELLS.items()}), min_size=n, max_size=n))
    old = [{name: row[name] for name in ("d1", "s", "i8")} for row in new]
    schemas, rows = {}, [(CLOCK, b"", 10**15, 0, b"")]
    for key in draw(st.permutations(range(n))):
        kind = draw(st.sampled_from(["new", "old", "absent"]))
        if kind == "absent":
            continue
        schema, (value,) = pack_messages([(new if kind == "new" else old)[key]], DECLARED)
        schemas[schema.id] = schema
        rows.append((0, str(key).encode(), draw(st.integers(0, 10**15)), schema.id, value))
    return rows, schemas, n


@given(stored(), st.booleans(), st.randoms(use_true_random=False))
def test_the_answer_is_the_one_that_feast_would_make(
    read: tuple[list[tuple[Any, ...]], dict[int, Schema], int], full: bool, random: Any
) -> None:
    rows, schemas, n = read
    asked = [random.randrange(n) for _ in range(random.randint(n, 2 * n))] + list(range(n))
    places = [[place for place, key in enumerate(asked) if key == wanted] for wanted in range(n)]
    _, (found,) = gather(rows, [[str(key).encode() for key in range(n)]], [None], schemas)
    names = ["s", "d2", "d1", "never", "list", "i8", "b"]
    times = [None if time is None else moment(time).replace(tzinfo=None) for time in found.times]
    expected, answer = GetOnlineFeaturesResponse(), GetOnlineFeaturesResponse()
    messages = list(zip(times, found.messages(names), strict=True))
    utils._populate_response_from_feature_data(names, messages, places, expected, full, view(), len(asked), True)
    fill_response(answer, view(), names, found, places, len(asked), full, True)
    assert answer.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@given(stored())
def test_an_expired_row_answers_its_time_and_nulls_outside_max_age(
    read: tuple[list[tuple[Any, ...]], dict[int, Schema], int],
) -> None:
    rows, schemas, n = read
    ttl = dt.timedelta(microseconds=5 * 10**14)
    now, (found,) = gather(rows, [[str(key).encode() for key in range(n)]], [ttl], schemas)
    answer = GetOnlineFeaturesResponse()
    fill_response(answer, view(), ["d1", "s"], found, [[i] for i in range(n)], n, False, False)
    for i, time in enumerate(found.times):
        for vector in answer.results:
            if time is None:
                assert vector.statuses[i] == 3
            elif time < now - 5 * 10**14:
                assert vector.statuses[i] == 4
                assert same(vector.values[i], NULL)
                assert vector.event_timestamps[i].ToMicroseconds() == time
            else:
                assert vector.statuses[i] == 1


def test_numbers_of_an_old_schema_are_nan_where_the_feature_is_new() -> None:
    from feature_repo.online_rows import Wanted, as_columns

    new = pack_messages([{"d1": Value(double_val=1.5), "i8": Value(int64_val=7), "b": Value(bool_val=True)}], DECLARED)
    old = pack_messages([{"i8": Value(int64_val=9)}], DECLARED)
    rows = [(CLOCK, b"", 100, 0, b""), (0, b"x", 3, old[0].id, old[1][0]), (0, b"y", 5, new[0].id, new[1][0])]
    _, views = gather(rows, [[b"y", b"z", b"x"]], [None], {new[0].id: new[0], old[0].id: old[0]})
    table = as_columns(["y", "z", "x"], [Wanted.of(view(), ["b", "d1", "s", "i8"])], views, moment(100))
    assert table.names == ("b", "d1", "i8")
    np.testing.assert_array_equal(table.numbers, [[1, 1.5, 7], [np.nan] * 3, [np.nan, np.nan, 9]])
    assert list(table.others["s"]) == [None, None, None]
    np.testing.assert_array_equal(table.ages()["invented"], [95e-6, np.nan, 97e-6])
    assert table.absent().tolist() == [False, True, False]
