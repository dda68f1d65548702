"""Dates, seasons and the moments at which prices and results can have been known. All moments are UTC."""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache

import numpy as np
import pandas as pd

UK = "Europe/London"
"""football-data.co.uk gives kick-off times of every league in UK local time."""

_DAYS_SINCE_COLLECTION = np.array([3, 0, 1, 2, 0, 1, 2])
"""Monday to Sunday: days since the Friday (for Friday to Monday) or Tuesday (Tuesday to Thursday) of the collection."""

_COLLECTION_TIME = pd.Timedelta(hours=15)
_LAST_MINUTE = pd.Timedelta(hours=1)
_LATEST_WITHOUT_KICKOFF = pd.Timedelta(hours=12)
_DAY = pd.Timedelta(days=1)

_DAY_FIRST = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})(?: 00:00(?::00)?)?")
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ]00:00(?::00)?)?")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::[0-5]\d)?")
_SEASON_PAIR = re.compile(r"(?:\d\d)?(\d\d)\s*[/-]\s*(?:\d\d)?(\d\d)")

_NEW_SEASON = (7, 1)
_LATE_FINISH = {2020: (8, 3)}
"""The pandemic moved the end of 2019/20 to the second of August; no division that the files cover ran longer."""
_EARLY_KICK_OFF = {("SC0", 2020): (8, 1)}
"""Scotland had curtailed 2019/20 and began the next season while Italy still finished the last."""


@lru_cache(maxsize=50_000)
def parse_date(text: str) -> dt.date | None:
    """dd/mm/yy, dd/mm/yyyy or ISO, decided row by row because files mix them; None where it is no date."""
    try:
        if found := _DAY_FIRST.fullmatch(text):
            day, month, year = (int(part) for part in found.groups())
            if year < 100:
                year += 1900 if year >= 70 else 2000
            return dt.date(year, month, day)
        if found := _ISO.fullmatch(text):
            return dt.date(*(int(part) for part in found.groups()))
    except ValueError:
        return None
    return None


def parse_clock(text: str) -> dt.timedelta | None:
    """'19:45' as time since midnight; None where it is no time of day."""
    found = _CLOCK.fullmatch(text)
    return dt.timedelta(hours=int(found[1]), minutes=int(found[2])) if found else None


def season_code(start_year: int, calendar_year: bool = False) -> str:
    """2017 → '1718'; a season within one calendar year, 2017 → '1717'."""
    return f"{start_year % 100:02d}{(start_year + (not calendar_year)) % 100:02d}"


def season_of(date: dt.date, league: str, calendar_year: bool = False) -> str:
    """The season by date: July to June, except for the late finish of 2019/20, or the calendar year."""
    if calendar_year:
        return season_code(date.year, True)
    first = _EARLY_KICK_OFF.get((league, date.year)) or _LATE_FINISH.get(date.year) or _NEW_SEASON
    return season_code(date.year - ((date.month, date.day) < first))


def is_season_code(text: str) -> bool:
    """Whether the text is four digits of two consecutive years, such as '1718' or '9900'."""
    return len(text) == 4 and text.isascii() and text.isdigit() and (int(text[:2]) + 1) % 100 == int(text[2:])


def season_holds(code: str, date: dt.date) -> bool:
    """Whether a date can belong to a season: from mid-June before it to the end of August after it."""
    start = int(code[:2]) + (1900 if int(code[:2]) >= 70 else 2000)
    return dt.date(start, 6, 15) <= date <= dt.date(start + 1, 8, 31)


def parse_season(text: str) -> str | None:
    """'1718', '2017/2018', '2017/18', '2017-18' → '1718'; a single year '2015' → '1515'; None otherwise."""
    if is_season_code(text):
        return text
    if found := _SEASON_PAIR.fullmatch(text):
        return f"{found[1]}{found[2]}"
    if re.fullmatch(r"(19|20)\d\d", text):
        return season_code(int(text), calendar_year=True)
    return None


def kickoff_utc(match_date: pd.Series[pd.Timestamp], clock: pd.Series[pd.Timedelta]) -> pd.Series[pd.Timestamp]:
    """Kick-off in UTC from the date and the UK time of day (NaT where unknown). Winter time in the doubled hour."""
    local = match_date + clock
    winter = np.zeros(len(local), dtype=bool)
    return local.dt.tz_localize(UK, ambiguous=winter, nonexistent="shift_forward").dt.tz_convert("UTC")


def known_at(match_date: pd.Series[pd.Timestamp]) -> pd.Series[pd.Timestamp]:
    """When a feature may first use the result: midnight UTC after the match date."""
    return match_date.dt.tz_localize("UTC") + _DAY


def pre_close_taken_at(
    match_date: pd.Series[pd.Timestamp], kickoff: pd.Series[pd.Timestamp]
) -> pd.Series[pd.Timestamp]:
    """Friday or Tuesday 15:00 UTC, when football-data.co.uk collects, but never later than an hour before kick-off.

    Without a kick-off time it is noon of the match date at the latest.
    """
    midnight = match_date.dt.tz_localize("UTC")
    days = pd.Series(_DAYS_SINCE_COLLECTION[match_date.dt.dayofweek.to_numpy()], index=match_date.index)
    collected = midnight - pd.to_timedelta(days, unit="D") + _COLLECTION_TIME
    latest = (kickoff - _LAST_MINUTE).fillna(midnight + _LATEST_WITHOUT_KICKOFF)
    return collected.where(collected <= latest, latest)


def close_taken_at(match_date: pd.Series[pd.Timestamp], kickoff: pd.Series[pd.Timestamp]) -> pd.Series[pd.Timestamp]:
    """The kick-off, or the end of the match date where only the date is known."""
    return kickoff.fillna(known_at(match_date))
