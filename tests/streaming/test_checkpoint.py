"""What a checkpoint holds comes back as it was, and an older book never replaces a newer one."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from betting_assets.modelling.markets import MARKETS
from betting_assets.streaming.scoring.books import NAN, At, Book
from betting_assets.streaming.scoring.checkpoint import load, save
from betting_assets.warehouse.database import connect

pytestmark = pytest.mark.services

prices = st.floats(1.001, 1001.0) | st.just(NAN)


def books(width: int) -> st.SearchStrategy[Book]:
    some = st.tuples(*[prices] * width)
    return st.builds(
        Book,
        bookmaker=st.just("any"),
        prices=some,
        lay=st.just(()) | some,
        trading=st.sampled_from(["open", "suspended", "closed"]),
        in_play=st.booleans(),
        taken_at=st.integers(946_684_800_000_000, 4_102_444_800_000_000),
        sequence=st.integers(0, 2**63 - 1),
        at=st.builds(
            At, epoch=st.integers(1, 2**15 - 1), partition=st.integers(0, 99), offset=st.integers(0, 2**63 - 1)
        ),
    )


held = st.dictionaries(
    st.sampled_from(["m1", "m2"]), st.fixed_dictionaries({m: books(len(s.selections)) for m, s in MARKETS.items()})
)


def as_changed(matches: dict[str, dict[str, Book]]) -> dict[tuple[str, str, str], Book]:
    every = ((match, market, book) for match, markets in matches.items() for market, book in markets.items())
    return {(match, market, book.bookmaker): book for match, market, book in every}


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(matches=held)
def test_books_come_back_to_the_last_bit_and_microsecond(database: str, matches: dict[str, dict[str, Book]]) -> None:
    with connect(database, autocommit=True) as conn:
        conn.execute("TRUNCATE stream.current_book")
        save(conn, as_changed(matches), {})
        found = load(conn, ["m1", "m2"])
    assert {match for match, markets in found.items() if any(markets.values())} == matches.keys()
    for match, markets in matches.items():
        for market, book in markets.items():
            assert repr(found[match][market]) == repr([book])  # NaN is not itself


def test_of_two_books_the_newer_one_stays_whoever_writes_last(database: str) -> None:
    old, new = (
        Book("any", (price, 3.0, 4.0), (), "open", False, 946_684_800_000_000, sequence, At(1, 0, 5))
        for sequence, price in ((1, 2.0), (2, 2.1))
    )
    with connect(database, autocommit=True) as conn:
        for book in (old, new, old):
            save(conn, as_changed({"m1": {"1x2": book}}), {})
        assert load(conn, ["m1"])["m1"]["1x2"] == [new]


def test_a_refused_book_leaves_nothing_behind(database: str) -> None:
    good = Book("any", (2.0, 3.0, 4.0), (), "open", False, 946_684_800_000_000, 0, At(1, 0, 5))
    with connect(database, autocommit=True) as conn:
        with pytest.raises(psycopg.errors.DatetimeFieldOverflow):
            save(conn, as_changed({"m1": {"1x2": good}, "m2": {"1x2": good._replace(taken_at=2**63 - 1)}}), {})
        assert load(conn, ["m1"])["m1"]["1x2"] == []
