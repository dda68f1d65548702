"""The readers on real football-data.co.uk files; skipped, visibly, where the private test data is absent."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from canonical_records import objections
from pandas.testing import assert_frame_equal

from betting_assets.sources.batch import Batch
from betting_assets.sources.football_data import list_partitions, read_file, read_folder
from betting_assets.sources.hold_back import hold_back_last_match_day, upcoming

pytestmark = pytest.mark.real_data

LEAGUES = ("D1", "E0", "E1", "E2", "EC", "SP1")
SEASONS = ("1011", "1112", "1213", "1314", "1415", "1516", "1617", "1718", "1819", "1920", "2021", "2122")
FULL_SEASON = {"D1": 306, "E0": 380, "E1": 552, "E2": 552, "EC": 552, "SP1": 380}
SHORT_SEASON = {("E2", "1920"): 400, ("EC", "1920"): 451, ("EC", "2021"): 477, ("EC", "2122"): 506}
"""The pandemic curtailed two seasons; in the next two clubs left the fifth division."""


def test_every_file_yields_its_matches_with_results(real_batch: Batch) -> None:
    counts = real_batch.matches.groupby(["league", "season"]).size().to_dict()
    assert counts == {(a, b): SHORT_SEASON.get((a, b), FULL_SEASON[a]) for a in LEAGUES for b in SEASONS}
    assert set(real_batch.results["match_id"]) == set(real_batch.matches["match_id"])


def test_no_row_is_lost_and_every_rejected_cell_is_named(real_batch: Batch) -> None:
    reasons = real_batch.rejected["reason"]
    assert not reasons.str.startswith(("row:", "file:")).any()
    assert 0 < len(reasons) < 50
    assert reasons.str.match(r"cell: ([\w<>.]+ = '.+' is no|[\w-]+ asian_handicap)").all()


def test_real_files_hold_no_near_misses_after_the_aliases(real_batch: Batch) -> None:
    assert real_batch.warnings == []


def test_the_apostrophe_of_cp1252_belongs_to_the_name(real_batch: Batch) -> None:
    names = set(real_batch.matches["home"])
    assert "King’s Lynn" in names
    assert not any("\x92" in name or "\ufffd" in name or "\xa0" in name for name in names)


def test_a_sample_of_real_records_passes_the_models_row_by_row(real_batch: Batch) -> None:
    ids = real_batch.matches["match_id"].sample(1500, random_state=1)
    assert objections(real_batch.keep(set(ids))) == []
    flagged = real_batch.books[real_batch.books["flag"].notna()]["match_id"]
    assert objections(real_batch.keep(set(flagged))) == []


def test_few_books_are_flagged(real_batch: Batch) -> None:
    flags = real_batch.books["flag"].value_counts()
    assert set(flags.index) == {"overround_high", "overround_below_one", "incomplete"}
    assert flags.sum() < len(real_batch.books) / 5000


def test_the_reference_book_and_the_market_average_cover_the_seasons(real_batch: Batch) -> None:
    books = real_batch.books.merge(real_batch.matches[["match_id", "season", "league"]], on="match_id")
    books = books[(books["market"] == "1x2") & (books["phase"] == "pre_close") & (books["league"] == "E0")]
    coverage = books.groupby(["bookmaker", "season"]).size() / 380
    assert (coverage["market-average"].reindex(SEASONS) == 1).all()
    assert (coverage["pinnacle"].reindex(SEASONS[2:]) > 0.99).all()


def test_closing_prices_are_never_taken_before_the_earlier_ones(real_batch: Batch) -> None:
    taken = real_batch.books.groupby(["match_id", "phase"])["taken_at"].agg(["min", "max"]).unstack()
    both = taken.dropna()
    assert (both["max"]["pre_close"] < both["min"]["close"]).all()
    assert (both["min"]["pre_close"] == both["max"]["pre_close"]).all()


def test_the_dialects_say_what_the_original_says(football_folder: Path, real_batch: Batch) -> None:
    original = real_batch.select(["E0"], ["1920"])
    for name in ("albert_E0_1920.csv", "scardubu_fd_E0_1920.csv"):
        dialect = read_file(football_folder / "dialects" / name)
        assert_frame_equal(dialect.matches, original.matches)
        assert_frame_equal(dialect.results, original.results)
        assert_frame_equal(dialect.statistics, original.statistics)
        key = ["match_id", "bookmaker", "market", "phase"]
        assert set(map(tuple, dialect.books[key].to_numpy())) == set(map(tuple, original.books[key].to_numpy()))


def test_an_earlier_vintage_adds_no_match(football_folder: Path, real_batch: Batch) -> None:
    vintage = read_file(football_folder / "dialects" / "jokecamp_E0_1213_vintage_no_PSC.csv")
    season = real_batch.select(["E0"], ["1213"])
    merged = Batch.merge([vintage, season])
    assert set(merged.matches["match_id"]) == set(season.matches["match_id"])
    assert len(merged.results) == 380
    assert (merged.books["phase"] == "close").sum() == (season.books["phase"] == "close").sum() > 0


def test_the_fixture_list_is_upcoming_and_nothing_is_held_back(football_folder: Path) -> None:
    batch = read_folder(football_folder / "snapshots")
    assert len(batch.matches) == 47
    assert batch.results.empty
    assert set(batch.books["phase"]) == {"pre_close"}
    assert upcoming(batch) == batch.matches["match_id"].tolist()
    assert hold_back_last_match_day(batch)[1] == []


def test_the_partitions_are_those_of_the_records(football_folder: Path, real_batch: Batch) -> None:
    of_records = real_batch.matches[["league", "season"]].drop_duplicates()
    assert list_partitions(football_folder / "mmz4281") == sorted(of_records.itertuples(index=False, name=None))


def test_a_partition_alone_holds_the_same_records(football_folder: Path, real_batch: Batch) -> None:
    alone = read_folder(football_folder / "mmz4281", leagues=["SP1"], seasons=["1718"])
    cut = real_batch.select(["SP1"], ["1718"])
    for name in ("matches", "results", "statistics", "books"):
        assert_frame_equal(getattr(alone, name), getattr(cut, name))


def test_kick_offs_are_known_from_2019_on(real_batch: Batch) -> None:
    known = real_batch.matches.groupby("season")["kickoff"].apply(lambda moments: moments.notna().mean())
    assert (known[known.index < "1920"] == 0).all()
    assert (known[known.index >= "1920"] > 0.99).all()
    hours = pd.DatetimeIndex(real_batch.matches["kickoff"].dropna()).hour
    assert ((hours >= 9) & (hours <= 22)).all()
