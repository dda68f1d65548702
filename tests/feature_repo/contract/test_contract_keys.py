"""Which row is whose: keys of every type, and the order of an answer."""

from __future__ import annotations

import random

import psycopg
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Bytes, FeastType, Float64, Int32, Int64, String, UnixTimestamp
from invented_stores import NO_ENTITY, NOON, Opened, row, source_of, stock_fails, value_of, view_of

KEYS: dict[str, tuple[ValueType, FeastType, list[Value]]] = {
    "string": (ValueType.STRING, String, [Value(string_val=v) for v in ("", "a", "A", "a ", "é", "東京", "a\x00b")]),
    "int32": (ValueType.INT32, Int32, [Value(int32_val=v) for v in (-(2**31), -1, 0, 1, 2**31 - 1)]),
    "int64": (ValueType.INT64, Int64, [Value(int64_val=v) for v in (-(2**63), -1, 0, 1, 2**63 - 1)]),
    "bytes": (ValueType.BYTES, Bytes, [Value(bytes_val=v) for v in (b"", b"\x00", b"a", b"a\x00", b"\xff\xfe")]),
    "time": (ValueType.UNIX_TIMESTAMP, UnixTimestamp, [Value(unix_timestamp_val=v) for v in (-1, 0, 1_600_000_000)]),
}


@pytest.mark.parametrize("name", list(KEYS))
def test_a_key_of_every_type_finds_its_own_row(store: Opened, name: str) -> None:
    value_type, dtype, keys = KEYS[name]
    entity = Entity(name="item", join_keys=["item"], value_type=value_type)
    schema = [Field(name="item", dtype=dtype), Field(name="x", dtype=Float64)]
    view = FeatureView(name="items", entities=[entity], schema=schema, source=source_of("items"))
    store.update(view)
    store.write(view, *(row(key, NOON, x=float(i)) for i, key in enumerate(keys)))
    assert store.read(view, *keys) == [(NOON, {"x": float(i)}) for i in range(len(keys))]


def pair_key(team: str, season: int) -> EntityKey:
    return EntityKey(join_keys=["team", "season"], entity_values=[value_of(team), value_of(season)])


@pytest.fixture
def pairs(store: Opened) -> FeatureView:
    team = Entity(name="team", join_keys=["team"], value_type=ValueType.STRING)
    season = Entity(name="season", join_keys=["season"], value_type=ValueType.INT64)
    schema = [Field(name="team", dtype=String), Field(name="season", dtype=Int64), Field(name="x", dtype=Float64)]
    view = FeatureView(name="pairs", entities=[team, season], schema=schema, source=source_of("pairs"))
    store.update(view)
    return view


def test_a_composite_key_finds_its_own_row(store: Opened, pairs: FeatureView) -> None:
    keys = [pair_key(team, season) for team in ("", "a", "a1", "a11") for season in (1, 11, 111)]
    store.write(pairs, *(row(key, NOON, x=float(i)) for i, key in enumerate(keys)))
    assert store.read(pairs, *keys) == [(NOON, {"x": float(i)}) for i in range(len(keys))]


def test_a_composite_key_is_the_same_in_any_order_of_its_parts(store: Opened, pairs: FeatureView) -> None:
    store.write(pairs, row(pair_key("a", 1), NOON, x=1.0))
    turned = EntityKey(join_keys=["season", "team"], entity_values=[value_of(1), value_of("a")])
    assert store.read(pairs, turned) == [(NOON, {"x": 1.0})]


def test_a_view_without_an_entity_has_one_row(store: Opened) -> None:
    schema = [Field(name="x", dtype=Float64)]
    view = FeatureView(name="whole", entities=[], schema=schema, source=source_of("whole"))
    store.update(view)
    assert store.read(view, NO_ENTITY) == [(None, None)]
    store.write(view, row(NO_ENTITY, NOON, x=1.0))
    store.write(view, row(NO_ENTITY, NOON, x=2.0))
    assert store.read(view, NO_ENTITY) == [(NOON, {"x": 2.0})]


def test_the_answer_has_the_order_of_the_keys_asked(store: Opened) -> None:
    view = view_of()
    store.update(view)
    names = [f"{i}" for i in range(300)]
    store.write(view, *(row(name, NOON, x=float(name)) for name in names))
    random.Random(7).shuffle(names)
    assert store.read(view, *names) == [(NOON, {"x": float(name)}) for name in names]


def test_an_unknown_key_is_answered_with_nothing_in_its_place(store: Opened) -> None:
    view = view_of()
    store.update(view)
    store.write(view, row("a", NOON, x=1.0), row("c", NOON, x=3.0))
    assert store.read(view, "c", "b", "a") == [(NOON, {"x": 3.0}), (None, None), (NOON, {"x": 1.0})]
    assert store.read(view, "b") == [(None, None)]


def test_a_key_asked_for_twice_is_answered_twice(store: Opened) -> None:
    view = view_of()
    store.update(view)
    store.write(view, row("a", NOON, x=1.0))
    known, nothing = (NOON, {"x": 1.0}), (None, None)
    assert store.read(view, "a", "b", "a", "a", "b") == [known, nothing, known, known, nothing]


def test_no_key_asked_is_an_empty_answer(store: Opened) -> None:
    view = view_of()
    store.update(view)
    store.write(view, row("a", NOON, x=1.0))
    assert store.read(view) == []


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["y"], {"y": 2.0}),
        (["z", "x"], {"x": 1.0, "z": None}),
        (["x", "nobody"], {"x": 1.0}),
    ],
)
def test_only_the_features_asked_for_come(store: Opened, asked: list[str], expected: dict[str, float]) -> None:
    view = view_of(x=Float64, y=Float64, z=Float64)
    store.update(view)
    store.write(view, row("a", NOON, x=1.0, y=2.0, z=None))
    assert store.read(view, "a", features=asked) == [(NOON, expected)]


@stock_fails("a question for all features has one parameter too many", raises=psycopg.ProgrammingError)
def test_all_features_come_when_none_is_named(store: Opened) -> None:
    view = view_of(x=Float64, y=Float64, z=Float64)
    store.update(view)
    store.write(view, row("a", NOON, x=1.0, y=2.0, z=None))
    assert store.read(view, "a", "b", features=None) == [(NOON, {"x": 1.0, "y": 2.0, "z": None}), (None, None)]


def test_two_views_with_the_same_keys_do_not_mix(store: Opened) -> None:
    one, two = view_of("one"), view_of("two")
    store.update(one, two)
    store.write(one, row("a", NOON, x=1.0), row("b", NOON, x=2.0))
    store.write(two, row("a", NOON, x=3.0))
    assert store.read(one, "a", "b") == [(NOON, {"x": 1.0}), (NOON, {"x": 2.0})]
    assert store.read(two, "a", "b") == [(NOON, {"x": 3.0}), (None, None)]
