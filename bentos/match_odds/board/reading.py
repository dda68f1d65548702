"""What the board reads from PostgreSQL. Every query goes by an index, and reads no more than the board can show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import psycopg
from psycopg.rows import dict_row

from bentos.match_odds.board.contract import BoardMarket, BoardMatch, ExcludedBook, Point
from bentos.match_odds.board.snapshot import MOST_POINTS, Key, Landed
from betting_assets.sources.records import SELECTIONS, Market

AT_ONCE = 100
"""Matches whose history is read in one query: the thread that reads must not keep the others of its process waiting."""

DIGITS = 5

HEADS = """
WITH RECURSIVE log AS (
    (SELECT epoch, partition FROM stream.prediction ORDER BY epoch, partition LIMIT 1)
    UNION ALL
    SELECT following.* FROM log, LATERAL (
        SELECT p.epoch, p.partition FROM stream.prediction p
        WHERE (p.epoch, p.partition) > (log.epoch, log.partition) ORDER BY p.epoch, p.partition LIMIT 1
    ) AS following
)
SELECT log.epoch, log.partition, newest."offset", newest.taken_at FROM log, LATERAL (
    SELECT p."offset", p.taken_at FROM stream.prediction p
    WHERE p.epoch = log.epoch AND p.partition = log.partition ORDER BY p."offset" DESC LIMIT 1
) AS newest
"""

MATCH_IDS = """
WITH RECURSIVE one AS (
    (SELECT match_id FROM stream.prediction ORDER BY match_id LIMIT 1)
    UNION ALL
    SELECT (SELECT p.match_id FROM stream.prediction p WHERE p.match_id > one.match_id ORDER BY p.match_id LIMIT 1)
    FROM one WHERE one.match_id IS NOT NULL
)
SELECT match_id FROM one WHERE match_id IS NOT NULL
"""

PREDICTION = """p.prediction_id, p.match_id, p.market, p.line, p.probabilities, p.market_probabilities, p.best_prices,
    p.best_bookmakers, p.edges, p.withheld, p.withheld_detail, p.excluded, p.variant, p.model_version, p.bento,
    p.tick_epoch, p.tick_partition, p.tick_offset, p.taken_at, p.scored_at"""

MOVEMENT = "p.match_id, p.market, p.taken_at, p.market_probabilities[1] AS probability"

RECENT = """
SELECT {columns} FROM unnest(%(matches)s::text[]) AS m(match_id) CROSS JOIN unnest(%(markets)s::text[]) AS k(market),
LATERAL (
    SELECT p.* FROM (
        SELECT * FROM stream.prediction r WHERE r.match_id = m.match_id AND r.market = k.market
        ORDER BY r.scored_at DESC LIMIT %(recent)s
    ) AS p ORDER BY p.tick_epoch DESC, p.tick_offset DESC, p.scored_at DESC LIMIT %(points)s
) AS p
"""
"""The newest by tick, among those scored last: what was published again was scored again."""

SINCE = f"""
SELECT DISTINCT ON (p.match_id, p.market) {PREDICTION}
FROM unnest(%(epochs)s::int[], %(partitions)s::int[], %(after)s::bigint[], %(upto)s::bigint[])
    AS range(epoch, partition, after, upto)
JOIN stream.prediction p ON p.epoch = range.epoch AND p.partition = range.partition
    AND p."offset" > range.after AND p."offset" <= range.upto
