"""Bulk transfer: what goes in comes out, whatever the cells are."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ARRAY, BigInteger, Boolean, Column, Date, DateTime, Double, MetaData, SmallInteger, Table, Text

from betting_assets.warehouse.arrow import FrameError, matrix
from betting_assets.warehouse.bulk import UpsertCounts, prices_matrix, read_frame, upsert
from betting_assets.warehouse.database import connect, engine

pytestmark = pytest.mark.services

THINGS = Table(
    "things",
    MetaData(),
    Column("id", BigInteger(), primary_key=True),
    Column("small", SmallInteger()),
    Column("number", Double()),
    Column("yes", Boolean()),
    Column("name", Text()),
    Column("day", Date()),
    Column("moment", DateTime(timezone=True)),
    Column("prices", ARRAY(Double())),
    Column("updated_at", DateTime(timezone=True)),
    schema="core",
)


@pytest.fixture
def things(database: str) -> str:
    pool = engine(database)
    THINGS.create(pool)
    pool.dispose()
    return database


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
rows = st.fixed_dictionaries(
    {
        "small": st.none() | st.integers(-(2**15), 2**15 - 1),
        "number": st.floats(allow_nan=False),
        "yes": st.none() | st.booleans(),
        "name": st.none() | text,
        "day": st.none() | st.dates(dt.date(1900, 1, 1), dt.date(2200, 1, 1)),
        "moment": st.none() | st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC)),
        "prices": st.lists(st.floats(), min_size=1, max_size=4),
    }
)


def as_frame(cells: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(cells, columns=[column.name for column in THINGS.columns if column.name != "updated_at"])
    return frame.assign(
        id=range(len(cells)),
        small=frame["small"].astype("Int64"),
        number=frame["number"].astype(float),
        yes=frame["yes"].astype("boolean"),
        day=pd.to_datetime(frame["day"]),
        moment=pd.to_datetime(frame["moment"], utc=True),
    )


@given(cells=st.lists(rows, min_size=1, max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_cell_comes_back_as_it_went_in(things: str, cells: list[dict[str, object]]) -> None:
    with connect(things) as conn:
        conn.execute("TRUNCATE core.things")
    assert upsert(things, THINGS, as_frame(cells)).inserted == len(cells)
    assert upsert(things, THINGS, as_frame(cells)) == UpsertCounts(unchanged=len(cells))
    with connect(things) as conn:
        back = conn.execute(
            "SELECT small, number, yes, name, day, moment, prices FROM core.things ORDER BY id"
        ).fetchall()
    for got, cell in zip(back, cells, strict=True):
        np.testing.assert_array_equal(got[-1], cell["prices"])
        assert got[:-1] == tuple(cell[name] for name in ("small", "number", "yes", "name", "day", "moment"))


def test_columns_that_the_frame_lacks_keep_their_value(things: str) -> None:
    upsert(things, THINGS, pd.DataFrame({"id": [1], "name": ["a"], "number": [1.5]}))
    upsert(things, THINGS, pd.DataFrame({"id": [1], "name": ["b"]}))
    assert read_frame(things, "SELECT name, number FROM core.things").to_numpy().tolist() == [["b", 1.5]]


def test_a_value_can_become_null_and_null_equals_null(things: str) -> None:
    upsert(things, THINGS, pd.DataFrame({"id": [1, 2], "name": ["a", None]}))
    gone = pd.DataFrame({"id": [1, 2], "name": [None, None]})
    assert upsert(things, THINGS, gone) == UpsertCounts(updated=1, unchanged=1)
    assert upsert(things, THINGS, gone) == UpsertCounts(unchanged=2)


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        ({"id": [1], "small": [2**15]}, r"core\.things\.small: a cell does not fit int16"),
        ({"id": [1], "small": [1.5]}, r"core\.things\.small: a cell does not fit int16"),
        ({"id": [1], "name": [7]}, r"core\.things\.name: a cell does not fit string"),
        ({"id": [1], "prices": [None]}, r"core\.things\.prices: every cell must be a list"),
        ({"id": [1], "colour": ["red"]}, r"core\.things: it has no column colour"),
        ({"name": ["a"]}, r"core\.things: the frame lacks the key id"),
        ({"id": [1, 1], "name": ["a", "b"]}, r"core\.things: 1 rows repeat a key, the first is \{'id': 1\}"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_in_one_line(
    things: str, frame: dict[str, list[object]], complaint: str
) -> None:
    with pytest.raises(FrameError, match=complaint) as error:
        upsert(things, THINGS, pd.DataFrame(frame))
    assert "\n" not in str(error.value)
    assert read_frame(things, "SELECT * FROM core.things").empty


def test_a_query_takes_parameters_and_times_come_back_in_utc(database: str) -> None:
    got = read_frame(database, "SELECT '2021-08-08 01:00+02'::timestamptz AS t WHERE 'b' = ANY($1)", [["a", "b"]])
    assert got["t"].tolist() == [pd.Timestamp("2021-08-07 23:00", tz="UTC")]
    assert str(got["t"].dtype) == "datetime64[ns, UTC]"


def test_prices_become_a_matrix_of_the_markets_width() -> None:
    books = pd.DataFrame({"prices": [[2.0, 3.0, 4.0], np.array([1.5, np.nan, 7.0])]})
    np.testing.assert_array_equal(prices_matrix(books, 3), [[2, 3, 4], [1.5, np.nan, 7]])
    assert prices_matrix(books.head(0), 3).shape == (0, 3)
    with pytest.raises(FrameError, match="expected 3 numbers in every row"):
        matrix([[1.0, 2.0]], 3)
