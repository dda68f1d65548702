"""Which of several writes of a key is served: the newest by event time, then by created time, then by arrival."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from feast import FeatureView
from feast.types import Float64
from invented_stores import HOUR, NOON, SECOND, Opened, Row, row, stock_fails, view_of

MICROSECOND = dt.timedelta(microseconds=1)


@pytest.fixture
def view(store: Opened) -> FeatureView:
    view = view_of(x=Float64, y=Float64)
    store.update(view)
    return view


def served(store: Opened, view: FeatureView) -> float:
    [(_, values)] = store.read(view, "a")
    assert values is not None
    return values["x"]


@pytest.mark.parametrize("later", [MICROSECOND, SECOND, 24 * HOUR], ids=str)
def test_a_newer_write_replaces_an_older_one(store: Opened, view: FeatureView, later: dt.timedelta) -> None:
    store.write(view, row("a", NOON, x=1.0, y=1.0))
    store.write(view, row("a", NOON + later, x=2.0, y=2.0))
    assert store.read(view, "a") == [(NOON + later, {"x": 2.0, "y": 2.0})]


@stock_fails("a stale write overwrites a newer one")
@pytest.mark.parametrize("earlier", [MICROSECOND, SECOND, 24 * HOUR], ids=str)
def test_a_stale_write_changes_nothing(store: Opened, view: FeatureView, earlier: dt.timedelta) -> None:
    store.write(view, row("a", NOON, NOON, x=1.0, y=1.0))
    store.write(view, row("a", NOON - earlier, NOON + HOUR, x=2.0, y=2.0))
    assert store.read(view, "a") == [(NOON, {"x": 1.0, "y": 1.0})]


def test_a_stale_write_of_one_key_does_not_hold_up_the_others(store: Opened, view: FeatureView) -> None:
    store.write(view, row("a", NOON, x=1.0), row("b", NOON, x=1.0))
    store.write(view, row("a", NOON - HOUR, x=2.0), row("b", NOON + HOUR, x=2.0), row("c", NOON - HOUR, x=2.0))
    assert store.read(view, "b", "c", features=["x"]) == [(NOON + HOUR, {"x": 2.0}), (NOON - HOUR, {"x": 2.0})]


@stock_fails("a stale write adds its features to a newer row")
def test_a_stale_write_adds_no_feature_to_a_newer_row(store: Opened, view: FeatureView) -> None:
    store.write(view, row("a", NOON, x=1.0))
    store.write(view, row("a", NOON - HOUR, y=2.0))
    assert store.read(view, "a") == [(NOON, {"x": 1.0})]


# From older to newer: event time first, then created time, where a missing one is the earliest.
ORDER = [
    (NOON - SECOND, NOON + HOUR),
    (NOON, None),
    (NOON, NOON - HOUR),
    (NOON, NOON - HOUR + MICROSECOND),
    (NOON, NOON),
    (NOON + MICROSECOND, None),
    (NOON + SECOND, NOON - HOUR),
]
PAIRS = list(itertools.combinations(range(len(ORDER)), 2))


def written(number: int) -> Row:
    event, created = ORDER[number]
    return row("a", event, created, x=float(number), y=0.0)


def test_writes_in_their_order_leave_the_last(store: Opened, view: FeatureView) -> None:
    for number in range(len(ORDER)):
        store.write(view, written(number))
        assert served(store, view) == number


@stock_fails("neither event time nor created time is compared")
@pytest.mark.parametrize(("older", "newer"), PAIRS)
def test_the_older_of_two_writes_never_replaces_the_newer(
    store: Opened, view: FeatureView, older: int, newer: int
) -> None:
    store.write(view, written(newer))
    store.write(view, written(older))
    assert served(store, view) == newer


@stock_fails("of several rows of a key in one batch the last in the list is kept")
@pytest.mark.parametrize("place", [0, 3, len(ORDER) - 2])
def test_the_newest_of_one_batch_is_kept_wherever_it_stands(store: Opened, view: FeatureView, place: int) -> None:
    *older, newest = range(len(ORDER))
    store.write(view, *map(written, [*older[:place], newest, *older[place:]]))
    assert served(store, view) == newest


@pytest.mark.parametrize("created", [None, NOON], ids=["created unknown", "created known"])
def test_of_two_writes_with_equal_times_the_later_wins(
    store: Opened, view: FeatureView, created: dt.datetime | None
) -> None:
    store.write(view, row("a", NOON, created, x=1.0, y=1.0))
    store.write(view, row("a", NOON, created, x=2.0, y=2.0))
    assert served(store, view) == 2.0
    store.write(view, row("a", NOON, created, x=3.0, y=3.0), row("a", NOON, created, x=4.0, y=4.0))
    assert served(store, view) == 4.0


def test_a_feature_that_a_write_does_not_bring(store: Opened, view: FeatureView) -> None:
    """Documented difference. Ours replaces the row, so that all of an answer is from one time; Feast's keeps the old
    value, under the new row's time or its own, as it happens."""
    store.write(view, row("a", NOON, x=1.0, y=1.0))
    store.write(view, row("a", NOON + HOUR, x=2.0))
    [(time, values)] = store.read(view, "a")
    assert values == {"stock": {"x": 2.0, "y": 1.0}, "packed": {"x": 2.0}}[store.kind]
    if store.kind == "packed":
        assert time == NOON + HOUR
    store.write(view, row("a", NOON + 2 * HOUR, x=3.0, y=3.0))
    assert store.read(view, "a") == [(NOON + 2 * HOUR, {"x": 3.0, "y": 3.0})]