ORDER BY p.match_id, p.market, p.tick_epoch DESC, p.tick_offset DESC, p.scored_at DESC
"""  # noqa: S608 no text from outside

MATCHES = """
SELECT match_id, league, home, away, match_date, kickoff FROM core.match WHERE match_id = ANY(%(matches)s)
"""

FIXTURES = """
SELECT m.match_id, told.fixture FROM unnest(%(matches)s::text[]) AS m(match_id), LATERAL (
    SELECT fixture FROM (
        SELECT fixture FROM stream.odds_tick t WHERE t.match_id = m.match_id ORDER BY t.taken_at DESC LIMIT 50
    ) AS recent WHERE fixture IS NOT NULL LIMIT 1
) AS told
"""
"""What ticks tell of matches that core.match does not know yet."""


@dataclass(frozen=True)
class Head:
    """How far one partition of the log of predictions is."""

    offset: int
    taken_at: Any


Heads = dict[tuple[int, int], Head]
"""By epoch and partition."""


def heads(conn: psycopg.Connection) -> Heads:
    return {(epoch, partition): Head(offset, at) for epoch, partition, offset, at in conn.execute(HEADS)}


def waiting(before: Heads, now: Heads) -> int:
    """How many offsets were landed between the two."""
    return sum(head.offset - _offset(before, log) for log, head in now.items())


def match_ids(conn: psycopg.Connection) -> list[str]:
    """Every match that has a prediction."""
    return [match_id for (match_id,) in conn.execute(MATCH_IDS)]


def newest(conn: psycopg.Connection, matches: Sequence[str]) -> list[Landed]:
    """The newest prediction of every market of these matches."""
    wanted = {"matches": list(matches), "markets": list(Market), "recent": MOST_POINTS, "points": 1}
    return [landed(row) for row in _rows(conn, RECENT.format(columns=PREDICTION), **wanted)]


def histories(conn: psycopg.Connection, matches: Sequence[str]) -> Iterator[dict[Key, list[Point]]]:
    """How the markets of these matches moved, for some of them at a time; oldest first."""
    rest = iter(matches)
    while some := list(islice(rest, AT_ONCE)):
        wanted = {"matches": some, "markets": list(Market), "recent": MOST_POINTS, "points": MOST_POINTS}
        found: dict[Key, list[Point]] = {}
        for row in _rows(conn, RECENT.format(columns=MOVEMENT), **wanted):
            if row["probability"] is not None:
                point = row["taken_at"].timestamp(), _short(row["probability"])
                found.setdefault((row["match_id"], row["market"]), []).append(point)
        yield {key: points[::-1] for key, points in found.items()}


def since(conn: psycopg.Connection, before: Heads, now: Heads) -> list[Landed]:
    """The newest prediction of every market that was landed between the two."""
    moved = [
        (*log, _offset(before, log), head.offset) for log, head in now.items() if head.offset > _offset(before, log)
    ]
    if not moved:
        return []
    epochs, partitions, after, upto = (list(column) for column in zip(*moved, strict=True))
    return [landed(row) for row in _rows(conn, SINCE, epochs=epochs, partitions=partitions, after=after, upto=upto)]


def describe(conn: psycopg.Connection, matches: Iterable[str]) -> list[BoardMatch]:
    """What is known of each of these matches."""
    found = {match_id: BoardMatch(match_id=match_id) for match_id in matches}
    known = {row["match_id"]: BoardMatch(**row) for row in _rows(conn, MATCHES, matches=list(found))}
    if missing := sorted(found.keys() - known.keys()):
        known |= {row["match_id"]: _told(**row) for row in _rows(conn, FIXTURES, matches=missing)}
    return list((found | known).values())


def landed(row: Mapping[str, Any]) -> Landed:
    values = {name: row[name] for name in BoardMarket.model_fields if name in row}
    numbers = ("probabilities", "market_probabilities", "best_prices", "edges")
    values |= {name: tuple(map(_short, row[name])) for name in numbers}
    values |= {"excluded": tuple(_excluded(book) for book in row["excluded"])}
    market = BoardMarket(**values, selections=SELECTIONS[Market(row["market"])])
    return Landed(row["tick_epoch"], row["tick_partition"], row["tick_offset"], market)


def _excluded(book: Mapping[str, str]) -> ExcludedBook:
    return ExcludedBook(bookmaker=book["bookmaker"], reason=book["reason"], detail=book["detail"])


def _told(match_id: str, fixture: Mapping[str, Any]) -> BoardMatch:
    told = {name: fixture.get(name) for name in BoardMatch.model_fields if name != "match_id"}
    return BoardMatch.model_validate(told | {"match_id": match_id})


def _offset(heads: Heads, log: tuple[int, int]) -> int:
    return heads[log].offset if log in heads else -1


def _short(number: float) -> float:
    return round(number, DIGITS)


def _rows(conn: psycopg.Connection, query: str, **values: Any) -> list[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row, binary=True) as cursor:
        return cursor.execute(query.encode(), values).fetchall()
