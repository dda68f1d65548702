"""What every reader of a feed yields and tells: events in order of time, and an account of what was not usable."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import ValidationError

from betting_assets.sources.leagues import LEAGUES, rating_pool
from betting_assets.sources.records import Fixture, LiveResult, Rejected, Tick, match_id, slug
from betting_assets.sources.team_names import canonical_name
from betting_assets.sources.times import UK, season_of

_KEPT_REJECTIONS = 20
_CUT = 500
_SPORT = "football"
_UK = zoneinfo.ZoneInfo(UK)


class Event(NamedTuple):
    """`at` is when the feed told it: the order and the spacing of a replay. The record has its own time."""

    at: dt.datetime
    record: Tick | LiveResult


@dataclass
class Account:
    """What became of one file: nothing is left out without a reason.

    `skipped` counts by reason the units that gave no message (a market's change, a book, an event, a line). Of lines
    that could not be understood the first few are kept in `rejected`, with their number.
    """

    file: str
    ticks: int = 0
    results: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejected] = field(default_factory=list)

    def skip(self, reason: str, count: int = 1) -> None:
        self.skipped[reason] += count

    def reject(self, line: int, reason: str, content: object) -> None:
        """Count a line (or an event, see the reader) that says nothing understandable, and keep it for the person."""
        self.skip(reason)
        if len(self.rejected) < _KEPT_REJECTIONS:
            shown = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
            self.rejected.append(Rejected(file=self.file, line=line, reason=reason, content=shown[:_CUT]))

    def count(self, event: Event) -> Event:
        if isinstance(event.record, Tick):
            self.ticks += 1
        else:
            self.results += 1
        return event


def football_fixture(league: str, kickoff: dt.datetime, home: str, away: str) -> Fixture | None:
    """The fixture under the names and the date that football-data.co.uk would give it; None where names are unusable.

    `league` is a code of football-data.co.uk where one is known, else any name for where the match comes from.
    """
    pool = rating_pool(league)
    names = [canonical_name(pool, name) for name in (home, away)]
    if not all(slug(name) for name in names) or names[0] == names[1]:
        return None
    date = kickoff.astimezone(_UK).date()
    known = LEAGUES.get(league)
    try:
        return Fixture(
            sport=_SPORT,
            league=league,
            season=season_of(date, league, bool(known and known.calendar_year)),
            home=names[0],
            away=names[1],
            match_date=date,
            kickoff=kickoff,
        )
    except ValidationError:
        return None


def fixture_id(fixture: Fixture) -> str:
    return match_id(fixture.league, fixture.match_date, fixture.home, fixture.away)


@dataclass
class Told:
    """Which fixtures the receivers already know: a tick carries its fixture when that is new or has changed."""

    _fixtures: dict[str, Fixture] = field(default_factory=dict)

    def knows(self, match_id: str, fixture: Fixture) -> bool:
        return self._fixtures.get(match_id) == fixture

    def news(self, match_id: str, fixture: Fixture) -> Fixture | None:
        """The fixture where it is new or has changed, and from then on known; else None."""
        if self.knows(match_id, fixture):
            return None
        self._fixtures[match_id] = fixture
        return fixture


def utc(text: object) -> dt.datetime | None:
    """An ISO 8601 time with its zone, in UTC; None where it is none."""
    if not isinstance(text, str):
        return None
    try:
        time = dt.datetime.fromisoformat(text)
        return time.astimezone(dt.UTC) if time.tzinfo else None
    except (ValueError, OverflowError):
        return None
