"""Rows pushed without a frame leave what `push` leaves of the same rows, in both stores and to the bit."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import psycopg
import pytest
from feast import FeatureStore

from betting_assets.warehouse.features import write_feature_table
from feature_repo.columns import market_columns, typed
from feature_repo.operations import apply_definitions
from feature_repo.push import push
from feature_repo.push_rows import RowPusher
from feature_repo.store import feature_store, forget

pytestmark = pytest.mark.services
AT = dt.datetime(2026, 3, 6, 15, 0, 0, 123456, tzinfo=dt.UTC)
NAMES = list(market_columns())
VIEW = "match_market"


def micros(at: dt.datetime) -> int:
    return (at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def cells(seed: float, *, missing: bool = False) -> list[object]:
    values: list[object] = []
    for place, name in enumerate(NAMES):
        if name.endswith("_book"):
            values.append(None if missing else f"böok \"{seed}\" \\ 'x'")
        elif name.endswith("_fallback"):
            values.append(float("nan") if missing else float(place % 2))
        else:
            values.append(float("nan") if missing else (seed + place) / 3.0)
    return values


def frame_of(rows: dict[str, tuple[object, ...]]) -> pd.DataFrame:
    times = [pd.Timestamp(int(row[0]), unit="us", tz="UTC") for row in rows.values()]  # type: ignore[call-overload]
    columns = {name: [row[place] for row in rows.values()] for place, name in enumerate(NAMES, 1)}
    keys = {"match_id": list(rows), "event_timestamp": pd.DatetimeIndex(times)}
    frame = pd.DataFrame(keys | columns)
    flags = {
        name: frame[name].map(lambda v: None if v != v else bool(v)).astype("boolean")
        for name in NAMES
        if name.endswith("_fallback")
    }
    return typed(frame.assign(**flags))


@pytest.fixture
def store(database: str):
    empty = frame_of({"x": (micros(AT), *cells(1.0))}).head(0)
    write_feature_table(database, VIEW, empty)
    made = feature_store(database, "wall")
    apply_definitions(made)
    yield made
    forget()


def stored(url: str, match_id: str) -> tuple[list[tuple], list[tuple]]:
    columns = ", ".join(f'"{name}"' for name in ("event_timestamp", *NAMES))
    with psycopg.connect(url) as connection:
        offline = connection.execute(
            f"SELECT {columns} FROM features.{VIEW} WHERE match_id = %s ORDER BY event_timestamp",  # noqa: S608
            [match_id],
        ).fetchall()
        [(schema, table)] = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE tablename LIKE %s", [f"%:{VIEW}"]
        ).fetchall()
        online = connection.execute(
            f'SELECT event_us, created_us, schema_id, value FROM "{schema}"."{table}" '  # noqa: S608
            "WHERE position(convert_to(%s, 'UTF8') in entity_key) > 0",
            [match_id],
        ).fetchall()
    return offline, online


@pytest.mark.parametrize("missing", [False, True])
def test_the_rows_are_those_of_push(store: FeatureStore, database: str, missing: bool) -> None:
    by_frame, by_rows = ({name: (micros(AT), *cells(1.7, missing=missing))} for name in ("framed", "rowed"))
    push(store, VIEW, frame_of(by_frame))
    RowPusher(store, VIEW, NAMES).push(by_rows)
    (framed, framed_online), (rowed, rowed_online) = stored(database, "framed"), stored(database, "rowed")
    assert rowed == framed
    assert rowed_online == framed_online
    assert len(rowed) == len(rowed_online) == 1


def test_online_the_newest_row_wins_and_offline_every_time_has_one(store: FeatureStore, database: str) -> None:
    pusher = RowPusher(store, VIEW, NAMES)
    for at, seed in ((AT, 1.0), (AT - dt.timedelta(seconds=1), 2.0), (AT, 3.0)):
        pusher.push({"mine": (micros(at), *cells(seed))})
    pusher.push({"only": (micros(AT), *cells(3.0))})
    offline, online = stored(database, "mine")
    assert [row[0] for row in offline] == [AT - dt.timedelta(seconds=1), AT]
    assert offline[1] == stored(database, "only")[0][0]
    assert online == stored(database, "only")[1]


def test_what_one_store_refuses_is_in_neither(store: FeatureStore, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE features.{VIEW} ADD CONSTRAINT no_seven CHECK (match_id <> 'seven')")
    pusher = RowPusher(store, VIEW, NAMES)
    with pytest.raises(psycopg.errors.CheckViolation):
        pusher.push({"six": (micros(AT), *cells(1.0)), "seven": (micros(AT), *cells(1.0))})
    assert stored(database, "six") == ([], [])
    pusher.push({"six": (micros(AT), *cells(1.0))})
    assert len(stored(database, "six")[0]) == 1


def test_features_that_are_not_those_of_the_view_are_refused(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match="give every feature once"):
        RowPusher(store, VIEW, NAMES[1:])


def test_a_count_that_the_batch_stored_as_a_whole_number_can_be_pushed(store: FeatureStore, database: str) -> None:
    row = (micros(AT), *(5.0 if name.endswith("_books") else None for name in NAMES))
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("ALTER TABLE features.match_market ALTER COLUMN market_1x2_books TYPE bigint")
        RowPusher(store, VIEW, NAMES).push({"m": row})
        stored = conn.execute("SELECT market_1x2_books FROM features.match_market WHERE match_id = 'm'").fetchone()
    assert stored == (5,)
