"""Hand-typed football-data.co.uk files with invented teams, for the tests of the readers."""

from __future__ import annotations

from pathlib import Path

HEADER = "Div,Date,HomeTeam,AwayTeam,FTHG,FTAG,FTR"


def write(folder: Path, *lines: str, name: str = "1718/E0.csv", end: str = "\n", encoding: str = "utf-8") -> Path:
    """A CSV file of these lines below the folder."""
    return write_bytes(folder, end.join([*lines, ""]).encode(encoding), name)


def write_bytes(folder: Path, content: bytes, name: str = "1718/E0.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
