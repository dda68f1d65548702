"""A row older than its view's TTL is not served as if it were new."""

from __future__ import annotations

import datetime as dt

import pytest
from feast import FeatureStore, FeatureView
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.types import Float64
from invented_stores import DAY, HOUR, NOON, SECOND, Opened, OpenStore, item, ours_alone, row, stock_fails, view_of

MINUTE = 60 * SECOND


@pytest.fixture
def now() -> dt.datetime:
    """When the test begins: half an hour may have passed since the file was read."""
    return dt.datetime.now(dt.UTC)


@stock_fails("the TTL is ignored at read")
def test_an_expired_row_has_its_time_and_no_values(store: Opened, now: dt.datetime) -> None:
    view = view_of(ttl=HOUR)
    store.update(view)
    store.write(view, row("old", now - HOUR - SECOND, x=1.0), row("ancient", now - 900 * DAY, x=2.0))
    assert store.read(view, "old", "ancient") == [(now - HOUR - SECOND, None), (now - 900 * DAY, None)]


def test_a_row_within_its_ttl_or_of_the_future_is_served(store: Opened, now: dt.datetime) -> None:
    view = view_of(ttl=HOUR)
    store.update(view)
    store.write(view, row("young", now - HOUR + 10 * MINUTE, x=1.0), row("future", now + DAY, x=2.0))
    expected = [(now - HOUR + 10 * MINUTE, {"x": 1.0}), (None, None), (now + DAY, {"x": 2.0})]
    assert store.read(view, "young", "nobody", "future") == expected


@pytest.mark.parametrize("ttl", [None, dt.timedelta(0)], ids=["none", "zero"])
def test_without_a_ttl_no_row_ever_expires(store: Opened, ttl: dt.timedelta | None) -> None:
    view = view_of(ttl=ttl)
    store.update(view)
    ancient = dt.datetime(1903, 1, 1, tzinfo=dt.UTC)
    store.write(view, row("a", ancient, x=1.0))
    assert store.read(view, "a") == [(ancient, {"x": 1.0})]


@stock_fails("the TTL is ignored at read")
def test_a_shorter_ttl_counts_for_rows_that_are_there_already(store: Opened, now: dt.datetime) -> None:
    store.update(view_of(ttl=DAY))
    store.write(view_of(ttl=DAY), row("a", now - 2 * HOUR, x=1.0))
    assert store.read(view_of(ttl=DAY), "a") == [(now - 2 * HOUR, {"x": 1.0})]
    store.update(view_of(ttl=HOUR))
    assert store.read(view_of(ttl=HOUR), "a") == [(now - 2 * HOUR, None)]


def test_an_expired_row_is_served_again_once_it_is_written_anew(store: Opened, now: dt.datetime) -> None:
    view = view_of(ttl=HOUR)
    store.update(view)
    store.write(view, row("a", now - DAY, x=1.0))
    store.write(view, row("a", now, x=2.0))
    assert store.read(view, "a") == [(now, {"x": 2.0})]


@stock_fails("the TTL is ignored at read")
def test_the_sdk_says_outside_max_age_with_a_null_and_the_rows_time(
    feature_store: FeatureStore, store: Opened, now: dt.datetime
) -> None:
    view = view_of(ttl=HOUR, x=Float64, y=Float64)
    feature_store.apply([item, view])
    old = now.replace(microsecond=123456) - DAY
    store.write(view, row("old", old, x=1.0, y=1.0), row("new", now, x=2.0, y=None))
    answer = feature_store.get_online_features(["items:x", "items:y"], {"item": ["old", "new", "nobody"]})
    assert answer.to_dict() == {"item": ["old", "new", "nobody"], "x": [None, 2.0, None], "y": [None] * 3}
    for name in ("x", "y"):
        vector = answer.proto.results[list(answer.proto.metadata.feature_names.val).index(name)]
        assert vector.statuses == [FieldStatus.OUTSIDE_MAX_AGE, FieldStatus.PRESENT, FieldStatus.NOT_FOUND]
        assert vector.event_timestamps[0].ToDatetime(dt.UTC) == old


# The clock of the data: what a replay of history goes by.


@ours_alone
def test_by_the_datas_clock_a_row_expires_by_the_newest_event(open_store: OpenStore) -> None:
    store = open_store(clock="data")
    view = view_of(ttl=HOUR)
    store.update(view)
    last = NOON - HOUR
    store.write(view, row("newest", NOON, x=1.0), row("last", last, x=2.0), row("old", last - MICROSECOND, x=3.0))
    expected = [(NOON, {"x": 1.0}), (last, {"x": 2.0}), (last - MICROSECOND, None)]
    assert store.read(view, "newest", "last", "old") == expected
    assert store.read(view, "last", "old") == expected[1:]  # the newest row need not be among those asked for


MICROSECOND = dt.timedelta(microseconds=1)


@ours_alone
def test_the_datas_clock_never_runs_ahead_of_the_wall(open_store: OpenStore, now: dt.datetime) -> None:
    store = open_store(clock="data")
    view = view_of(ttl=HOUR)
    store.update(view)
    store.write(view, row("future", now + 900 * DAY, x=1.0), row("young", now, x=2.0), row("old", now - DAY, x=3.0))
    assert store.read(view, "young", "old") == [(now, {"x": 2.0}), (now - DAY, None)]


@ours_alone
def test_an_empty_view_has_no_clock_and_no_error(open_store: OpenStore) -> None:
    store = open_store(clock="data")
    store.update(view_of(ttl=HOUR))
    assert store.read(view_of(ttl=HOUR), "a") == [(None, None)]


@ours_alone
def test_views_asked_for_together_have_one_clock(kind: str, feature_store: FeatureStore, store: Opened) -> None:
    slow, fast = view_of("slow", ttl=HOUR, x=Float64), view_of("fast", ttl=HOUR, y=Float64)
    feature_store.apply([item, slow, fast])
    feature_store.config.online_store.clock = "data"
    store.write(slow, row("a", NOON, x=1.0))
    store.write(fast, row("a", NOON + DAY, y=2.0))
    assert asked(feature_store, slow) == {"item": ["a"], "x": [1.0]}
    assert asked(feature_store, slow, fast) == {"item": ["a"], "x": [None], "y": [2.0]}


def asked(feature_store: FeatureStore, *views: FeatureView) -> dict[str, list[object]]:
    features = [f"{view.name}:{feature.name}" for view in views for feature in view.features]
    return feature_store.get_online_features(features, {"item": ["a"]}).to_dict()
