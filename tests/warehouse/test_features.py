"""Feature tables: their shape follows the frame, only what differs is written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from betting_assets.warehouse.arrow import FrameError
from betting_assets.warehouse.bulk import UpsertCounts, read_frame
from betting_assets.warehouse.features import write_feature_table

pytestmark = pytest.mark.services


def frame(**columns: object) -> pd.DataFrame:
    start = pd.DataFrame({"match_id": ["a", "b"], "event_timestamp": pd.Timestamp("2021-08-06 15:00", tz="UTC")})
    return start.assign(**columns)


def read(database: str, columns: str) -> list[list[object]]:
    return read_frame(database, f"SELECT {columns} FROM features.form ORDER BY match_id").to_numpy().tolist()  # noqa: S608


def test_a_table_is_made_from_the_frame(database: str) -> None:
    columns = {"home_elo": [1500.0, np.nan], "played": [3, 4], "derby": [True, False], "book": ["acme", None]}
    assert write_feature_table(database, "form", frame(**columns)) == UpsertCounts(inserted=2)
    assert read(database, "match_id, home_elo, played, derby, book") == [
        ["a", 1500.0, 3, True, "acme"], ["b", pytest.approx(np.nan, nan_ok=True), 4, False, None],
    ]  # fmt: skip


def test_only_rows_that_differ_are_written(database: str) -> None:
    write_feature_table(database, "form", frame(elo=[1.0, np.nan]))
    assert write_feature_table(database, "form", frame(elo=[1.0, np.nan])) == UpsertCounts(unchanged=2)
    assert write_feature_table(database, "form", frame(elo=[1.0, 2.0])) == UpsertCounts(updated=1, unchanged=1)


def test_a_new_column_is_added_and_an_old_one_stays(database: str) -> None:
    write_feature_table(database, "form", frame(elo=[1.0, 2.0]))
    write_feature_table(database, "form", frame(pi=[0.1, 0.2]))
    assert read(database, "elo, pi") == [[1.0, 0.1], [2.0, 0.2]]


def test_whole_numbers_and_fractions_share_a_column(database: str) -> None:
    write_feature_table(database, "form", frame(rest=[3, 4]))
    write_feature_table(database, "form", frame(rest=[3.5, np.nan]))
    write_feature_table(database, "form", frame(rest=[3, 4]))
    assert read(database, "rest") == [[3.0], [4.0]]


def test_a_contradicting_type_is_refused_and_named(database: str) -> None:
    write_feature_table(database, "form", frame(elo=[1.0, 2.0]))
    with pytest.raises(FrameError, match=r"features\.form\.elo holds double precision, the frame brings text"):
        write_feature_table(database, "form", frame(elo=["x", "y"]))


def test_replacing_deletes_rows_that_the_frame_lacks_and_rows_of_an_older_time(database: str) -> None:
    write_feature_table(database, "form", frame(elo=[1.0, 2.0]))
    moved = frame(elo=[1.0, 2.0]).head(1).assign(event_timestamp=pd.Timestamp("2021-08-06 12:00", tz="UTC"))
    assert write_feature_table(database, "form", moved, replace=True) == UpsertCounts(inserted=1, deleted=2)


@pytest.mark.parametrize(
    ("name", "columns", "complaint"),
    [
        ("Form; DROP", {}, "is no name for a feature table"),
        ("form", {'a" int': [1, 2]}, "is no name for a column"),
        ("form", {"when": pd.Timestamp("2021-01-01")}, "no column type for datetime64"),
        ("form", {"event_timestamp": [None, None]}, "event_timestamp: 2 rows without a value"),
    ],
)
def test_what_cannot_be_a_table_is_refused(
    database: str, name: str, columns: dict[str, object], complaint: str
) -> None:
    with pytest.raises(FrameError, match=complaint):
        write_feature_table(database, name, frame(**columns))


def test_a_frame_without_its_time_is_refused(database: str) -> None:
    with pytest.raises(FrameError, match="the frame lacks event_timestamp"):
        write_feature_table(database, "form", frame().drop(columns="event_timestamp"))


def test_writers_of_one_table_take_turns(database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: write_feature_table(database, "form", frame(**{f"f{i}": [1.0, 2.0]})), range(4)))
    assert read(database, "f0, f1, f2, f3") == [[1.0] * 4, [2.0] * 4]
