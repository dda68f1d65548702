"""From the bytes of a CSV file to a header and cells that keep their physical line numbers."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from betting_assets.sources.errors import SourceError

_LINE_END = re.compile(r"\r\n|\n|\r")
_BOMS = ("\ufeff", "ï»¿")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Row:
    """One physical line: its number in the file (from 1), its cells (stripped) and its text."""

    line: int
    cells: list[str]
    text: str


@dataclass(frozen=True)
class Table:
    header: list[str]
    rows: list[Row]


def decode(content: bytes) -> str:
    """UTF-8 (with any number of byte order marks, also one that was encoded twice), UTF-16 with its mark, else cp1252.

    Bytes that cp1252 does not define become U+FFFD; a row with one in a team name is rejected later.
    """
    if content.startswith(_UTF16):
        text = content.decode("utf-16", errors="replace")
    else:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = content.decode("cp1252", errors="replace")
    while text.startswith(_BOMS):
        text = text.removeprefix(_BOMS[0]).removeprefix(_BOMS[1])
    return text.replace("\xa0", " ")


def read_table(content: bytes, file: str) -> Table:
    """The header and all rows with any content; lines end in LF, CRLF or CR. SourceError for an empty file."""
    lines = [(number, text) for number, text in enumerate(_LINE_END.split(decode(content)), start=1)]
    filled = [(number, text) for number, text in lines if text.strip(' ,;\t"')]
    if not filled:
        raise SourceError(f"{file}: the file is empty; put a football-data.co.uk CSV file in its place")
    header = split(filled[0][1])
    return Table(header, [Row(number, split(text), text) for number, text in filled[1:]])


def split(line: str) -> list[str]:
    """The stripped cells of one line. Records never span lines, so a stray quote can spoil no line but its own."""
    if '"' not in line:
        return line.split(",") if " " not in line and "\t" not in line else [cell.strip() for cell in line.split(",")]
    try:
        return [cell.strip() for cell in next(csv.reader([line]))]
    except csv.Error:
        return [cell.strip(' "') for cell in line.split(",")]
