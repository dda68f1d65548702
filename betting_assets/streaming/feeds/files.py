"""Files of recorded odds: what each one is, told by its content, and all of them in one order of time."""

from __future__ import annotations

import bz2
import csv
import datetime as dt
import gzip
import heapq
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, cast

from betting_assets.sources.betfair.definition import Names
from betting_assets.sources.betfair.recording import SOURCE as BETFAIR
from betting_assets.sources.betfair.recording import Shared, collect_names, read_recording
from betting_assets.sources.errors import SourceError
from betting_assets.sources.feed import Account, Event, Told, utc
from betting_assets.sources.odds_api.odds import ticks
from betting_assets.sources.odds_api.rows import in_decimal_odds, is_odds_table, rows_of_answer, rows_of_table
from betting_assets.sources.odds_api.scores import events_of_table, is_scores_table, results

MAX_WHOLE = 256 * 2**20
"""Bytes of a file that is read as a whole (everything but stream recordings)."""

MAX_LINE = 64 * 2**20

_TORN = (EOFError, OSError, zlib.error)
_HEAD = 65_536
_PROBED_LINES = 20


class Format(StrEnum):
    BETFAIR_STREAM = "Betfair stream"
    BETFAIR_CATALOGUE = "Betfair catalogue"
    ODDS_API = "The Odds API odds"
    ODDS_API_SCORES = "The Odds API scores"
    ODDS_TABLE = "odds table"
    SCORES_TABLE = "scores table"
    UNKNOWN = "unknown"


@dataclass
class FeedFile:
    """A file, what it is, and, once it was read, what became of its content. `names` come from catalogues beside it."""

    path: Path
    format: Format
    account: Account


@dataclass
class Context:
    """What all files of one replay share."""

    league: str = ""
    names: Names = field(default_factory=Names)
    betfair: Shared = field(default_factory=Shared)
    told: Told = field(default_factory=Told)


def find(paths: Iterable[Path]) -> list[FeedFile]:
    """The files, and those below folders, by name. A file of no known format is listed, and yields nothing.

    Raises:
        SourceError: a path does not exist, or there is nothing that can be replayed.
    """
    found: list[FeedFile] = []
    for path in paths:
        if not path.exists():
            raise SourceError(f"{path}: there is no such file or folder")
        inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        for one in inside if path.is_dir() else [path]:
            name = one.relative_to(path).as_posix() if path.is_dir() else one.name
            found.append(FeedFile(one, format_of(one), Account(name)))
    if not any(one.format is not Format.UNKNOWN for one in found):
        known = ", ".join(one for one in Format if one is not Format.UNKNOWN)
        raise SourceError(f"{', '.join(str(path) for path in paths)}: no file is one of: {known}")
    return found


def events(files: Iterable[FeedFile], league: str = "") -> Iterator[Event]:
    """The events of all files in order of time; a file is opened when its time has come, and closed at its end.

    `league` stands in where a file does not tell its own (Betfair recordings, tables without sport_key).
    """
    context = Context(league)
    wanted = list(files)
    for file in wanted:
        if file.format is Format.BETFAIR_CATALOGUE:
            _learn(file, context.names)
        elif file.format is Format.UNKNOWN:
            file.account.skip("unknown_format")
    starts = [(start, number) for number, file in enumerate(wanted) if (start := _start(file)) is not None]
    return _merged(sorted(starts), wanted, context)


def _merged(starts: list[tuple[dt.datetime, int]], files: list[FeedFile], context: Context) -> Iterator[Event]:
    """Merge by time with as few files open at once as possible."""
    open_: list[tuple[dt.datetime, int, Event, Iterator[Event]]] = []
    starts.reverse()
    while starts or open_:
        while starts and (not open_ or starts[-1][0] <= open_[0][0]):
            _, number = starts.pop()
            _push(open_, number, _read(files[number], context))
        if open_:
            _, number, event, rest = heapq.heappop(open_)
            yield event
            _push(open_, number, rest)


def _push(open_: list[tuple[dt.datetime, int, Event, Iterator[Event]]], number: int, source: Iterator[Event]) -> None:
    if (event := next(source, None)) is not None:
        heapq.heappush(open_, (event.at, number, event, source))


def _read(file: FeedFile, context: Context) -> Iterator[Event]:
    account, league = file.account, context.league
    if file.format is Format.BETFAIR_STREAM:
        return _recording(file, context)
    if file.format is Format.ODDS_TABLE:
        rows = in_decimal_odds(list(rows_of_table(_whole(file.path), account)), str(file.path))
        return ticks(rows, account, league=league, told=context.told)
    if file.format is Format.SCORES_TABLE:
        return results(events_of_table(_whole(file.path)), account, league=league)
    answer, pulled_at = _answer(file.path)
    if file.format is Format.ODDS_API_SCORES:
        return results(answer, account, league=league)
    rows = in_decimal_odds(list(rows_of_answer(answer, account, pulled_at)), str(file.path))
    return ticks(rows, account, league=league, told=context.told)


