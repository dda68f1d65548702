"""Applying, changing and removing views: what was written stays readable, and what is removed is gone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from feast import FeatureView
from feast.types import Array, FeastType, Float64, Int64, String
from invented_stores import HOUR, NOON, Opened, OpenStore, row, stock_fails, view_of

BEFORE = view_of(x=Float64, y=Float64)
OLD_ROW = row("old", NOON, x=1.0, y=2.0)


def tables(admin: psycopg.Connection, schema: str) -> list[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1"
    return [name for (name,) in admin.execute(query, [schema]).fetchall()]


@pytest.fixture
def old(store: Opened) -> Opened:
    """A store with a row that was written before the view changed."""
    store.update(BEFORE)
    store.write(BEFORE, OLD_ROW)
    return store


@pytest.mark.parametrize("dtype", [Float64, String, Int64, Array(Float64)], ids=str)
def test_a_new_feature_is_absent_from_old_rows_and_breaks_none(old: Opened, dtype: FeastType) -> None:
    after = view_of(a_first=dtype, x=Float64, y=Float64, z_last=dtype)
    old.update(after)
    assert old.read(after, "old") == [(NOON, {"x": 1.0, "y": 2.0})]
    old.write(after, row("new", NOON, a_first=None, x=3.0, y=4.0, z_last=None))
    assert old.read(after, "new", "old") == [
        (NOON, {"a_first": None, "x": 3.0, "y": 4.0, "z_last": None}),
        (NOON, {"x": 1.0, "y": 2.0}),
    ]


def test_a_dropped_feature_leaves_the_others_readable(old: Opened) -> None:
    after = view_of(y=Float64)
    old.update(after)
    assert old.read(after, "old") == [(NOON, {"y": 2.0})]
    old.write(after, row("new", NOON, y=4.0))
    assert old.read(after, "old", "new") == [(NOON, {"y": 2.0}), (NOON, {"y": 4.0})]


def test_features_in_another_order_keep_their_values(old: Opened) -> None:
    after = view_of(y=Float64, x=Float64)
    old.update(after)
    old.write(after, row("new", NOON, y=4.0, x=3.0))
    assert old.read(after, "old", "new") == [(NOON, {"x": 1.0, "y": 2.0}), (NOON, {"x": 3.0, "y": 4.0})]


@pytest.mark.parametrize(("dtype", "value"), [(String, "3"), (Int64, 2**60 + 1), (Array(Float64), None)], ids=str)
def test_a_feature_of_another_type_keeps_what_is_old_or_lacks_it(old: Opened, dtype: FeastType, value: object) -> None:
    after = view_of(x=dtype, y=Float64)
    old.update(after)
    old.write(after, row("new", NOON, x=value, y=4.0))
    [before, new] = old.read(after, "old", "new")
    assert before in [(NOON, {"x": 1.0, "y": 2.0}), (NOON, {"y": 2.0})]
    assert new == (NOON, {"x": value, "y": 4.0})


def test_processes_with_old_and_new_definitions_write_side_by_side(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    after = view_of(w=Float64, y=String)
    one.update(BEFORE)
    one.write(BEFORE, OLD_ROW)
    other.update(after)
    for i in range(4):
        one.write(BEFORE, row(f"one {i}", NOON, x=1.0, y=float(i)))
        other.write(after, row(f"other {i}", NOON, w=2.0, y=f"{i}"))
        assert one.read(BEFORE, f"one {i}", "old") == [(NOON, {"x": 1.0, "y": float(i)}), (NOON, {"x": 1.0, "y": 2.0})]
        assert other.read(after, f"other {i}") == [(NOON, {"w": 2.0, "y": f"{i}"})]
        assert one.read(after, f"other {i}") == other.read(after, f"other {i}")
        assert other.read(BEFORE, f"one {i}") == one.read(BEFORE, f"one {i}")


def test_applying_again_changes_nothing(old: Opened, admin: psycopg.Connection, schema: str) -> None:
    before = tables(admin, schema)
    for _ in range(3):
        old.update(BEFORE)
    assert tables(admin, schema) == before
    assert old.read(BEFORE, "old") == [(NOON, {"x": 1.0, "y": 2.0})]


@stock_fails("two processes that create one table at the same time fail", raises=psycopg.Error)
def test_applying_at_the_same_time_does_not_fail(open_store: OpenStore, own_url: str) -> None:
    stores = [open_store(own_url) for _ in range(6)]
    for round_number in range(5):
        views = [view_of(f"view_{round_number}_{i}", x=String) for i in range(3)]
        start = threading.Barrier(len(stores))

        def apply(store: Opened, start: threading.Barrier = start, views: list[FeatureView] = views) -> None:
            start.wait(30)
            store.update(*views)

        with ThreadPoolExecutor(len(stores)) as pool:
            for done in [pool.submit(apply, store) for store in stores]:
                done.result()
        stores[0].write(views[0], row("a", NOON, x="1"))
        assert stores[1].read(views[0], "a") == [(NOON, {"x": "1"})]


def test_a_schema_that_is_there_already_is_used(store: Opened, admin: psycopg.Connection, schema: str) -> None:
    admin.execute(f"CREATE SCHEMA {schema}")
    store.update(BEFORE)
    store.write(BEFORE, OLD_ROW)
    assert store.read(BEFORE, "old") == [(NOON, {"x": 1.0, "y": 2.0})]


def test_a_deleted_view_leaves_no_table_and_the_others_alone(
    old: Opened, admin: psycopg.Connection, schema: str
) -> None:
    other = view_of("other")
    before = tables(admin, schema)
    old.update(BEFORE, other)
    old.write(other, row("a", NOON, x=1.0))
    assert tables(admin, schema) != before
    old.update(BEFORE, delete=[other])
    assert tables(admin, schema) == before
    assert old.read(BEFORE, "old") == [(NOON, {"x": 1.0, "y": 2.0})]
    old.update(BEFORE, delete=[other])


def test_a_view_that_was_deleted_and_made_again_is_empty(old: Opened) -> None:
    old.update(delete=[BEFORE])
    old.update(BEFORE)
    assert old.read(BEFORE, "old") == [(None, None)]
    old.write(BEFORE, row("old", NOON - HOUR, x=5.0, y=6.0))
    assert old.read(BEFORE, "old") == [(NOON - HOUR, {"x": 5.0, "y": 6.0})]


def test_teardown_removes_every_table(old: Opened, admin: psycopg.Connection, schema: str) -> None:
    other = view_of("other", text=String)
    old.update(BEFORE, other)
    old.write(other, row("a", NOON, text="1"))
    old.teardown(BEFORE, other)
    assert tables(admin, schema) == []
    old.teardown(BEFORE, other)


def test_a_store_goes_on_after_another_process_tore_down_and_applied(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    one.update(BEFORE)
    for _ in range(3):
        one.write(BEFORE, OLD_ROW)
        assert one.read(BEFORE, "old") == other.read(BEFORE, "old") == [(NOON, {"x": 1.0, "y": 2.0})]
        other.teardown(BEFORE)
        other.update(BEFORE)
        assert one.read(BEFORE, "old") == [(None, None)]
    one.write(BEFORE, row("new", NOON, x=3.0, y=None))
    assert open_store().read(BEFORE, "new") == [(NOON, {"x": 3.0, "y": None})]


def test_two_projects_in_one_schema_do_not_mix(open_store: OpenStore, admin: psycopg.Connection, schema: str) -> None:
    one, other = open_store(project="one"), open_store(project="other")
    for project, value in ((one, 1.0), (other, 2.0)):
        project.update(BEFORE)
        project.write(BEFORE, row("a", NOON, x=value, y=value))
    assert one.read(BEFORE, "a") == [(NOON, {"x": 1.0, "y": 1.0})]
    assert other.read(BEFORE, "a") == [(NOON, {"x": 2.0, "y": 2.0})]
    one.teardown(BEFORE)
    assert other.read(BEFORE, "a") == [(NOON, {"x": 2.0, "y": 2.0})]
    assert open_store(project="other").read(BEFORE, "a") == [(NOON, {"x": 2.0, "y": 2.0})]
    other.teardown(BEFORE)
    assert tables(admin, schema) == []


@stock_fails("project and view are joined by an underscore, which both may hold")
def test_projects_and_views_whose_names_run_into_one_do_not_mix(open_store: OpenStore) -> None:
    one, other = open_store(project="spring"), open_store(project="spring_cup")
    long, short = view_of("cup_form"), view_of("form")
    one.update(long)
    one.write(long, row("a", NOON, x=1.0))
    other.update(short)
    assert other.read(short, "a") == [(None, None)]
    other.write(short, row("a", NOON + HOUR, x=2.0))
    assert one.read(long, "a") == [(NOON, {"x": 1.0})]


LONG = "rolling_average_of_shots_on_target_against_opponents_of_the_same_division"


@stock_fails("PostgreSQL cuts the name of the table: long names share one")
@pytest.mark.parametrize("name", [LONG, "é" * 40], ids=["letters", "letters of two bytes"])
def test_long_names_of_views_do_not_mix(open_store: OpenStore, name: str) -> None:
    store = open_store()
    views = [view_of(f"{name}_{end}") for end in ("home", "away")]
    store.update(*views)
    for i, view in enumerate(views):
        store.write(view, row("a", NOON, x=float(i)))
    store.update(*views)
    assert [store.read(view, "a") for view in views] == [[(NOON, {"x": 0.0})], [(NOON, {"x": 1.0})]]
    store.update(views[0], delete=[views[1]])
    assert store.read(views[0], "a") == [(NOON, {"x": 0.0})]


def test_a_deleted_view_leaves_a_view_alone_whose_name_looks_like_its_version(store: Opened) -> None:
    """Feast counts the versions of a view; where it keeps them all, their tables end in _v1, _v2 and so on."""
    gone, other = view_of("form"), view_of("form_v2")
    gone.current_version_number = 2
    store.update(gone, other)
    store.write(other, row("a", NOON, x=1.0))
    store.update(other, delete=[gone])
    assert store.read(other, "a") == [(NOON, {"x": 1.0})]


def write_and_read_by_name(store: Opened, name: str) -> None:
    view = view_of(name, **{name: Float64, "%s": String})
    store.update(view)
    store.write(view, row("a", NOON, **{name: 1.0, "%s": "%b"}))
    assert store.read(view, "a") == [(NOON, {name: 1.0, "%s": "%b"})]
    store.teardown(view)


@pytest.mark.parametrize(
    "name", ["select", "Mixed Case", 'quote"d', "semi;colon", "-- dash", "dotted.name", "{}", "entity_key"]
)
def test_a_name_that_sql_would_misread_is_only_a_name(store: Opened, name: str) -> None:
    write_and_read_by_name(store, name)


@stock_fails("a percent sign in a name is taken for a parameter", raises=psycopg.ProgrammingError)
@pytest.mark.parametrize("name", ["100%", "50%_ahead", "per%s"])
def test_a_percent_sign_in_a_name_is_only_a_letter(store: Opened, name: str) -> None:
    write_and_read_by_name(store, name)
