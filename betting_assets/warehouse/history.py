"""The canonical history in schema `core`: write what a source read, read what models need.

Frames have the columns and dtypes of `sources.batch.FRAMES`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import Table

from betting_assets.sources.batch import FRAMES
from betting_assets.warehouse import tables
from betting_assets.warehouse.arrow import FrameError
from betting_assets.warehouse.bulk import UpsertCounts, delete_where, merge, read_frame, stage, stage_name
from betting_assets.warehouse.database import adbc

if TYPE_CHECKING:
    from adbc_driver_postgresql.dbapi import Connection as AdbcConnection

    from betting_assets.sources.batch import Batch

SAME_BOOK = ("match_id", "bookmaker", "market", "phase")
"""A source states all lines of such a book at once: lines that it no longer states were corrected away."""


def write_batch(url: str, batch: Batch, *, source: str = "football-data") -> dict[str, UpsertCounts]:
    """Write all frames of `batch` in ONE transaction: whatever happens, nothing half-done stays behind.

    Returns what changed, by frame. Rows of matches, results and statistics are replaced whole; a book replaces all
    lines of the same match, bookmaker, market and phase. What the batch does not mention stays. Raises FrameError on a
    bad frame, or on a record of a match that neither the batch nor the database has.
    """
    with adbc(url) as connection:
        _refuse_orphans(connection, batch)
        return {
            "matches": _write(connection, tables.match, batch.matches.assign(source=source)),
            "results": _write(connection, tables.result, batch.results),
            "statistics": _write(connection, tables.football_statistics, batch.statistics),
            "books": _write(connection, tables.book, batch.books),
            "rejected": _write(connection, tables.rejected_row, _rejected(batch.rejected)),
        }


def read_matches(
    url: str, leagues: Collection[str] | None = None, seasons: Collection[str] | None = None
) -> pd.DataFrame:
    """Matches, by date and id. `leagues`, `seasons`: only these; None: all."""
    return _read(url, tables.match, "matches", {"m.league": leagues, "m.season": seasons})


def read_results(
    url: str, leagues: Collection[str] | None = None, seasons: Collection[str] | None = None
) -> pd.DataFrame:
    """Final scores, by date and id of the match."""
    return _read(url, tables.result, "results", {"m.league": leagues, "m.season": seasons})


def read_statistics(
    url: str, leagues: Collection[str] | None = None, seasons: Collection[str] | None = None
) -> pd.DataFrame:
    """Counts of football matches, by date and id of the match; missing ones are <NA>."""
    return _read(url, tables.football_statistics, "statistics", {"m.league": leagues, "m.season": seasons})


def read_books(
    url: str,
    leagues: Collection[str] | None = None,
    seasons: Collection[str] | None = None,
    *,
    markets: Collection[str] | None = None,
    phases: Collection[str] | None = None,
    bookmakers: Collection[str] | None = None,
) -> pd.DataFrame:
    """Books, by date and id of the match, then market, line, bookmaker, phase. `bulk.prices_matrix` unpacks prices."""
    wanted = {"t.market": markets, "t.phase": phases, "t.bookmaker": bookmakers}
    return _read(url, tables.book, "books", {"m.league": leagues, "m.season": seasons, **wanted})


def count_rows(url: str) -> pd.DataFrame:
    """League, season, and how many matches, results and books there are: one row for each league and season."""
    return read_frame(
        url,
        """SELECT league, season, count(*) AS matches, count(r.match_id) AS results,
                  coalesce(sum(b.books), 0)::bigint AS books
             FROM core.match m
             LEFT JOIN core.result r USING (match_id)
             LEFT JOIN (SELECT match_id, count(*) AS books FROM core.book GROUP BY match_id) b USING (match_id)
            GROUP BY league, season ORDER BY league, season""",
    )


def _write(connection: AdbcConnection, table: Table, frame: pd.DataFrame) -> UpsertCounts:
    if frame.empty:
        return UpsertCounts()
    stage(connection, table, frame)
    deleted = _delete_corrected_lines(connection) if table is tables.book else 0
    counts = merge(connection, table, list(frame.columns))
    return UpsertCounts(counts.inserted, counts.updated, counts.unchanged, deleted)


def _refuse_orphans(connection: AdbcConnection, batch: Batch) -> None:
    frames = {"results": batch.results, "statistics": batch.statistics, "books": batch.books}
    own = set(batch.matches["match_id"])
    for name, frame in frames.items():
        if elsewhere := set(frame["match_id"]) - own:
            with connection.cursor() as cursor:
                cursor.execute("SELECT match_id FROM core.match WHERE match_id = ANY($1)", [sorted(elsewhere)])
                known = {match_id for (match_id,) in cursor.fetchall()}
            if orphans := sorted(elsewhere - known):
                raise FrameError(
                    f"{name}: {len(orphans)} unknown matches, e.g. {orphans[0]}: the batch must bring them as well"
                )


def _delete_corrected_lines(connection: AdbcConnection) -> int:
    staged = stage_name(tables.book)
    same = " AND ".join(f"s.{column} = t.{column}" for column in SAME_BOOK)
    other_line = f"EXISTS (SELECT FROM {staged} s WHERE {same} AND s.line <> t.line)"
    this_line = f"EXISTS (SELECT FROM {staged} s WHERE {same} AND s.line = t.line)"
    return delete_where(connection, tables.book, f"{other_line} AND NOT {this_line}")


def _rejected(frame: pd.DataFrame) -> pd.DataFrame:
    """Seen now; NUL bytes, which PostgreSQL cannot hold and broken files do have, become visible."""
    rows = frame.drop_duplicates(["file", "line", "reason"])
    readable = {name: rows[name].str.replace("\x00", "\N{REPLACEMENT CHARACTER}") for name in ("reason", "content")}
    return rows.assign(**readable, last_seen_at=pd.Timestamp.now("UTC"))


def _read(url: str, table: Table, name: str, wanted: dict[str, Collection[str] | None]) -> pd.DataFrame:
    filters: dict[str, Any] = {column: list(values) for column, values in wanted.items() if values is not None}
    conditions = [f"{column} = ANY(${number})" for number, column in enumerate(filters, start=1)]
    order = ["m.match_date", *(f"t.{column.name}" for column in table.primary_key.columns)]
    query = f"""
        SELECT {", ".join(f"t.{column}" for column in FRAMES[name])}
          FROM {table} t JOIN core.match m USING (match_id)
         WHERE {" AND ".join(conditions) or "true"}
         ORDER BY {", ".join(order)}"""  # noqa: S608
    return read_frame(url, query, list(filters.values()) or None).astype(FRAMES[name])
