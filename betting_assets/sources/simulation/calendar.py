"""When a double round robin is played: weekends from August to May, with breaks, midweek rounds and kick-off times."""

from __future__ import annotations

import datetime as dt

import numpy as np
from numpy.typing import NDArray

_WEEKENDS = 40
_BREAKS = frozenset({3, 7, 12, 31})
"""Weekends without league football: the dates of national teams in September, October, November and March."""

MOST_ROUNDS = 2 * (_WEEKENDS - len(_BREAKS))

_SATURDAY_AFTERNOON = (0, 15 * 60)
_WEEKEND_SLOTS = ((-1, 20 * 60), (0, 12 * 60 + 30), (0, 17 * 60 + 30), (1, 14 * 60), (1, 16 * 60 + 30), (2, 20 * 60))
_MIDWEEK_SLOTS = ((3, 19 * 60 + 45), (4, 19 * 60 + 45), (4, 20 * 60))
_LAST_ROUND = (1, 16 * 60)
"""Days from the round's Saturday, minutes after midnight, UK time. The last round is played at one time."""


def double_round_robin(teams: int) -> NDArray[np.intp]:
    """Fixtures (rounds, matches, 2): places (home, away) by the circle method; the second half swaps the sides."""
    circle = list(range(1, teams))
    rounds = []
    for number in range(teams - 1):
        left = [0, *circle[: teams // 2 - 1]]
        right = circle[teams // 2 - 1 :][::-1]
        # Place 0 stays, so it must alternate by round; the others alternate by moving to the other side of the circle.
        pairs = [
            (b, a) if (number % 2 if a == 0 else position % 2) else (a, b)
            for position, (a, b) in enumerate(zip(left, right, strict=True))
        ]
        rounds.append(pairs)
        circle = circle[-1:] + circle[:-1]
    first = np.array(rounds, dtype=np.intp)
    return np.concatenate([first, first[:, :, ::-1]])


def season_slots(
    rounds: int, matches: int, year: int, rng: np.random.Generator
) -> tuple[list[dt.date], NDArray[np.int_]]:
    """Match dates and minutes after UK midnight, both (rounds × matches) flat, of a season that starts in `year`."""
    dates: list[dt.date] = []
    minutes: list[int] = []
    calendar = _round_days(rounds, year)
    for number, (saturday, midweek) in enumerate(calendar):
        before_midweek = number + 1 < rounds and calendar[number + 1][1]
        slots = _slots(matches, midweek, number == rounds - 1, before_midweek)
        for place in rng.permutation(matches):
            day, minute = slots[place]
            dates.append(saturday + dt.timedelta(days=day))
            minutes.append(minute)
    return dates, np.array(minutes)


def _round_days(rounds: int, year: int) -> list[tuple[dt.date, bool]]:
    """(Saturday of the week, whether the round is played midweek after it); midweek rounds are spread evenly."""
    august = dt.date(year, 8, 8)
    first = august + dt.timedelta(days=(5 - august.weekday()) % 7)
    weekends = [first + dt.timedelta(weeks=week) for week in range(_WEEKENDS) if week not in _BREAKS]
    if rounds <= len(weekends):
        return [(day, False) for day in weekends[:rounds]]
    extra = rounds - len(weekends)
    doubled = set(np.linspace(0, len(weekends) - 2, extra).astype(int).tolist())
    days: list[tuple[dt.date, bool]] = []
    for number, day in enumerate(weekends):
        days.append((day, False))
        if number in doubled:
            days.append((day, True))
    return days


def _slots(matches: int, midweek: bool, last: bool, before_midweek: bool) -> list[tuple[int, int]]:
    if last:
        return [_LAST_ROUND] * matches
    if midweek:
        return [_MIDWEEK_SLOTS[number % len(_MIDWEEK_SLOTS)] for number in range(matches)]
    special = [slot for slot in _WEEKEND_SLOTS if not (before_midweek and slot[0] == 2)][: max(matches - 2, 0)]
    return special + [_SATURDAY_AFTERNOON] * (matches - len(special))
