"""When prices and results can have been known."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betting_assets.sources import times

WEEK = [  # the week of Monday 14 October 2019: date, day on which its prices were collected
    ("2019-10-14", "2019-10-11"),
    ("2019-10-15", "2019-10-15"),
    ("2019-10-16", "2019-10-15"),
    ("2019-10-17", "2019-10-15"),
    ("2019-10-18", "2019-10-18"),
    ("2019-10-19", "2019-10-18"),
    ("2019-10-20", "2019-10-18"),
]


def series(*moments: str | None, utc: bool = False) -> pd.Series:
    return pd.Series(pd.to_datetime(list(moments), utc=utc)).astype("datetime64[ns, UTC]" if utc else "datetime64[ns]")


@pytest.mark.parametrize(("date", "collected"), WEEK)
def test_weekend_prices_are_of_friday_and_midweek_prices_of_tuesday(date: str, collected: str) -> None:
    evening = series(f"{date} 19:00", utc=True)
    assert times.pre_close_taken_at(series(date), evening)[0] == pd.Timestamp(f"{collected} 15:00", tz="UTC")


def test_prices_are_taken_an_hour_before_kick_off_at_the_latest() -> None:
    taken = times.pre_close_taken_at(series("2019-10-18"), series("2019-10-18 15:30", utc=True))
    assert taken[0] == pd.Timestamp("2019-10-18 14:30", tz="UTC")


def test_without_a_kick_off_prices_are_taken_at_noon_at_the_latest() -> None:
    taken = times.pre_close_taken_at(series("2019-10-18", "2019-10-19"), series(None, None, utc=True))
    assert list(taken) == [pd.Timestamp("2019-10-18 12:00", tz="UTC"), pd.Timestamp("2019-10-18 15:00", tz="UTC")]


def test_the_close_is_the_kick_off_or_the_end_of_the_date() -> None:
    close = times.close_taken_at(series("2019-10-18", "2019-10-19"), series("2019-10-18 19:00", None, utc=True))
    assert list(close) == [pd.Timestamp("2019-10-18 19:00", tz="UTC"), pd.Timestamp("2019-10-20", tz="UTC")]


@given(st.dates(dt.date(1993, 7, 1), dt.date(2090, 1, 1)), st.one_of(st.none(), st.integers(0, 24 * 60 - 1)))
def test_prices_are_always_older_than_the_close_and_the_result(date: dt.date, minutes: int | None) -> None:
    day = series(str(date))
    clock = pd.Series([pd.NaT if minutes is None else pd.Timedelta(minutes=minutes)], dtype="timedelta64[ns]")
    kickoff = times.kickoff_utc(day, clock)
    taken = times.pre_close_taken_at(day, kickoff)[0]
    assert taken < times.close_taken_at(day, kickoff)[0]
    assert taken < times.known_at(day)[0]


@pytest.mark.parametrize("text", ["2017/2018", "2017/18", "2017-18", "1718"])
def test_a_season_may_be_written_in_several_ways(text: str) -> None:
    assert times.parse_season(text) == "1718"


def test_2019_20_ends_in_august_but_not_in_scotland() -> None:
    assert times.season_of(dt.date(2020, 8, 2), "I1") == "1920"
    assert times.season_of(dt.date(2020, 8, 1), "SC0") == "2021"
    assert times.season_of(dt.date(2021, 7, 31), "SC0") == "2122"


@given(st.dates(dt.date(1970, 1, 1), dt.date(2069, 12, 31)))
def test_a_date_is_read_back_from_every_format(date: dt.date) -> None:
    for text in (f"{date:%d/%m/%Y}", f"{date:%d/%m/%y}", f"{date:%Y-%m-%d}"):
        assert times.parse_date(text) == date
