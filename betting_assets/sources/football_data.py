"""Reads football-data.co.uk CSV files of any season and dialect into canonical records.

The files are the user's: the platform never downloads them. Rows decide their league by `Div`; the season comes from
the folder's name (`1718/E0.csv`), a season column, or the date.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from pathlib import Path

from betting_assets.sources import frames, times
from betting_assets.sources.batch import Batch, frame
from betting_assets.sources.errors import SourceError
from betting_assets.sources.layout import read_layout
from betting_assets.sources.leagues import LEAGUES
from betting_assets.sources.rejections import Rejection, Rejections
from betting_assets.sources.rows import MatchRow, RowError, RowReader
from betting_assets.sources.table import Table, read_table
from betting_assets.sources.team_names import near_misses

Partition = tuple[str, str]
"""(league, season), such as ('E0', '1718')."""


def read_file(path: Path, name: str | None = None) -> Batch:
    """All records of one file; `name` is what rejected rows call it.

    SourceError when the file yields no match at all. Rows and cells that cannot be used are in `rejected`.
    """
    name = name or _name(path)
    table, reader = _open(path, name)
    matches, refused = _read_rows(table, reader)
    rejected = Rejections(name, refused)
    batch = frames.build(matches, reader.layout, rejected)
    if batch.matches.empty:
        raise SourceError(
            f"{name}: none of {len(table.rows)} rows is a match ({rejected.first()}); mend or remove the file"
        )
    return Batch(
        batch.matches,
        batch.results,
        batch.statistics,
        batch.books,
        rejected.frame(),
        [f"{name}: {text}" for text in (*reader.layout.warnings, *_moved(reader), *_unknown_leagues(batch))],
    )


def read_folder(
    folder: Path,
    leagues: Collection[str] | None = None,
    seasons: Collection[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Batch:
    """The records of every CSV file below a folder, in any layout; of some leagues and seasons only, if asked.

    Files are read in order of their paths; where two hold the same match, the later one wins (`Batch.merge`). A file
    with nothing usable becomes a warning and a rejected row; SourceError when no file is left.
    """
    batches: list[Batch] = []
    failures: list[str] = []
    for path in _csv_files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            if not _holds(path, name, leagues, seasons):
                continue
            batches.append(read_file(path, name).select(leagues, seasons))
        except SourceError as error:
            failures.append(str(error))
            reason = {"file": [name], "line": [0], "reason": [f"file: {error}"], "content": [""]}
            batches.append(Batch(rejected=frame("rejected", reason), warnings=[f"file left out: {error}"]))
        if progress is not None:
            progress(f"{name}: {len(batches[-1].matches)} matches, {len(batches[-1].rejected)} rejected")
    merged = Batch.merge(batches)
    if merged.matches.empty and failures:
        raise SourceError(f"no usable file of {len(failures)} in {folder}; the first: {failures[0]}")
    merged.warnings.extend(near_misses(merged.matches))
    return merged


def list_partitions(folder: Path) -> list[Partition]:
    """Every (league, season) that the files hold, sorted; reads only league, season and date of each row."""
    found: set[Partition] = set()
    for path in _csv_files(folder):
        try:
            found |= _partitions(path, path.relative_to(folder).as_posix())
        except SourceError:
            continue  # read_folder reports the file
    return sorted(found)


def _csv_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SourceError(
            f"{folder}: there is no such folder; give the folder that holds your football-data.co.uk files"
        )
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".csv" and path.is_file())
    if not files:
        raise SourceError(f"{folder}: no CSV file in it; expected files such as 1718/E0.csv")
    return files


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}" if times.is_season_code(path.parent.name) else path.name


def _open(path: Path, name: str) -> tuple[Table, RowReader]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{name}: cannot be read ({error.strerror}); check the path and its permissions") from error
    table = read_table(content, name)
    layout = read_layout(table.header)
    missing = [fact for fact in ("date", "home", "away") if fact not in layout.facts]
    if missing:
        raise SourceError(
            f"{name}: no column for {', '.join(missing)} in the header {','.join(table.header)[:80]!r}; "
            "expected a football-data.co.uk file with Div, Date, HomeTeam, AwayTeam"
        )
    season = path.parent.name if times.is_season_code(path.parent.name) else None
    league = path.stem.upper() if path.stem.upper() in LEAGUES else None
    return table, RowReader(layout, season, league)


def _read_rows(table: Table, reader: RowReader) -> tuple[list[MatchRow], list[Rejection]]:
    matches: dict[str, MatchRow] = {}
    refused: list[Rejection] = []
    for row in table.rows:
        try:
            match = reader.read(row)
        except RowError as error:
            refused.append(Rejection(row, f"row: {error}"))
            continue
        if first := matches.get(match.match_id):
            refused.append(Rejection(row, f"row: the match is already in line {first.row.line}"))
        else:
            matches[match.match_id] = match
    return list(matches.values()), refused


def _partitions(path: Path, name: str) -> frozenset[Partition]:
    status = path.stat()
    return _partitions_of(path, name, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=10_000)
def _partitions_of(path: Path, name: str, _modified: int, _size: int) -> frozenset[Partition]:
    table, reader = _open(path, name)
    return frozenset(_places(table, reader))


def _places(table: Table, reader: RowReader) -> Iterator[Partition]:
    for row in table.rows:
        try:
            yield reader.place(row)
        except RowError:
            continue  # read_file records the row


def _holds(path: Path, name: str, leagues: Collection[str] | None, seasons: Collection[str] | None) -> bool:
    if leagues is None and seasons is None:
        return True
    return any(
        (leagues is None or league in leagues) and (seasons is None or season in seasons)
        for league, season in _partitions(path, name)
    )


def _moved(reader: RowReader) -> list[str]:
    return [
        f"{count} rows are dated outside season {reader.folder_season} and were put into {season}"
        for season, count in sorted(reader.moved.items())
    ]


def _unknown_leagues(batch: Batch) -> list[str]:
    strange = sorted(set(batch.matches["league"]) - LEAGUES.keys())
    return [f"league {code!r} is not known; its teams are rated in a pool of their own" for code in strange]