def _recording(file: FeedFile, context: Context) -> Iterator[Event]:
    with lines_of(file) as lines:
        collect_names(lines, context.names)
    with lines_of(file) as lines:
        yield from read_recording(
            lines, file.account, context.names, league=context.league or BETFAIR, shared=context.betfair
        )


@contextmanager
def lines_of(file: FeedFile) -> Iterator[Iterator[bytes]]:
    """The lines of a file, unpacked; of a packed file that is torn the whole lines are used, and it is told once."""
    with opened(file.path) as stream:
        yield _lines(stream, file.account)


def _lines(stream: IO[bytes], account: Account) -> Iterator[bytes]:
    try:
        while line := stream.readline(MAX_LINE):
            yield line
    except _TORN as error:
        if "torn_file" not in account.skipped:
            account.reject(0, "torn_file", error)


def opened(path: Path) -> IO[bytes]:
    """The file's bytes; bzip2 and gzip are unpacked, told by the first bytes."""
    with path.open("rb") as raw:
        magic = raw.read(3)
    if magic == b"BZh":
        return cast(IO[bytes], bz2.open(path, "rb"))
    return cast(IO[bytes], gzip.open(path, "rb")) if magic[:2] == b"\x1f\x8b" else path.open("rb")


def format_of(path: Path) -> Format:
    """What a file is, by its content; a file that cannot be read is unknown."""
    text = _head(path).removeprefix(b"\xef\xbb\xbf").lstrip()
    if any(b'"op":"mcm"' in line.replace(b" ", b"") for line in text.split(b"\n", _PROBED_LINES)[:_PROBED_LINES]):
        return Format.BETFAIR_STREAM
    if text[:1] in (b"{", b"["):
        return _format_of_json(path)
    header = next(csv.reader(io.StringIO(text.decode("utf-8", "replace"))), [])
    if is_scores_table(header):
        return Format.SCORES_TABLE
    return Format.ODDS_TABLE if is_odds_table(header) else Format.UNKNOWN


def _head(path: Path) -> bytes:
    head = b""
    try:
        with opened(path) as stream:
            while len(head) < _HEAD and (line := stream.readline(_HEAD)):
                head += line
    except _TORN:  # what was read before tells enough
        return head
    return head


def _format_of_json(path: Path) -> Format:
    try:
        document = json.loads(_whole(path))
    except (ValueError, SourceError, RecursionError):
        return Format.UNKNOWN
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        document = document["data"]
    first = document[0] if isinstance(document, list) and document else document
    if not isinstance(first, dict):
        return Format.UNKNOWN
    if "marketId" in first and "runners" in first:
        return Format.BETFAIR_CATALOGUE
    if "bookmakers" in first:
        return Format.ODDS_API
    return Format.ODDS_API_SCORES if "completed" in first and "home_team" in first else Format.UNKNOWN


def _answer(path: Path) -> tuple[list[Any], dt.datetime | None]:
    """Events of an answer of The Odds API; its historical answers also tell when they were taken."""
    document = json.loads(_whole(path))
    if isinstance(document, dict):
        data = document.get("data")
        return (data if isinstance(data, list) else [document]), utc(document.get("timestamp"))
    return document, None


def _learn(file: FeedFile, names: Names) -> None:
    document = json.loads(_whole(file.path))
    for catalogue in document if isinstance(document, list) else [document]:
        if isinstance(catalogue, dict):
            names.learn_catalogue(catalogue)


def _whole(path: Path) -> bytes:
    try:
        with opened(path) as stream:
            content = stream.read(MAX_WHOLE + 1)
    except _TORN as error:
        raise SourceError(f"{path}: cannot be read to its end ({error}); fetch it again") from error
    if len(content) > MAX_WHOLE:
        raise SourceError(f"{path}: more than {MAX_WHOLE >> 20} MiB; split it")
    return content


def _start(file: FeedFile) -> dt.datetime | None:
    """When the file begins, cheaply; None for a file that yields nothing."""
    if file.format in (Format.UNKNOWN, Format.BETFAIR_CATALOGUE):
        return None
    if file.format is not Format.BETFAIR_STREAM:
        scratch = FeedFile(file.path, file.format, Account(file.account.file))
        first = next(_read(scratch, Context()), None)
        return first.at if first else dt.datetime.max.replace(tzinfo=dt.UTC)
    with lines_of(file) as lines:
        for line in lines:
            try:
                return dt.datetime.fromtimestamp(json.loads(line)["pt"] / 1000, dt.UTC)
            except (ValueError, KeyError, TypeError, OverflowError):
                continue
    return dt.datetime.max.replace(tzinfo=dt.UTC)
