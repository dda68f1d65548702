"""Matches that only streams tell of: from the fixture of a message to a row of core.match. Rows that are there stay."""

from __future__ import annotations

import psycopg
from pydantic import ValidationError

from betting_assets.sources.leagues import rating_pool
from betting_assets.sources.records import Fixture, Match, match_id

SOURCE = "stream"
"""In core.match.source."""


def add_matches(conn: psycopg.Connection) -> tuple[int, dict[str, str]]:
    """Add those of the temporary table `newest` (see `live`) that core.match lacks; a void one is not worth a row.

    Returns how many were added, and why the others were not, by match_id.
    """
    missing = conn.execute(
        """SELECT n.match_id, n.fixture::text FROM newest n LEFT JOIN core.match m USING (match_id)
            WHERE m.match_id IS NULL AND n.status <> 'void' ORDER BY match_id"""
    ).fetchall()
    if not missing:
        return 0, {}
    pools: dict[str, str] = dict(conn.execute("SELECT DISTINCT league, rating_pool FROM core.match").fetchall())
    added = 0
    unknown: dict[str, str] = {}
    for name, fixture in missing:
        try:
            match = _match(name, fixture, pools)
        except ValueError as error:
            unknown[name] = str(error)
            continue
        added += conn.execute(
            """INSERT INTO core.match
                      (match_id, sport, league, season, rating_pool, match_date, kickoff, home, away, source)
               VALUES (%(match_id)s, %(sport)s, %(league)s, %(season)s, %(rating_pool)s, %(match_date)s, %(kickoff)s,
                       %(home)s, %(away)s, %(source)s) ON CONFLICT DO NOTHING""",
            match.model_dump() | {"source": SOURCE},
        ).rowcount
    return added, unknown


def missing_matches(conn: psycopg.Connection) -> list[str]:
    """Matches of which a landed tick tells the fixture, and which core.match lacks."""
    rows = conn.execute(
        """SELECT DISTINCT match_id FROM stream.odds_tick t
            WHERE fixture IS NOT NULL AND NOT EXISTS (SELECT FROM core.match m WHERE m.match_id = t.match_id)
            ORDER BY match_id"""
    ).fetchall()
    return [name for (name,) in rows]


def _match(name: str, told: str | None, pools: dict[str, str]) -> Match:
    """The match that a message tells. ValueError with one line if it is none."""
    if told is None:
        raise ValueError("core.match lacks it, and no message tells its fixture: ingest it, then run its day again")
    try:
        fixture = Fixture.model_validate_json(told)
        pool = pools.get(fixture.league, rating_pool(fixture.league))
        match = Match(match_id=name, rating_pool=pool, **fixture.model_dump())
    except ValidationError as error:
        raise ValueError(f"its fixture is none: {error.errors()[0]['msg']}") from error
    canonical = match_id(match.league, match.match_date, match.home, match.away)
    if name != canonical:
        raise ValueError(f"its fixture is that of {canonical}: under two names it would be counted twice")
    return match
