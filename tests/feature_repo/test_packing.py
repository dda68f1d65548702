"""Packed rows hold what was packed, and Feast's answer made of them is the one that Feast would make."""

from __future__ import annotations

import datetime as dt
import struct
from typing import Any

import numpy as np
import pytest
from feast import Entity, FeatureView, Field, FileSource, utils
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Value
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.online_read import Read
from feature_repo.online_response import PackedResponse, fill_response
from feature_repo.online_rows import Columns, Wanted
from feature_repo.online_sql import NEVER, Answer, microseconds, moment
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
    ends = np.cumsum([len(value) for value in values])
    block = Block(schema, b"".join(values), ends - [len(value) for value in values], ends)
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
        Block(schema, value[:-1], np.array([0]), np.array([len(value) - 1]))


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


NOW = 10**15
Stored = tuple[Answer, dict[int, Schema], int]


def answer_of(rows: list[tuple[int, int, bytes]], now: int) -> Answer:
    """What PostgreSQL says of one view with rows of (time, schema, value)."""
    n = len(rows)
    times, ids, values = zip(*rows, strict=True) if rows else ((), (), ())
    numbers = struct.pack(f">q{2 * n}q{n}i", now, *times, *ids, *(len(value) for value in values))
    return Answer.of(numbers + b"".join(values), 1, n)


@st.composite
def stored(draw: st.DrawFn) -> Stored:
    """One to eight keys, with rows of two schemas or none."""
    n = draw(st.integers(1, 8))
    new = draw(st.lists(st.fixed_dictionaries({k: NULLS | c for k, c in CELLS.items()}), min_size=n, max_size=n))
    only_doubles = draw(st.booleans())
    schemas, rows = {}, []
    for cells in new:
        kind = draw(st.sampled_from(["new", "new", "old", "absent"]))
        if kind == "absent":
            rows.append((NEVER, 0, b""))
            continue
        kept = ("d1", "d2") if only_doubles else ("d1", "s", "i8") if kind == "old" else tuple(TYPES)
        schema, (value,) = pack_messages([{name: cells[name] for name in kept}], DECLARED)
        schemas[schema.id] = schema
        rows.append((draw(st.integers(0, NOW) | st.integers(-NOW, 2**57)), schema.id, value))
    return answer_of(rows, NOW), schemas, n


@given(stored(), st.booleans(), st.randoms(use_true_random=False))
def test_the_answer_is_the_one_that_feast_would_make(read: Stored, full: bool, random: Any) -> None:
    data, schemas, n = read
    asked = [random.randrange(n) for _ in range(random.randint(n, 2 * n))] + list(range(n))
    places = [[place for place, key in enumerate(asked) if key == wanted] for wanted in range(n)]
    read = Read(data, [None], schemas)
    found = read.view(0)
    names = ["s", "d2", "d1", "never", "list", "i8", "b"]
    times = [None if time == NEVER else moment(time).replace(tzinfo=None) for time in found.times.tolist()]
    expected, answer = GetOnlineFeaturesResponse(), GetOnlineFeaturesResponse()
    messages = list(zip(times, found.messages(names), strict=True))
    utils._populate_response_from_feature_data(names, messages, places, expected, full, view(), len(asked), True)
    fill_response(answer, [(view(), names)], read, places, len(asked), full, True)
    assert answer.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    types = {name: kind.to_value_type() for name, kind in TYPES.items()}
    assert repr(PackedResponse.like(OnlineResponse(answer, types)).to_dict(True)) == repr(
        OnlineResponse(expected, types).to_dict(True)
    )


@given(stored())
def test_an_expired_row_answers_its_time_and_nulls_outside_max_age(read: Stored) -> None:
    data, schemas, n = read
    ttl = dt.timedelta(microseconds=NOW // 2)
    read = Read(data, [ttl], schemas)
    found = read.view(0)
    answer = GetOnlineFeaturesResponse()
    fill_response(answer, [(view(), ["d1", "s"])], read, [[i] for i in range(n)], n, False, False)
    for i, time in enumerate(found.times.tolist()):
        (vector, _) = answer.results
        if time == NEVER:
            assert vector.statuses[i] == FieldStatus.NOT_FOUND
        elif time < NOW - NOW // 2:
            assert vector.statuses[i] == FieldStatus.OUTSIDE_MAX_AGE
            assert same(vector.values[i], NULL)
            assert vector.event_timestamps[i].ToMicroseconds() == time
        else:
            assert vector.statuses[i] == FieldStatus.PRESENT


def test_numbers_of_an_old_schema_are_nan_where_the_feature_is_new() -> None:
    new = pack_messages([{"d1": Value(double_val=1.5), "i8": Value(int64_val=7), "b": Value(bool_val=True)}], DECLARED)
    old = pack_messages([{"i8": Value(int64_val=9)}], DECLARED)
    data = answer_of([(5, new[0].id, new[1][0]), (NEVER, 0, b""), (3, old[0].id, old[1][0])], 100)
    read = Read(data, [None], {new[0].id: new[0], old[0].id: old[0]})
    table = Columns([Wanted.of(view(), ["b", "d1", "s", "i8"])]).of(["y", "z", "x"], read)
    assert table.names == ("b", "d1", "i8")
    np.testing.assert_array_equal(table.numbers, [[1, 1.5, 7], [np.nan] * 3, [np.nan, np.nan, 9]])
    assert list(table.others["s"]) == [None, None, None]
    np.testing.assert_array_equal(table.ages()["invented"], [95e-6, np.nan, 97e-6])
    assert table.absent().tolist() == [False, True, False]


def test_a_row_without_any_feature_has_a_time_and_no_values() -> None:
    empty = Schema.of({})
    found = Read(answer_of([(5, empty.id, b"")], 100), [None], {empty.id: empty}).view(0)
    assert found.messages(None) == [{}]
    assert found.times.tolist() == [5]


def test_asking_for_no_key_answers_nothing() -> None:
    read = Read(answer_of([], 100), [None], {})
    assert read.view(0).messages(None) == []
    assert Columns([Wanted.of(view(), ["d1", "s"])]).of([], read).numbers.shape == (0, 1)


@given(stored(), st.integers(0, NOW))
def test_columns_say_what_the_messages_say(read: Stored, age: int) -> None:
    data, schemas, n = read
    names = ["d2", "i8", "f", "d1", "b"]
    for wanted in (names, ["d2", "d1"], ["f"]):
        judged = Read(data, [dt.timedelta(microseconds=age)], schemas)
        table = Columns([Wanted.of(view(), wanted)]).of(list(range(n)), judged)
        for row, message in zip(table.numbers, judged.view(0).messages(wanted), strict=True):
            for value, name in zip(row, table.names, strict=True):
                cell = (message or {}).get(name, NULL)
                kind = cell.WhichOneof("val")
                assert np.array_equal(value, float(getattr(cell, kind)) if kind else np.nan, equal_nan=True)
