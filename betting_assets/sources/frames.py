"""From the rows of one file to the frames of a batch; every record passes its model on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from betting_assets.sources import times
from betting_assets.sources.batch import FRAMES, STATISTICS, Batch, frame
from betting_assets.sources.book_frames import build_books, moments
from betting_assets.sources.cells import Mask, Numbers, matrix, numbers
from betting_assets.sources.layout import Layout
from betting_assets.sources.records import FootballStatistics, Match, Result
from betting_assets.sources.rejections import Rejections
from betting_assets.sources.rows import MatchRow
from betting_assets.sources.validation import faults

FOOTBALL = "football"


def build(rows: Sequence[MatchRow], layout: Layout, rejections: Rejections) -> Batch:
    """The canonical frames of these rows; what a model objects to goes to `rejections`."""
    rows, matches, results = _matches_and_results(rows, rejections)
    for row in rows:
        for note in row.notes:
            rejections.add(row.row, f"cell: {note}")
    return Batch(
        matches, results, _statistics(rows, layout, rejections), build_books(rows, matches, layout, rejections)
    )


def _matches_and_results(
    rows: Sequence[MatchRow], rejections: Rejections
) -> tuple[Sequence[MatchRow], pd.DataFrame, pd.DataFrame]:
    date = pd.Series([row.date for row in rows], dtype="datetime64[ns]")
    kickoff = times.kickoff_utc(date, pd.Series([row.clock for row in rows], dtype="timedelta64[ns]"))
    played = [number for number, row in enumerate(rows) if row.score]
    known_at = times.known_at(date).iloc[played]
    match_records = _match_records(rows, kickoff)
    result_records = _result_records([rows[number] for number in played], known_at)
    refused = {fault.row: fault.reason for fault in faults(Match, match_records)}
    refused |= {played[fault.row]: fault.reason for fault in faults(Result, result_records)}
    if refused:
        for number, reason in refused.items():
            rejections.add(rows[number].row, f"row: {reason}")
        return _matches_and_results([row for number, row in enumerate(rows) if number not in refused], rejections)
    matches = pd.DataFrame(match_records, columns=list(FRAMES["matches"]))
    results = pd.DataFrame(result_records, columns=list(FRAMES["results"]))
    return (
        rows,
        frame("matches", {**matches, "match_date": date, "kickoff": kickoff}),
        frame("results", {**results, "known_at": known_at.reset_index(drop=True)}),
    )


def _match_records(rows: Sequence[MatchRow], kickoff: pd.Series[pd.Timestamp]) -> list[dict[str, Any]]:
    return [
        {
            "match_id": row.match_id,
            "sport": FOOTBALL,
            "league": row.league,
            "season": row.season,
            "rating_pool": row.pool,
            "match_date": row.date,
            "kickoff": start,
            "home": row.home,
            "away": row.away,
        }
        for row, start in zip(rows, moments(kickoff), strict=True)
    ]


def _result_records(rows: Sequence[MatchRow], known_at: pd.Series[pd.Timestamp]) -> list[dict[str, Any]]:
    return [
        {"match_id": row.match_id, "home_score": row.score[0], "away_score": row.score[1], "known_at": moment}
        for row, moment in zip(rows, moments(known_at), strict=True)
        if row.score
    ]


def _is_whole(values: Numbers) -> Mask:
    return np.asarray(np.isfinite(values) & (np.floor(values) == values))


def _statistics(rows: Sequence[MatchRow], layout: Layout, rejections: Rejections) -> pd.DataFrame:
    """A row for every match with any count; counts that are missing or no counts stay null."""
    present = [name for name in STATISTICS if name in layout.facts]
    cells = matrix([row.row.cells for row in rows], [layout.facts[name] for name in present])
    values, garbage = numbers(cells, len(present), _is_whole)
    for number, column in np.argwhere(garbage).tolist():
        rejections.add(rows[number].row, f"cell: {present[column]} = {cells[number][column]!r} is no count")
    counted = np.flatnonzero(~np.isnan(values).all(axis=1)) if present else np.array([], dtype=np.intp)
    ids = [rows[number].match_id for number in counted]
    values = values[counted]
    records = [
        {"match_id": key, **{name: None if np.isnan(x) else int(x) for name, x in zip(present, row, strict=True)}}
        for key, row in zip(ids, values.tolist(), strict=True)
    ]
    for fault in faults(FootballStatistics, records):
        rejections.add(rows[counted[fault.row]].row, f"cell: {fault.reason}")
        values[fault.row, present.index(fault.field)] = np.nan
    table = pd.DataFrame(values, columns=present).reindex(columns=list(STATISTICS))
    return frame("statistics", {"match_id": ids, **{name: table[name].astype("Int64") for name in STATISTICS}})
