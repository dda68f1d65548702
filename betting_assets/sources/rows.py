"""One row of a football-data.co.uk file → the facts of one match, or the reason why there are none."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

from betting_assets.sources import times
from betting_assets.sources.cells import BLANK
from betting_assets.sources.layout import Layout
from betting_assets.sources.leagues import COUNTRY_CODES, LEAGUES, rating_pool
from betting_assets.sources.records import match_id, slug
from betting_assets.sources.table import Row
from betting_assets.sources.team_names import canonical_name

_WHOLE = re.compile(r"-?\d{1,6}(\.0*)?", re.ASCII)
"""A count, also as tools write it that keep numbers as decimals."""


class RowError(ValueError):
    """A row that cannot be used; the message is the reason."""


@dataclass(frozen=True)
class MatchRow:
    """`clock` is the UK time of day of the kick-off; `score` is None for a fixture; `notes` are cells left out."""

    row: Row
    match_id: str
    league: str
    season: str
    pool: str
    date: dt.date
    clock: dt.timedelta | None
    home: str
    away: str
    score: tuple[int, int] | None
    notes: list[str]


@dataclass
class RowReader:
    """Reads the rows of one file. `folder_season` and `file_league` come from the path, where it tells them."""

    layout: Layout
    folder_season: str | None
    file_league: str | None
    moved: Counter[str] = field(default_factory=Counter)
    """Rows whose date lies outside the season that the folder names, by the season they were given instead."""

    def read(self, row: Row) -> MatchRow:
        """The match of a row; RowError when date, teams, league or score cannot be read."""
        date = self._date(row)
        league = self._league(row)
        pool = rating_pool(league)
        home, away = self._team(row, "home", pool), self._team(row, "away", pool)
        notes: list[str] = []
        return MatchRow(
            row=row,
            match_id=match_id(league, date, home, away),
            league=league,
            season=self._season(row, league, date),
            pool=pool,
            date=date,
            clock=self._clock(row, notes),
            home=home,
            away=away,
            score=self._score(row),
            notes=notes,
        )

    def place(self, row: Row) -> tuple[str, str]:
        """League and season of a row, as `read` gives them, without reading the rest; RowError as there."""
        date, league = self._date(row), self._league(row)
        return league, self._season(row, league, date)

    def _cell(self, row: Row, fact: str) -> str:
        column = self.layout.facts.get(fact)
        text = row.cells[column] if column is not None and column < len(row.cells) else ""
        return "" if text in BLANK else text

    def _date(self, row: Row) -> dt.date:
        text = self._cell(row, "date")
        date = times.parse_date(text)
        if date is None:
            raise RowError(
                f"unreadable date {text!r}; dd/mm/yy, dd/mm/yyyy or yyyy-mm-dd is needed" if text else "no date"
            )
        return date

    def _league(self, row: Row) -> str:
        league = self._cell(row, "league") or COUNTRY_CODES.get(self._cell(row, "country").lower(), "")
        if league:
            return league
        if self.file_league and "league" not in self.layout.facts:
            return self.file_league
        raise RowError("no league; give it in a column Div")

    def _season(self, row: Row, league: str, date: dt.date) -> str:
        written = times.parse_season(self._cell(row, "season"))
        if written and "country" in self.layout.facts:
            return written
        known = LEAGUES.get(league)
        by_date = times.season_of(date, league, known.calendar_year if known else False)
        if self.folder_season is None:
            return written if written and times.season_holds(written, date) else by_date
        if times.season_holds(self.folder_season, date):
            return self.folder_season
        self.moved[by_date] += 1
        return by_date

    def _team(self, row: Row, side: str, pool: str) -> str:
        name = self._cell(row, side)
        if not name:
            raise RowError(f"no {side} team")
        if not (readable := _team_name(pool, name)):
            raise RowError(f"unreadable {side} team {name!r}; save the file as UTF-8, names in Latin letters")
        return readable

    def _score(self, row: Row) -> tuple[int, int] | None:
        texts = [self._cell(row, fact) for fact in ("home_score", "away_score")]
        if not any(texts):
            return None
        if not all(_WHOLE.fullmatch(text) for text in texts):
            raise RowError(f"unreadable score {texts[0]!r}:{texts[1]!r}")
        return int(float(texts[0])), int(float(texts[1]))

    def _clock(self, row: Row, notes: list[str]) -> dt.timedelta | None:
        text = self._cell(row, "time")
        clock = times.parse_clock(text) if text else None
        if text and clock is None:
            notes.append(f"Time = {text!r} is no time of day; the kick-off is unknown")
        return clock


@lru_cache(maxsize=50_000)
def _team_name(pool: str, name: str) -> str:
    """The team's one name, or nothing where the text cannot make a key."""
    tidy = canonical_name(pool, name)
    return tidy if slug(tidy) and "\ufffd" not in tidy else ""
