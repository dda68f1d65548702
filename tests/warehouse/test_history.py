"""The canonical history: reading again changes nothing, corrections arrive, and nothing half-done stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_history import NAN, batch

from betting_assets.sources.batch import FRAMES, Batch, frame
from betting_assets.warehouse.arrow import FrameError
from betting_assets.warehouse.bulk import UpsertCounts, prices_matrix, read_frame
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.history import (
    count_rows,
    read_books,
    read_matches,
    read_results,
    read_statistics,
    write_batch,
)

pytestmark = pytest.mark.services


def test_what_is_read_is_what_was_written(database: str) -> None:
    written = batch()
    write_batch(database, written)
    for read, name in (
        (read_matches, "matches"),
        (read_results, "results"),
        (read_statistics, "statistics"),
        (read_books, "books"),
    ):
        rows = read(database)
        assert rows.dtypes.astype(str).to_dict() == FRAMES[name]
        expected = getattr(written, name)
        if name == "books":
            np.testing.assert_array_equal(prices_matrix(rows, 3), prices_matrix(expected, 3))
            rows, expected = rows.drop(columns="prices"), expected.drop(columns="prices")
        pd.testing.assert_frame_equal(rows, expected)


def test_the_same_rows_again_change_nothing(database: str) -> None:
    first = write_batch(database, batch())
    assert first["books"] == UpsertCounts(inserted=2)
    before = read_frame(database, "SELECT xmin::text, updated_at FROM core.book ORDER BY match_id")
    assert write_batch(database, batch())["books"] == UpsertCounts(unchanged=2)
    pd.testing.assert_frame_equal(
        read_frame(database, "SELECT xmin::text, updated_at FROM core.book ORDER BY match_id"), before
    )


def test_a_corrected_cell_updates_its_row_only(database: str) -> None:
    write_batch(database, batch())
    corrected = batch()
    corrected.results.loc[1, "home_score"] = 4
    counts = write_batch(database, corrected)
    assert counts["results"] == UpsertCounts(updated=1, unchanged=1)
    assert counts["matches"] == UpsertCounts(unchanged=2)
    assert read_results(database)["home_score"].tolist() == [2, 4]
    touched = read_frame(database, "SELECT updated_at FROM core.result ORDER BY match_id")["updated_at"]
    assert touched[1] > touched[0]


def test_a_cell_that_was_missing_is_filled_in_later(database: str) -> None:
    write_batch(database, batch())
    later = batch(prices=(2.0, 3.5, 4.0))
    later.statistics["home_shots"] = pd.array([7, None], dtype="Int64")
    counts = write_batch(database, later)
    assert counts["statistics"] == UpsertCounts(updated=1, unchanged=1)
    assert counts["books"] == UpsertCounts(updated=2)
    assert read_statistics(database)["home_shots"].tolist() == [7, pd.NA]


def test_a_corrected_line_does_not_leave_the_old_one_behind(database: str) -> None:
    write_batch(database, batch(line=-0.5))
    assert write_batch(database, batch(line=-0.75))["books"] == UpsertCounts(inserted=2, deleted=2)
    assert read_books(database)["line"].tolist() == [-0.75, -0.75]


def test_a_book_that_is_not_mentioned_stays(database: str) -> None:
    write_batch(database, batch())
    other = batch()
    other.books["bookmaker"] = "zenith"
    write_batch(database, other)
    write_batch(database, replace(batch(), books=frame("books"), results=frame("results")))
    assert len(read_books(database)) == 4
    assert len(read_results(database)) == 2


def test_a_repeated_key_inside_one_frame_is_refused_and_named(database: str) -> None:
    twice = batch(matches=("xx_2021-08-07_ash_birch",) * 2)
    with pytest.raises(FrameError, match=r"core\.match: 1 rows repeat a key.*xx_2021-08-07_ash_birch"):
        write_batch(database, twice)


def test_a_missing_value_where_there_must_be_one_is_refused_and_named(database: str) -> None:
    nameless = batch()
    nameless.matches.loc[1, "home"] = None
    with pytest.raises(FrameError, match=r"core\.match\.home: 1 rows without a value.*cedar_elm"):
        write_batch(database, nameless)


def test_times_without_a_zone_are_refused(database: str) -> None:
    naive = batch()
    results = naive.results.assign(known_at=naive.results["known_at"].dt.tz_localize(None))
    with pytest.raises(FrameError, match=r"core\.result\.known_at: times without a zone"):
        write_batch(database, replace(naive, results=results))


def test_a_record_of_an_unknown_match_is_refused_and_nothing_is_written(database: str) -> None:
    orphan = batch()
    orphan.books.loc[1, "match_id"] = "xx_2021-08-07_nobody_knows"
    with pytest.raises(FrameError, match=r"books: 1 unknown matches, e\.g\. xx_2021-08-07_nobody_knows"):
        write_batch(database, orphan)
    assert read_matches(database).empty


def test_a_record_of_a_match_written_earlier_is_welcome(database: str) -> None:
    write_batch(database, replace(batch(), books=frame("books")))
    assert write_batch(database, replace(batch(), matches=frame("matches")))["books"].inserted == 2


def test_a_bad_last_frame_leaves_nothing_of_the_first(database: str) -> None:
    bad = batch(rejected=frame("rejected", {"file": ["a"], "line": [1], "reason": [None], "content": ["x"]}))
    with pytest.raises(FrameError, match=r"raw\.rejected_row\.reason"):
        write_batch(database, bad)
    assert read_matches(database).empty


def test_an_empty_batch_is_nothing_to_do(database: str) -> None:
    assert set(write_batch(database, Batch()).values()) == {UpsertCounts()}


def test_rejected_rows_keep_when_they_were_first_and_last_seen(database: str) -> None:
    line = {"file": ["a.csv"], "line": [3], "reason": ["row: no date"], "content": ["x\x00y,,"]}
    for _ in range(2):
        write_batch(database, batch(rejected=frame("rejected", line)))
    rows = read_frame(database, "SELECT * FROM raw.rejected_row")
    assert rows["content"].tolist() == ["x\N{REPLACEMENT CHARACTER}y,,"]
    assert (rows["last_seen_at"] > rows["first_seen_at"]).all()


def test_reading_can_be_narrowed(database: str) -> None:
    write_batch(database, batch(matches=("xx_2021-08-07_ash_birch", "yy_2021-08-07_cedar_elm")))
    assert read_matches(database, leagues=["YY"])["home"].tolist() == ["cedar"]
    assert read_matches(database, leagues=[]).empty
    assert read_matches(database, seasons=["1920"]).empty
    assert len(read_books(database, leagues=["XX"], markets=["1x2"], phases=["pre_close"], bookmakers=["acme"])) == 1
    assert read_books(database, phases=["close"]).empty
    assert count_rows(database).to_dict("list") == {
        "league": ["XX", "YY"], "season": ["2122"] * 2, "matches": [1, 1], "results": [1, 1], "books": [1, 1],
    }  # fmt: skip


def test_writers_at_once_neither_lock_each_other_out_nor_duplicate(database: str) -> None:
    names = [f"xx_2021-08-07_ash{i}_birch" for i in range(300)]
    forward, backward = batch(matches=names), batch(matches=names[::-1], prices=(2.1, 3.1, NAN))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: write_batch(database, one), [forward, backward] * 4))
    assert len(read_books(database)) == 300


WRITE = """
import sys
from betting_assets.warehouse import history
from invented_history import batch
kept = history._write
def slowly(connection, table, frame):
    counts = kept(connection, table, frame)
    print(table, flush=True)
    if str(table) == sys.argv[2]:
        sys.stdin.read()
    return counts
history._write = slowly
history.write_batch(sys.argv[1], batch())
"""


@pytest.mark.parametrize("table", ["core.match", "core.result", "core.book", "raw.rejected_row"])
def test_a_writer_killed_in_the_middle_leaves_nothing(database: str, table: str) -> None:
    command = [sys.executable, "-c", WRITE, database, table]
    with subprocess.Popen(
        command, cwd=Path(__file__).parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert any(line.strip() == table for line in iter(writer.stdout.readline, ""))
        os.kill(writer.pid, signal.SIGKILL)
    with connect(database, autocommit=True) as conn:
        while conn.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        ).fetchone():
            time.sleep(0.02)
        for name in ("core.match", "core.result", "core.book"):
            assert conn.execute(f"SELECT count(*) FROM {name}").fetchone() == (0,)  # noqa: S608
    assert write_batch(database, batch())["matches"].inserted == 2
