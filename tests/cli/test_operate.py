"""`betting ingest`, and what the other commands say of a database without a platform."""

from __future__ import annotations

from pathlib import Path

import pytest
from invented_files import write_season
from terminals import Terminal, assert_one_line

pytestmark = pytest.mark.services


def _changes(output: str) -> dict[str, list[str]]:
    """Rows, inserted and updated of each table that `ingest` prints."""
    rows = [line.split() for line in output.splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) == 4 and row[1].isdigit()}


def test_a_second_reading_updates_the_corrected_cell_and_nothing_else(terminal: Terminal) -> None:
    file = write_season(terminal.folder / "files")
    first = terminal.run("ingest", "files")
    assert first.returncode == 0, first.stderr
    assert _changes(first.stdout) == {
        "match_results": ["56", "112", "0"],
        "bookmaker_odds": ["112", "112", "0"],
        "rejected": ["0", "0", "0"],
    }
    lines = file.read_text().splitlines()
    lines[1] = lines[1].replace("Ashby,Brill,0,0,D", "Ashby,Brill,3,0,H")
    file.write_text("\n".join(lines))
    second = terminal.run("ingest", "files")
    assert _changes(second.stdout)["match_results"] == ["56", "0", "1"]
    assert _changes(second.stdout)["bookmaker_odds"] == ["112", "0", "0"]
    assert [line[:18].strip() for line in second.stderr.splitlines()] == [
        "database",
        "load the graph",
        "read and store",
    ]
    assert (terminal.home / "logs" / "command.log").stat().st_size > 0  # where the libraries spoke
    assert terminal.processes() == []


def test_books_that_fail_the_expectations_are_told_with_the_reason(terminal: Terminal) -> None:
    file = write_season(terminal.folder / "bad", "1819")
    file.write_text(file.read_text().replace("3.50,4.20", "9.50,9.20"))
    result = terminal.run("ingest", "bad")
    assert result.returncode == 2
    told = result.stderr.splitlines()[-1]
    assert told.startswith("betting: stored, but no feature will be built on it, because checks failed: bookmaker_odds")
    assert "flag" in told


def test_a_database_without_tables_is_told(terminal: Terminal, postgres_url: str) -> None:
    assert_one_line(terminal.run("predict", BETTING_DATABASE_URL=postgres_url), "no tables", "betting up")


def test_nothing_to_roll_back_to_is_told(terminal: Terminal, database: str) -> None:
    assert_one_line(terminal.run("rollback", BETTING_DATABASE_URL=database), "no earlier deployment")


def test_nothing_to_predict_is_told(terminal: Terminal, database: str) -> None:
    assert_one_line(terminal.run("predict", BETTING_DATABASE_URL=database), "no upcoming match", "ingest")


def test_status_names_the_database_without_its_password(terminal: Terminal, database: str) -> None:
    result = terminal.run("status", BETTING_DATABASE_URL=database)
    password = database.partition("://")[2].partition("@")[0].partition(":")[2]
    assert result.returncode == 0
    assert password not in result.stdout
    assert Path(database).name in result.stdout
