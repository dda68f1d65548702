"""Frozen training tables: the same data, the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_features import FRIDAY, rows

from betting_assets.modelling.snapshot import SnapshotError, freeze, load


@pytest.fixture
def table() -> pd.DataFrame:
    frame = rows("match_market", [f"m{i:02}" for i in range(30)], [FRIDAY] * 30)
    frame["match_date"] = pd.to_datetime("2021-03-06")
    frame["shots"] = pd.array([None, *range(29)], dtype="Int64")
    frame["outcome"] = np.arange(30) % 3
    return frame


def test_the_same_data_give_the_same_snapshot_in_any_order(table: pd.DataFrame, tmp_path: Path) -> None:
    first = freeze(table, tmp_path / "one", "1x2")
    shuffled = table.sample(frac=1, random_state=3)[list(table.columns)[::-1]]
    second = freeze(shuffled, tmp_path / "two", "1x2")
    assert first.sha256 == second.sha256
    assert first.path.read_bytes() == second.path.read_bytes()
    assert (first.rows, first.columns) == (30, tuple(sorted(table.columns)))


@pytest.mark.parametrize(("column", "value"), [("market_home", 0.123), ("market_1x2_book", "x"), ("shots", pd.NA)])
def test_one_changed_cell_gives_another_snapshot(
    table: pd.DataFrame, tmp_path: Path, column: str, value: object
) -> None:
    before = freeze(table, tmp_path, "1x2")
    table.loc[7, column] = value
    assert freeze(table, tmp_path, "1x2").sha256 != before.sha256


def test_what_was_frozen_is_loaded_with_its_dtypes(table: pd.DataFrame, tmp_path: Path) -> None:
    expected = table[sorted(table.columns)]
    pd.testing.assert_frame_equal(load(freeze(table, tmp_path, "1x2").path), expected)


@pytest.mark.parametrize("position", [0, 1000, -1])
def test_a_tampered_file_is_refused(table: pd.DataFrame, tmp_path: Path, position: int) -> None:
    path = freeze(table, tmp_path, "1x2").path
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match="was changed"):
        load(path)


def test_a_file_with_another_name_is_refused(table: pd.DataFrame, tmp_path: Path) -> None:
    path = freeze(table, tmp_path, "1x2").path.rename(tmp_path / "training.parquet")
    with pytest.raises(SnapshotError, match="is not a snapshot"):
        load(path)


def test_the_file_is_named_by_market_and_hash_and_nothing_else_is_left(table: pd.DataFrame, tmp_path: Path) -> None:
    snapshot = freeze(table, tmp_path, "over_under")
    freeze(table, tmp_path, "over_under")
    assert [path.name for path in tmp_path.iterdir()] == [f"over_under-{snapshot.sha256}.parquet"]


def test_a_file_that_is_there_is_left_alone(table: pd.DataFrame, tmp_path: Path) -> None:
    path = freeze(table, tmp_path, "1x2").path
    before = path.stat()
    freeze(table, tmp_path, "1x2")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_two_rows_for_one_match_are_refused(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="two rows for m00"):
        freeze(pd.concat([table, table.head(1)]), tmp_path, "1x2")


def test_a_market_that_is_not_modelled_is_refused(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not modelled"):
        freeze(table, tmp_path, "../corners")
