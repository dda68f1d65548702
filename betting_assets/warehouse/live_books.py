"""The books of matches from their landed ticks: what could be bet on first and, once they are over, the closing line.

- Only trusted ticks count: taken before the kick-off (where it is unknown: before the end of the match date), with
  trading open and not in play, complete, and with a sum of 1/price as the files' books must have it.
- `close` is the last of them of each bookmaker on each line, once there is a result. A closing book of files stays as
  it is.
- `pre_close` is the first of them, for matches only that have none from files. The decision time of such a match, the
  earliest of its pre_close books, is therefore the time of the first complete tick of the match.
"""

from __future__ import annotations

import psycopg

from betting_assets.sources.bookmakers import MARKET_MAXIMUM
from betting_assets.sources.quotes import HIGHEST_BOOKSUM

_ENDS = """
    CREATE TEMP TABLE ends ON COMMIT DROP AS
    SELECT * FROM (
        SELECT t.match_id, t.market, t.line, t.bookmaker, t.prices, t.taken_at,
               lag(t.match_id) OVER book IS NULL AS is_first,
               lead(t.match_id) OVER book IS NULL AND n.status = 'final' AS is_last
          FROM newest n
          JOIN core.match m USING (match_id)
          JOIN stream.odds_tick t USING (match_id)
          JOIN unnest(%(markets)s::text[], %(highest)s::float8[]) AS trusted (market, highest) USING (market)
         CROSS JOIN LATERAL (SELECT sum(1 / price) AS booksum FROM unnest(t.prices) price) s
         WHERE n.status <> 'void' AND t.trading = 'open' AND NOT t.in_play
           AND t.taken_at < coalesce(m.kickoff, (n.fixture ->> 'kickoff')::timestamptz,
                                     (m.match_date + 1)::timestamp AT TIME ZONE 'UTC')
           AND s.booksum <= trusted.highest
           AND (s.booksum >= 1 OR t.bookmaker = %(maximum)s)
        WINDOW book AS (PARTITION BY t.match_id, t.market, t.line, t.bookmaker
                        ORDER BY t.taken_at, t.sequence, t.epoch, t.partition, t."offset")) ticks
     WHERE is_first OR is_last"""
"""NaN, for a price that is not there, is above every number in PostgreSQL: such a book is not trusted."""

_TOLD = """EXISTS (SELECT FROM stream.odds_tick s
                    WHERE s.match_id = {row}.match_id AND s.taken_at = {row}.taken_at AND s.market = {row}.market
                      AND s.line = {row}.line AND s.bookmaker = {row}.bookmaker AND s.prices = {row}.prices)"""
"""The row of core.book is what a stream said."""

_FROM_FILES = {
    "pre_close": "b.match_id = e.match_id",
    "close": "b.match_id = e.match_id AND b.market = e.market AND b.bookmaker = e.bookmaker",
}
"""How far a book of files keeps the stream's out: decision times belong to the match, closing lines to a bookmaker."""


def write_books(conn: psycopg.Connection) -> int:
    """Write the books of the matches in the temporary table `newest` (see `live`); returns how many changed."""
    conn.execute(
        _ENDS,
        {
            "markets": [market.value for market in HIGHEST_BOOKSUM],
            "highest": list(HIGHEST_BOOKSUM.values()),
            "maximum": MARKET_MAXIMUM,
        },
    )
    return _write(conn, "pre_close", "is_first") + _write(conn, "close", "is_last")


def _write(conn: psycopg.Connection, phase: str, end: str) -> int:
    statement = f"""
        INSERT INTO core.book AS t (match_id, market, line, bookmaker, phase, prices, taken_at)
        SELECT e.match_id, e.market, e.line, e.bookmaker, %(phase)s, e.prices, e.taken_at
          FROM ends e LEFT JOIN core.book b
            ON (b.match_id, b.market, b.line, b.bookmaker, b.phase)
             = (e.match_id, e.market, e.line, e.bookmaker, %(phase)s)
         WHERE e.{end} AND (b.prices, b.taken_at) IS DISTINCT FROM (e.prices, e.taken_at)
           AND NOT EXISTS (SELECT FROM core.book b
                            WHERE b.phase = %(phase)s AND {_FROM_FILES[phase]} AND NOT {_TOLD.format(row="b")})
         ORDER BY e.match_id, e.market, e.line, e.bookmaker
        ON CONFLICT (match_id, market, line, bookmaker, phase) DO UPDATE
           SET prices = excluded.prices, taken_at = excluded.taken_at, flag = NULL, updated_at = now()
         WHERE {_TOLD.format(row="t")}"""  # noqa: S608 - the parts are constants of this file
    return conn.execute(statement, {"phase": phase}).rowcount
