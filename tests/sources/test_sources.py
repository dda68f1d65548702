"""Sources, holding back and merging."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from canonical_records import objections
from football_files import HEADER, write
from pandas.testing import assert_frame_equal

from betting_assets.sources.batch import Batch, frame
from betting_assets.sources.errors import SourceError
from betting_assets.sources.football_data import read_folder
from betting_assets.sources.hold_back import hold_back_last_match_day, upcoming
from betting_assets.sources.simulator import SimulatedWorld, SimulatorConfig
from betting_assets.sources.source import FootballDataSource, SimulatorSource, configured_source

PRICES = ",PSH,PSD,PSA,PSCH,PSCD,PSCA"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prices = ",2.1,3.4,3.6,2.0,3.4,3.9"
    rows = (
        f"E0,19/08/17,Ashford,Birch Vale,2,1,H{prices}",
        f"E0,26/08/17,Birch Vale,Ashford,1,1,D{prices}",
        f"E0,26/08/17,Cairn,Dunmoor,0,1,A{prices}",
    )
    write(tmp_path, HEADER + PRICES, *rows)
    write(tmp_path, HEADER + PRICES, f"E1,12/08/17,Elm,Fell,2,1,H{prices}", name="1718/E1.csv")
    return tmp_path


def test_both_sources_yield_canonical_records(folder: Path) -> None:
    for source in (FootballDataSource(folder), SimulatorSource(SimulatorConfig(leagues=("SIM1",), seasons=1, teams=4))):
        batch = source.load()
        assert objections(batch) == []
        assert source.partitions() == sorted(
            batch.matches[["league", "season"]].drop_duplicates().itertuples(index=False, name=None)
        )


def test_a_partition_of_either_source_is_a_cut_of_the_whole(folder: Path) -> None:
    simulator = SimulatorSource(SimulatorConfig(leagues=("SIM1", "SIM2"), seasons=2, teams=4))
    for source in (FootballDataSource(folder), simulator):
        league, season = source.partitions()[-1]
        part = source.load([league], [season])
        assert_frame_equal(part.books, source.load().select([league], [season]).books)
        assert set(part.matches["league"]) == {league}


def test_without_a_folder_the_simulator_is_the_source_and_its_leagues_can_be_chosen() -> None:
    assert configured_source(None, []).partitions()[0] == ("SIM1", "1920")
    assert {league for league, _ in configured_source(None, ["SIM2"]).partitions()} == {"SIM2"}


def test_a_configured_folder_reads_only_the_leagues_asked_for(folder: Path) -> None:
    source = configured_source(folder, ["E1", " "])
    assert source.partitions() == [("E1", "1718")]
    assert source.load().matches["home"].tolist() == ["Elm"]
    assert source.load(["E0"]).matches.empty


def test_a_wrong_configuration_says_what_is_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone: there is no such folder; give"):
        configured_source(tmp_path / "gone", [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"empty: no CSV file in it; expected"):
        configured_source(tmp_path / "empty", [])
    with pytest.raises(SourceError, match=r"league E7, X is not in .*; present are E0, E1"):
        configured_source(folder, ["E0", "E7", "X"])
    with pytest.raises(SourceError, match=r"league E0 is not in the simulator; present are SIM1, SIM2, SIM3"):
        configured_source(None, ["E0"])
    write(tmp_path, "a,b", "1,2", name="strange/x.csv")
    with pytest.raises(SourceError, match=r"no CSV file holds a match"):
        configured_source(tmp_path / "strange", [])


def test_holding_back_hides_everything_known_after_the_decision(folder: Path) -> None:
    batch = read_folder(folder)
    without, held = hold_back_last_match_day(batch)
    assert held == ["e0_2017-08-26_birch-vale_ashford", "e0_2017-08-26_cairn_dunmoor", "e1_2017-08-12_elm_fell"]
    assert upcoming(without) == held
    assert without.results["match_id"].tolist() == ["e0_2017-08-19_ashford_birch-vale"]
    of_held = without.books["match_id"].isin(held)
    assert set(without.books.loc[of_held, "phase"]) == {"pre_close"}
    assert set(without.books.loc[~of_held, "phase"]) == {"pre_close", "close"}
    assert_frame_equal(without.matches, batch.matches)


def test_holding_back_hides_the_statistics_too(world: SimulatedWorld) -> None:
    without, held = hold_back_last_match_day(world.batch)
    assert len(held) == 30
    assert not without.statistics["match_id"].isin(held).any()
    assert len(without.results) == len(world.batch.results) - 30


def test_nothing_is_held_back_twice_or_where_fixtures_exist(folder: Path) -> None:
    without, _ = hold_back_last_match_day(read_folder(folder))
    again, held = hold_back_last_match_day(without)
    assert held == []
    assert again is without
    assert hold_back_last_match_day(Batch())[1] == []


def test_a_match_that_was_never_played_is_no_fixture(folder: Path) -> None:
    write(folder, "Div,Date,HomeTeam,AwayTeam", "E0,20/08/17,Dunmoor,Cairn", name="postponed.csv")
    batch = read_folder(folder)
    assert upcoming(batch) == []
    assert len(hold_back_last_match_day(batch)[1]) == 3


def books(match_id: str, bookmaker: str, line: float) -> pd.DataFrame:
    row = {
        "match_id": [match_id], "bookmaker": [bookmaker], "market": ["asian_handicap"], "line": [line],
        "phase": ["close"], "prices": [[1.9, 2.0]], "taken_at": [pd.Timestamp("2020-01-01", tz="UTC")], "flag": [None],
    }  # fmt: skip
    return frame("books", row)


def test_merging_replaces_the_books_that_a_later_batch_names_and_keeps_the_others() -> None:
    early = Batch(
        books=pd.concat([books("a", "pinnacle", -0.5), books("a", "bet365", -0.5), books("b", "pinnacle", 0.0)])
    )
    merged = Batch.merge([early, Batch(books=books("a", "pinnacle", -0.75))]).books
    kept = set(merged[["match_id", "bookmaker", "line"]].itertuples(index=False, name=None))
    assert kept == {("a", "bet365", -0.5), ("b", "pinnacle", 0.0), ("a", "pinnacle", -0.75)}
    assert Batch.merge([]).matches.empty
