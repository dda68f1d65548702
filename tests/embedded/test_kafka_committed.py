"""Committed offsets: the newest of each place, also after a restart, a torn last line, and a journal written anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from betting_assets.embedded.broker import committed as module
from betting_assets.embedded.broker.committed import Committed, Place, Position
from betting_assets.embedded.broker.open_files import OpenFiles


def opened(folder: Path) -> Committed:
    return Committed(folder, OpenFiles())


@pytest.mark.parametrize("most_outdated", [5, 10_000])
def test_the_newest_positions_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_outdated: int) -> None:
    monkeypatch.setattr(module, "MOST_OUTDATED", most_outdated)
    committed = opened(tmp_path)
    for offset in range(200):
        committed.commit({Place("g", "t", offset % 3): Position(offset, "é")})
    committed.delete([Place("g", "t", 1)])
    expected = {Place("g", "t", 0): Position(198, "é"), Place("g", "t", 2): Position(197, "é")}
    assert committed.of("g") == opened(tmp_path).of("g") == expected
    lines = (tmp_path / "committed.jsonl").read_text().count("\n")
    assert (lines < 20) == (most_outdated == 5)


def test_a_torn_last_line_is_cut(tmp_path: Path) -> None:
    opened(tmp_path).commit({Place("g", "t", 0): Position(7, "")})
    with (tmp_path / "committed.jsonl").open("a") as file:
        file.write('[["g", "t", 0], [')
    again = opened(tmp_path)
    assert again.of("g") == {Place("g", "t", 0): Position(7, "")}
    again.commit({Place("g", "t", 0): Position(8, "")})
    assert opened(tmp_path).of("g") == {Place("g", "t", 0): Position(8, "")}


def test_positions_of_a_deleted_topic_go(tmp_path: Path) -> None:
    committed = opened(tmp_path)
    committed.commit({Place("g", "gone", 0): Position(1, ""), Place("g", "stays", 0): Position(2, "")})
    committed.delete_topic("gone")
    assert opened(tmp_path).of("g") == {Place("g", "stays", 0): Position(2, "")}
