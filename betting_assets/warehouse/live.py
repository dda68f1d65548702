"""From landed messages to the canonical tables: what streams tell of matches, over or to come.

- The newest result of a match counts, by (finished_at, sequence). A void one takes back a score that a stream wrote,
  with the predictions that were settled by it.
- A match that core.match lacks is added from the fixture that its messages tell, see `live_matches`; before there is a
  result, too, so that it has features when it is asked about.
- A stream never changes what a source of files said. A row counts as the stream's own if a landed message says just
  that; such a row follows later messages, any other one stays.
- A result may be used by features from the midnight (UTC) after the match date, as in files.
- Books: see `live_books`.

Everything is one transaction and depends on what is landed alone: merging again, or in another order, changes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import psycopg
from psycopg import sql
from sqlalchemy import Table

from betting_assets.warehouse import tables
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.live_books import write_books
from betting_assets.warehouse.live_matches import add_matches
from betting_assets.warehouse.ranges import OffsetRange, mark_done


@dataclass(frozen=True)
class Merged:
    """What a merge did; counts are rows of the canonical tables.

    Attributes:
        matches: that were looked at.
        kept: of these, with a score from files that differs from the stream's, or that the stream calls void.
        unknown: why the match could not be written, by match_id.
    """

    matches: int
    added: int
    results_inserted: int
    results_updated: int
    results_removed: int
    statistics: int
    books: int
    kept: int
    unknown: dict[str, str]
    ranges_done: int = 0

    @property
    def changed(self) -> int:
        written = self.added + self.results_inserted + self.results_updated + self.results_removed
        return written + self.statistics + self.books


def merge_live(
    url: str,
    *,
    days: Collection[dt.date] = (),
    ranges: Iterable[tuple[Table, OffsetRange]] = (),
    matches: Collection[str] = (),
) -> Merged:
    """Merge the matches that ended on `days` (UTC), those of the messages in `ranges` of a landed table, and `matches`.

    Planned ranges that lie within `ranges` are marked as done, in the same transaction.
    """
    ranges = list(ranges)
    with connect(url) as conn:
        conn.execute("SELECT pg_advisory_xact_lock(hashtext('betting merge_live'))")
        _choose(conn, days, ranges, matches)
        _newest_results(conn)
        _to_come(conn)
        added, unknown = add_matches(conn)
        removed = _remove_void(conn)
        inserted, updated = _write_results(conn)
        statistics = _write_statistics(conn)
        books = write_books(conn)
        return Merged(
            matches=_one(conn, "SELECT count(*) FROM newest"),
            added=added,
            results_inserted=inserted,
            results_updated=updated,
            results_removed=removed,
            statistics=statistics,
            books=books,
            kept=_one(conn, _KEPT),
            unknown=unknown,
            ranges_done=mark_done(conn, [one for _, one in ranges]),
        )


def days_of(conn: psycopg.Connection, ranges: Iterable[OffsetRange]) -> list[dt.date]:
    """The days (UTC) on which the matches of these result messages ended."""
    found: set[dt.date] = set()
    for one in ranges:
        rows = conn.execute(
            """SELECT DISTINCT finished_at::date FROM stream.match_result
                WHERE epoch = %s AND partition = %s AND "offset" >= %s AND "offset" < %s""",
            [one.epoch, one.partition, one.from_offset, one.to_offset],
        )
        found |= {day for (day,) in rows}
    return sorted(found)


def _choose(
    conn: psycopg.Connection,
    days: Collection[dt.date],
    ranges: list[tuple[Table, OffsetRange]],
    matches: Collection[str],
) -> None:
    conn.execute("CREATE TEMP TABLE chosen (match_id text PRIMARY KEY) ON COMMIT DROP")
    conn.execute("INSERT INTO chosen SELECT DISTINCT unnest(%s::text[])", [list(matches)])
    conn.execute(
        """INSERT INTO chosen SELECT DISTINCT match_id FROM unnest(%s::date[]) day JOIN stream.match_result
               ON finished_at >= day AND finished_at < day + 1 ON CONFLICT DO NOTHING""",
        [list(days)],
    )
    for table, one in ranges:
        conn.execute(
            sql.SQL(
                """INSERT INTO chosen SELECT DISTINCT match_id FROM {}
                    WHERE epoch = %s AND partition = %s AND "offset" >= %s AND "offset" < %s ON CONFLICT DO NOTHING"""
            ).format(sql.Identifier(str(table.schema), table.name)),
            [one.epoch, one.partition, one.from_offset, one.to_offset],
        )


def _newest_results(conn: psycopg.Connection) -> None:
    """The newest result of each chosen match, with the fixture that its messages tell; of those of the odds only where
    core.match needs it."""
    conn.execute(
        """CREATE TEMP TABLE newest ON COMMIT DROP AS
           SELECT DISTINCT ON (r.match_id) r.match_id, r.status, r.home_score, r.away_score,
                  jsonb_strip_nulls(to_jsonb(jsonb_populate_record(NULL::core.football_statistics, r.statistics))
                                    - 'match_id' - 'updated_at') AS statistics,
                  coalesce(r.fixture,
                           (SELECT s.fixture FROM stream.match_result s
                             WHERE s.match_id = r.match_id AND s.fixture IS NOT NULL
                             ORDER BY s.finished_at DESC, s.sequence DESC LIMIT 1),
                           (SELECT t.fixture FROM stream.odds_tick t
                             WHERE t.match_id = r.match_id AND t.fixture IS NOT NULL AND m.kickoff IS NULL
                             ORDER BY t.taken_at DESC, t.sequence DESC LIMIT 1)) AS fixture
             FROM stream.match_result r JOIN chosen USING (match_id) LEFT JOIN core.match m USING (match_id)
            ORDER BY r.match_id, r.finished_at DESC, r.sequence DESC, r.epoch DESC, r.partition DESC, r."offset" DESC"""
    )
    conn.execute("CREATE UNIQUE INDEX ON newest (match_id)")


def _to_come(conn: psycopg.Connection) -> None:
    """Chosen matches of which there are odds and no result yet, from files neither, beside the others."""
    conn.execute(
        """INSERT INTO newest (match_id, status, statistics, fixture)
           SELECT match_id, 'to come', '{}', (SELECT t.fixture FROM stream.odds_tick t
                                               WHERE t.match_id = c.match_id AND t.fixture IS NOT NULL
                                               ORDER BY t.taken_at DESC, t.sequence DESC LIMIT 1)
             FROM chosen c
            WHERE NOT EXISTS (SELECT FROM newest n WHERE n.match_id = c.match_id)
              AND NOT EXISTS (SELECT FROM core.result r WHERE r.match_id = c.match_id)
              AND EXISTS (SELECT FROM stream.odds_tick t WHERE t.match_id = c.match_id)"""
    )
    conn.execute("ANALYZE newest")


_TOLD_SCORE = """EXISTS (SELECT FROM stream.match_result s WHERE s.match_id = t.match_id AND s.status = 'final'
                          AND s.home_score = t.home_score AND s.away_score = t.away_score)"""
"""The row `t` of core.result is what a stream said."""

_KEPT = """SELECT count(*) FROM newest n JOIN core.result t USING (match_id)
            WHERE n.status = 'void' OR (n.home_score, n.away_score) <> (t.home_score, t.away_score)"""


def _remove_void(conn: psycopg.Connection) -> int:
    gone = conn.execute(
        f"""DELETE FROM core.result t USING newest n
             WHERE t.match_id = n.match_id AND n.status = 'void' AND {_TOLD_SCORE} RETURNING t.match_id"""  # noqa: S608
    ).fetchall()
    ids = [name for (name,) in gone]
    if ids:
        conn.execute("DELETE FROM core.football_statistics WHERE match_id = ANY(%s)", [ids])
        conn.execute("DELETE FROM serving.prediction_outcome WHERE match_id = ANY(%s)", [ids])
    return len(ids)


def _write_results(conn: psycopg.Connection) -> tuple[int, int]:
    """Returns how many were inserted and updated."""
    written = conn.execute(
        f"""INSERT INTO core.result AS t (match_id, home_score, away_score, known_at)
            SELECT match_id, n.home_score, n.away_score, (m.match_date + 1)::timestamp AT TIME ZONE 'UTC'
              FROM newest n JOIN core.match m USING (match_id) LEFT JOIN core.result r USING (match_id)
             WHERE n.status = 'final' AND (n.home_score, n.away_score) IS DISTINCT FROM (r.home_score, r.away_score)
             ORDER BY match_id
            ON CONFLICT (match_id) DO UPDATE
               SET home_score = excluded.home_score, away_score = excluded.away_score, updated_at = now()
             WHERE {_TOLD_SCORE}
            RETURNING xmax = 0"""  # noqa: S608
    ).fetchall()
    inserted = sum(new for (new,) in written)
    return inserted, len(written) - inserted


def _write_statistics(conn: psycopg.Connection) -> int:
    """Statistics of the matches whose score is the stream's; returns how many rows were written."""
    columns = [column.name for column in tables.football_statistics.columns if column.name not in _NO_STATISTIC]
    parts = {
        "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
        "given": sql.SQL(", ").join(sql.SQL("given.{}").format(sql.Identifier(name)) for name in columns),
        "taken": sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in columns),
        "row": sql.SQL("jsonb_strip_nulls(to_jsonb(t) - 'match_id' - 'updated_at')"),
        "said": sql.SQL(
            "jsonb_strip_nulls(to_jsonb(jsonb_populate_record(NULL::core.football_statistics, s.statistics))"
            " - 'match_id' - 'updated_at')"
        ),
    }
    return conn.execute(
        sql.SQL(
            """INSERT INTO core.football_statistics AS t (match_id, {columns})
               SELECT n.match_id, {given}
                 FROM newest n
                 JOIN core.result r ON r.match_id = n.match_id
                      AND (r.home_score, r.away_score) = (n.home_score, n.away_score)
                CROSS JOIN jsonb_populate_record(NULL::core.football_statistics, n.statistics) given
                 LEFT JOIN core.football_statistics t ON t.match_id = n.match_id
                WHERE n.statistics <> '{{}}' AND (t.match_id IS NULL OR {row} <> n.statistics)
                ORDER BY n.match_id
               ON CONFLICT (match_id) DO UPDATE SET {taken}, updated_at = now()
                WHERE EXISTS (SELECT FROM stream.match_result s WHERE s.match_id = t.match_id AND {said} = {row})"""
        ).format(**parts)
    ).rowcount


_NO_STATISTIC = ("match_id", "updated_at")


def _one(conn: psycopg.Connection, query: str) -> int:
    row = conn.execute(query).fetchone()
    assert row is not None
    return int(row[0])
