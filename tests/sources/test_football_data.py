"""Every quirk of football-data.co.uk files, each with a hand-typed file of invented teams."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from canonical_records import objections
from football_files import HEADER, write, write_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from betting_assets.sources.batch import FRAMES, Batch
from betting_assets.sources.errors import SourceError
from betting_assets.sources.football_data import list_partitions, read_file, read_folder


def book(batch: Batch, bookmaker: str, market: str = "1x2", phase: str = "pre_close") -> pd.Series:
    """The one book of this bookmaker."""
    books = batch.books
    found = books[(books["bookmaker"] == bookmaker) & (books["market"] == market) & (books["phase"] == phase)]
    assert len(found) == 1
    return found.iloc[0]


def reasons(batch: Batch) -> list[str]:
    return batch.rejected["reason"].tolist()


@pytest.mark.parametrize("date", ["19/08/17", "19/08/2017", "2017-08-19", "19.08.2017", "2017-08-19 00:00:00"])
def test_every_way_to_write_a_date_gives_the_same_match(tmp_path: Path, date: str) -> None:
    batch = read_file(write(tmp_path, HEADER, f"E0,{date},Ashford,Birch Vale,2,1,H"))
    assert batch.matches["match_id"].tolist() == ["e0_2017-08-19_ashford_birch-vale"]
    assert batch.matches["season"].tolist() == ["1718"]


def test_date_formats_may_differ_within_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER, "E0,19/08/17,Ashford,Birch Vale,2,1,H", "E0,26/08/2017,Birch Vale,Ashford,0,0,D")
    assert read_file(path).matches["match_date"].dt.strftime("%F").tolist() == ["2017-08-19", "2017-08-26"]


def test_the_kick_off_is_uk_local_time_in_summer_and_winter(tmp_path: Path) -> None:
    header = HEADER.replace("Date", "Date,Time")
    rows = ("SP1,17/08/2019,20:00,Ashford,Birch Vale,2,1,H", "SP1,18/01/2020,20:00,Birch Vale,Ashford,0,0,D")
    kickoff = read_file(write(tmp_path, header, *rows, name="1920/SP1.csv")).matches["kickoff"]
    assert [f"{moment:%H:%M}" for moment in kickoff] == ["19:00", "20:00"]


def test_an_unreadable_time_leaves_the_kick_off_unknown_and_is_noted(tmp_path: Path) -> None:
    header = HEADER.replace("Date", "Date,Time")
    batch = read_file(write(tmp_path, header, "E0,17/08/2019,8pm,Ashford,Birch Vale,2,1,H", name="1920/E0.csv"))
    assert batch.matches["kickoff"].isna().all()
    assert reasons(batch) == ["cell: Time = '8pm' is no time of day; the kick-off is unknown"]


@pytest.mark.parametrize(
    ("content", "home"),
    [
        ("Queen’s Lea".encode("cp1252"), "Queen’s Lea"),
        ("Queen’s Lea".encode(), "Queen’s Lea"),
        ("Queen\xa0Lea".encode(), "Queen Lea"),
        ("Queen\xa0Lea".encode("cp1252"), "Queen Lea"),
    ],
)
def test_names_survive_every_encoding(tmp_path: Path, content: bytes, home: str) -> None:
    path = write_bytes(tmp_path, HEADER.encode() + b"\nEC,05/08/2017," + content + b",Birch Vale,2,1,H\n")
    assert read_file(path).matches["home"].tolist() == [home]


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf", "ï»¿".encode(), "\ufeffï»¿".encode()])
def test_byte_order_marks_are_no_part_of_the_first_column(tmp_path: Path, mark: bytes) -> None:
    path = write_bytes(tmp_path, mark + f"{HEADER}\nE1,19/08/17,Ashford,Birch Vale,2,1,H\n".encode())
    assert read_file(path).matches["league"].tolist() == ["E1"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_read_and_line_numbers_are_physical(tmp_path: Path, end: str) -> None:
    rows = ("E0,19/08/17,Ashford,Birch Vale,2,1,H", ",,,,,,", "E0,soon,Ashford,Birch Vale,2,1,H")
    batch = read_file(write(tmp_path, HEADER, *rows, end=end))
    assert len(batch.matches) == 1
    assert batch.rejected["line"].tolist() == [4]


def test_blank_headers_and_rows_of_commas_are_ignored(tmp_path: Path) -> None:
    header = HEADER.replace("FTHG", ",FTHG") + ",B365H,B365D,B365A,,,"
    batch = read_file(
        write(tmp_path, header, "E0,19/08/17,Ashford,Birch Vale,,2,1,H,2.1,3.4,3.6,,,", ",,,,,,,,,,,,,", ",,")
    )
    assert batch.results[["home_score", "away_score"]].to_numpy().tolist() == [[2, 1]]
    assert book(batch, "bet365")["prices"] == [2.1, 3.4, 3.6]
    assert batch.rejected.empty


def test_spreadsheet_errors_count_as_blank(tmp_path: Path) -> None:
    header = HEADER + ",HS,AS,B365H,B365D,B365A"
    batch = read_file(write(tmp_path, header, "E0,19/08/17,Ashford,Birch Vale,2,1,H,#N/A,9,#N/A,#N/A,#N/A"))
    assert pd.isna(batch.statistics["home_shots"].iat[0])
    assert batch.statistics["away_shots"].iat[0] == 9
    assert batch.books.empty
    assert batch.rejected.empty


def test_an_awarded_match_without_counts_has_no_statistics_rather_than_zeros(tmp_path: Path) -> None:
    batch = read_file(write(tmp_path, HEADER + ",HS,AS", "E0,19/08/17,Ashford,Birch Vale,3,0,H,,"))
    assert len(batch.results) == 1
    assert batch.statistics.empty


def test_rows_out_of_date_order_are_all_read(tmp_path: Path) -> None:
    rows = ("E0,26/08/17,Birch Vale,Ashford,0,0,D", "E0,19/08/17,Ashford,Birch Vale,2,1,H")
    assert len(read_file(write(tmp_path, HEADER, *rows)).results) == 2


def test_a_season_that_ran_into_july_stays_one_season(tmp_path: Path) -> None:
    row = "E0,26/07/2020,Ashford,Birch Vale,2,1,H"
    assert read_file(write(tmp_path, HEADER, row, name="1920/E0.csv")).matches["season"].tolist() == ["1920"]
    assert read_file(write(tmp_path, HEADER, row, name="all.csv")).matches["season"].tolist() == ["1920"]


@pytest.mark.parametrize(
    ("date", "season"), [("30/06/18", "1718"), ("01/07/18", "1819"), ("31/12/99", "9900"), ("01/01/00", "9900")]
)
def test_without_a_season_folder_the_season_runs_from_july_to_june(tmp_path: Path, date: str, season: str) -> None:
    batch = read_file(write(tmp_path, HEADER, f"E0,{date},Ashford,Birch Vale,2,1,H", name="mine.csv"))
    assert batch.matches["season"].tolist() == [season]


def test_a_date_outside_the_season_of_its_folder_is_put_right_with_a_warning(tmp_path: Path) -> None:
    batch = read_file(write(tmp_path, HEADER, "E0,19/08/2012,Ashford,Birch Vale,2,1,H"))
    assert batch.matches["season"].tolist() == ["1213"]
    assert batch.warnings == ["1718/E0.csv: 1 rows are dated outside season 1718 and were put into 1213"]


def test_rows_decide_their_league_not_the_file(tmp_path: Path) -> None:
    rows = ("E1,19/08/17,Ashford,Birch Vale,2,1,H", "SC0,19/08/17,Cairn,Dunmoor,1,1,D")
    matches = read_file(write(tmp_path, HEADER, *rows)).matches
    assert matches["league"].tolist() == ["E1", "SC0"]
    assert matches["rating_pool"].tolist() == ["england", "scotland"]


def test_an_unknown_league_is_a_pool_of_its_own_and_reported(tmp_path: Path) -> None:
    batch = read_file(write(tmp_path, HEADER, "ZZ9,19/08/17,Ashford,Birch Vale,2,1,H"))
    assert batch.matches["rating_pool"].tolist() == ["zz9"]
    assert "league 'ZZ9' is not known" in batch.warnings[0]


def test_a_file_without_div_takes_the_league_of_its_name(tmp_path: Path) -> None:
    header = HEADER.removeprefix("Div,")
    row = "19/08/17,Ashford,Birch Vale,2,1,H"
    assert read_file(write(tmp_path, header, row, name="1718/SP2.csv")).matches["league"].tolist() == ["SP2"]
    with pytest.raises(SourceError, match="no league; give it in a column Div"):
        read_file(write(tmp_path, header, row, name="1718/matches.csv"))


def test_files_of_the_extra_leagues_are_read_with_closing_prices(tmp_path: Path) -> None:
    header = "Country,League,Season,Date,Time,Home,Away,HG,AG,Res,PH,PD,PA,AvgH,AvgD,AvgA"
    rows = (
        "Brazil,Serie A,2015,09/05/2015,22:30,Ashford,Birch Vale,2,1,H,2.1,3.4,3.6,2.0,3.3,3.5",
        "Austria,Bundesliga,2015/2016,09/05/2016,19:30,Cairn,Dunmoor,2,1,H,2.1,3.4,3.6,2.0,3.3,3.5",
    )
    batch = read_file(write(tmp_path, header, *rows, name="new.csv"))
    assert batch.matches[["league", "season", "rating_pool"]].to_numpy().tolist() == [
        ["BRA", "1515", "brazil"],
        ["AUT", "1516", "austria"],
    ]
    assert set(batch.books["phase"]) == {"close"}
    assert set(batch.books["bookmaker"]) == {"pinnacle", "market-average"}


def test_a_pairing_may_meet_again_on_another_date(tmp_path: Path) -> None:
    rows = [f"SC0,{day:02d}/09/17,Cairn,Dunmoor,1,1,D" for day in (2, 9, 16, 23)]
    assert len(read_file(write(tmp_path, HEADER, *rows)).matches) == 4


def test_fixtures_without_results_are_matches_without_results(tmp_path: Path) -> None:
    header = "Div,Date,Time,HomeTeam,AwayTeam,Referee,B365H,B365D,B365A,B365CH,B365CD,B365CA"
    batch = read_file(write(tmp_path, header, "B1,23/05/2026,19:45,Ashford,Birch Vale,,1.9,3.7,3.5,,,", name="f.csv"))
    assert len(batch.matches) == 1
    assert batch.results.empty
    assert batch.books["phase"].tolist() == ["pre_close"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("E0,,Ashford,Birch Vale,2,1,H", "row: no date"),
        ("E0,31/02/17,Ashford,Birch Vale,2,1,H", "row: unreadable date '31/02/17'"),
        ("E0,08-19-2017,Ashford,Birch Vale,2,1,H", "row: unreadable date"),
        ("E0,19/08/17,,Birch Vale,2,1,H", "row: no home team"),
        ("E0,19/08/17,Ashford,#N/A,2,1,H", "row: no away team"),
        ("E0,19/08/17,Ashford,Ashford,2,1,H", "row: home and away are the same team"),
        ("E0,19/08/17,Ashford,北京,2,1,H", "row: unreadable away team"),
        ("E0,19/08/17,Ashford,Birch Vale,two,1,H", "row: unreadable score 'two':'1'"),
        ("E0,19/08/17,Ashford,Birch Vale,2,,H", "row: unreadable score '2':''"),
        ("E0,19/08/17,Ashford,Birch Vale,1.5,1,H", "row: unreadable score '1.5':'1'"),
        ("E0,19/08/17,Ashford,Birch Vale,1_0,1,H", "row: unreadable score '1_0':'1'"),
        ("E0,19/08/17,Ashford,Birch Vale,-1,1,A", "row: home_score: Input should be greater than or equal to 0"),
        ("E0,19/08/17,Ashford,Birch Vale,201,1,A", "row: home_score: Input should be less than or equal to 200"),
        (",19/08/17,Ashford,Birch Vale,2,1,H", "row: no league"),
        ("E0,19/08/17,Cairn,Dunmoor,4,4,D", "row: the match is already in line 2"),
        (f"E0,19/08/17,{'A' * 90},Birch Vale,2,1,H", "row: home: String should have at most 80 characters"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_with_its_reason(tmp_path: Path, row: str, reason: str) -> None:
    batch = read_file(write(tmp_path, HEADER, "E0,19/08/17,Cairn,Dunmoor,1,1,D", row))
    assert batch.matches["home"].tolist() == ["Cairn"]
    rejected = batch.rejected.iloc[0]
    assert (rejected["file"], rejected["line"], rejected["content"]) == ("1718/E0.csv", 3, row)
    assert rejected["reason"].startswith(reason)


def test_a_stray_quote_spoils_no_other_row(tmp_path: Path) -> None:
    header = HEADER + ",Referee"
    rows = ('E0,19/08/17,Ashford,Birch Vale,2,1,H,"O Hare', 'E0,19/08/17,Cairn,Dunmoor,1,1,D,"Doe, J"')
    assert len(read_file(write(tmp_path, header, *rows)).matches) == 2


def test_counts_written_as_decimals_are_counts(tmp_path: Path) -> None:
    batch = read_file(write(tmp_path, HEADER + ",HST", "E0,19/08/17,Ashford,Birch Vale,2.0,1.0,H,7.0"))
    assert batch.results["home_score"].tolist() == [2]
    assert batch.statistics["home_shots_on_target"].tolist() == [7]


@pytest.mark.parametrize("text", ["many", "-1", "201", "1.5", "inf"])
def test_a_statistic_that_is_no_count_stays_null_and_is_noted(tmp_path: Path, text: str) -> None:
    batch = read_file(write(tmp_path, HEADER + ",HS,AS", f"E0,19/08/17,Ashford,Birch Vale,2,1,H,{text},9"))
    assert pd.isna(batch.statistics["home_shots"].iat[0])
    assert batch.statistics["away_shots"].iat[0] == 9
    assert len(reasons(batch)) == 1
    assert "home_shots" in reasons(batch)[0]


@pytest.mark.parametrize("text", ["abc", "1.0", "0.42", "-2", "1002", "inf", "2,1".replace(",", ";")])
def test_a_price_that_is_no_price_is_left_out_and_noted(tmp_path: Path, text: str) -> None:
    header = HEADER + ",B365H,B365D,B365A"
    batch = read_file(write(tmp_path, header, f"E0,19/08/17,Ashford,Birch Vale,2,1,H,{text},3.4,3.6"))
    found = book(batch, "bet365")
    assert np.isnan(found["prices"][0])
    assert found["prices"][1:] == [3.4, 3.6]
    assert found["flag"] == "incomplete"
    assert reasons(batch) == [f"cell: B365H = {text!r} is no price"]


@pytest.mark.parametrize("text", ["", "0", "0.0", "NA", " "])
def test_zero_and_blank_mean_no_price_and_need_no_note(tmp_path: Path, text: str) -> None:
    header = HEADER + ",B365H,B365D,B365A"
    batch = read_file(write(tmp_path, header, f"E0,19/08/17,Ashford,Birch Vale,2,1,H,{text},3.4,3.6"))
    assert book(batch, "bet365")["flag"] == "incomplete"
    assert batch.rejected.empty


@pytest.mark.parametrize(
    ("prices", "flag"),
    [
        ("1.5,3.0,4.0", "overround_high"),  # sum 1.25
        ("2.2,3.6,4.1", "overround_below_one"),  # sum 0.976
        ("2.1,3.4,3.6", None),
    ],
)
def test_a_bad_book_is_kept_with_a_flag(tmp_path: Path, prices: str, flag: str | None) -> None:
    header = HEADER + ",IWH,IWD,IWA"
    found = book(read_file(write(tmp_path, header, f"E0,19/08/17,Ashford,Birch Vale,2,1,H,{prices}")), "interwetten")
    assert found["flag"] == flag
    assert found["prices"] == [float(price) for price in prices.split(",")]


def test_a_market_maximum_below_one_is_natural(tmp_path: Path) -> None:
    header = HEADER + ",MaxH,MaxD,MaxA"
    path = write(tmp_path, header, "E0,19/08/17,Ashford,Birch Vale,2,1,H,2.2,3.6,4.1")
    assert book(read_file(path), "market-maximum")["flag"] is None


def test_a_handicap_stands_with_the_line_of_its_phase(tmp_path: Path) -> None:
    header = HEADER + ",AHh,B365AHH,B365AHA,PAHH,PAHA,AHCh,B365CAHH,B365CAHA"
    batch = read_file(
        write(tmp_path, header, "E0,19/08/17,Ashford,Birch Vale,2,1,H,-0.75,1.9,1.95,1.93,1.97,-1,2.0,1.85")
    )
    assert book(batch, "bet365", "asian_handicap")["line"] == -0.75
    assert book(batch, "pinnacle", "asian_handicap")["line"] == -0.75
    assert book(batch, "bet365", "asian_handicap", "close")["line"] == -1.0


def test_an_old_bookmaker_has_its_own_handicap_line(tmp_path: Path) -> None:
    header = HEADER + ",GBAHH,GBAHA,GBAH,LBAHH,LBAHA,LBAH,BbAH,BbAHh,BbAvAHH,BbAvAHA"
    row = "E0,20/08/05,Ashford,Birch Vale,2,1,H,1.9,1.95,-0.5,1.8,2.05,-0.25,12,0,1.92,1.94"
    batch = read_file(write(tmp_path, header, row, name="0506/E0.csv"))
    lines = {
        name: book(batch, name, "asian_handicap")["line"] for name in ("gamebookers", "ladbrokes", "market-average")
    }
    assert lines == {"gamebookers": -0.5, "ladbrokes": -0.25, "market-average": 0.0}


@pytest.mark.parametrize("line", ["", "-0.15", "half"])
def test_handicap_prices_without_a_line_are_noted_not_guessed(tmp_path: Path, line: str) -> None:
    header = HEADER + ",AHh,B365AHH,B365AHA"
    batch = read_file(write(tmp_path, header, f"E0,19/08/17,Ashford,Birch Vale,2,1,H,{line},1.9,1.95"))
    assert batch.books.empty
    assert "cell: bet365 asian_handicap pre_close: prices without a line" in reasons(batch)


def test_prices_taken_before_and_at_the_close_carry_their_times(tmp_path: Path) -> None:
    header = HEADER.replace("Date", "Date,Time") + ",PSH,PSD,PSA,PSCH,PSCD,PSCA"
    row = "E0,24/08/2019,17:30,Ashford,Birch Vale,2,1,H,2.1,3.4,3.6,2.0,3.4,3.9"  # a Saturday in summer time
    batch = read_file(write(tmp_path, header, row, name="1920/E0.csv"))
    assert book(batch, "pinnacle")["taken_at"] == pd.Timestamp("2019-08-23 15:00", tz="UTC")
    assert book(batch, "pinnacle", phase="close")["taken_at"] == pd.Timestamp("2019-08-24 16:30", tz="UTC")
    assert batch.results["known_at"].iat[0] == pd.Timestamp("2019-08-25", tz="UTC")


def test_a_book_may_come_and_go_between_seasons(tmp_path: Path) -> None:
    write(tmp_path, HEADER + ",SYH,SYD,SYA", "E0,20/08/05,Ashford,Birch Vale,2,1,H,2.1,3.4,3.6", name="0506/E0.csv")
    header = HEADER + ",BFDH,BFDD,BFDA,BFH,BFD,BFA,BFCH,BFCD,BFCA,1XBH,1XBD,1XBA"
    row = "E0,16/08/25,Ashford,Birch Vale,2,1,H" + ",2.1,3.4,3.6" * 4
    write(tmp_path, header, row, name="2526/E0.csv")
    books = read_folder(tmp_path).books
    assert set(zip(books["bookmaker"], books["phase"], strict=True)) == {
        ("stanleybet", "pre_close"),
        ("betfred", "pre_close"),
        ("betfair-sportsbook", "pre_close"),
        ("betfair-sportsbook", "close"),
        ("1xbet", "pre_close"),
    }


@pytest.mark.parametrize(("first", "kept"), [("2.2,3.3,3.5", 2.2), (",3.3,3.5", 2.1)])
def test_of_two_columns_for_one_bookmaker_the_complete_one_counts_then_the_newer_name(
    tmp_path: Path, first: str, kept: float
) -> None:
    header = HEADER + ",VCH,VCD,VCA,BVH,BVD,BVA"
    batch = read_file(write(tmp_path, header, f"E0,19/08/17,Ashford,Birch Vale,2,1,H,2.1,3.4,3.6,{first}"))
    assert book(batch, "betvictor")["prices"][0] == kept


def test_an_unknown_bookmaker_is_kept_and_reported(tmp_path: Path) -> None:
    header = HEADER + ",QQH,QQD,QQA,QQCH,QQCD,QQCA"
    batch = read_file(write(tmp_path, header, "E0,19/08/17,Ashford,Birch Vale,2,1,H,2.1,3.4,3.6,2.0,3.4,3.9"))
    assert book(batch, "qq")["prices"] == [2.1, 3.4, 3.6]
    assert book(batch, "qq", phase="close")["prices"] == [2.0, 3.4, 3.9]
    assert batch.warnings == ["1718/E0.csv: bookmaker prefix 'QQ' is not known; its prices are kept as 'qq'"]


def test_a_file_with_nothing_usable_says_what_where_and_how_to_mend(tmp_path: Path) -> None:
    for content, message in (
        (b"", "1718/E0.csv: the file is empty; put"),
        (b"\r\n,,,\r\n", "1718/E0.csv: the file is empty; put"),
        (b"a,b\n1,2\n", "1718/E0.csv: no column for date, home, away in the header 'a,b'; expected"),
        (HEADER.encode(), r"1718/E0.csv: none of 0 rows is a match \(no row below the header\); mend"),
        (
            HEADER.encode() + b"\nE0,x,A,B,1,1,D",
            r"1718/E0.csv: none of 1 rows is a match \(line 2: row: unreadable date",
        ),
    ):
        with pytest.raises(SourceError, match=message) as raised:
            read_file(write_bytes(tmp_path, content))
        assert "\n" not in str(raised.value)
    with pytest.raises(SourceError, match=r"gone.csv: cannot be read"):
        read_file(tmp_path / "gone.csv")


def test_one_unusable_file_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    write(tmp_path, HEADER, "E0,19/08/17,Ashford,Birch Vale,2,1,H")
    write(tmp_path, "a,b", "1,2", name="notes.csv")
    batch = read_folder(tmp_path)
    assert len(batch.matches) == 1
    assert batch.rejected["file"].tolist() == ["notes.csv"]
    assert batch.warnings[0].startswith("file left out: notes.csv: no column for date")


def test_a_later_vintage_corrects_and_a_fixture_list_takes_nothing_away(tmp_path: Path) -> None:
    header = HEADER + ",AHh,PAHH,PAHA"
    write(tmp_path, header, "E0,19/08/17,Ashford,Birch Vale,2,1,H,-0.5,1.9,2.0", name="a.csv")
    write(tmp_path, header, "E0,19/08/17,Ashford,Birch Vale,3,1,H,-0.75,1.9,2.0", name="b.csv")
    write(
        tmp_path, "Div,Date,HomeTeam,AwayTeam,B365H,B365D,B365A", "E0,19/08/17,Ashford,Birch Vale,2,3,4", name="c.csv"
    )
    batch = read_folder(tmp_path)
    assert len(batch.matches) == 1
    assert batch.results["home_score"].tolist() == [3]
    assert batch.books[["bookmaker", "line"]].to_numpy().tolist() == [["pinnacle", -0.75], ["bet365", 0.0]]


def test_partitions_are_what_the_rows_say_and_select_what_is_read(tmp_path: Path) -> None:
    write(tmp_path, HEADER, "E0,19/08/17,Ashford,Birch Vale,2,1,H", "E1,19/08/17,Cairn,Dunmoor,2,1,H")
    write(tmp_path, HEADER, "E0,18/08/18,Ashford,Birch Vale,2,1,H", name="all.csv")
    assert list_partitions(tmp_path) == [("E0", "1718"), ("E0", "1819"), ("E1", "1718")]
    assert read_folder(tmp_path, leagues=["E1"]).matches["home"].tolist() == ["Cairn"]
    told: list[str] = []
    one = read_folder(tmp_path, leagues=["E0"], seasons=["1819"], progress=told.append)
    assert one.matches["season"].tolist() == ["1819"]
    assert told == ["all.csv: 1 matches, 0 rejected"]


COLUMNS = {
    "Div": "E0", "Date": "24/08/2019", "Time": "17:30", "HomeTeam": "Ashford", "AwayTeam": "Birch Vale",
    "FTHG": "2", "FTAG": "1", "FTR": "H", "HS": "11", "AS": "7", "HST": "5", "AST": "2", "HC": "4", "HY": "1",
    "B365H": "2.1", "B365D": "3.4", "B365A": "3.6", "PSH": "2.15", "PSD": "3.5", "PSA": "3.7",
    "PSCH": "2.05", "PSCD": "3.5", "PSCA": "3.9", "P>2.5": "1.9", "P<2.5": "2.02", "PC>2.5": "1.85", "PC<2.5": "2.08",
    "VCH": "2.1", "VCD": "3.4", "VCA": "3.5", "BVH": "2.2", "BVD": "3.3", "BVA": "3.5",
    "MaxH": "2.2", "MaxD": "3.6", "MaxA": "3.9", "Avg>2.5": "1.88", "Avg<2.5": "1.99",
    "AHh": "-0.25", "PAHH": "1.85", "PAHA": "2.07", "AHCh": "-0.5", "PCAHH": "2.02", "PCAHA": "1.9",
    "Attendance": "100",
}  # fmt: skip


def frames_of(columns: dict[str, str], order: list[str]) -> Batch:
    with tempfile.TemporaryDirectory() as folder:
        rows = (",".join(order), ",".join(columns[name] for name in order))
        return read_file(write(Path(folder), *rows, name="1920/E0.csv"))


@given(st.permutations(list(COLUMNS)))
@settings(max_examples=25, deadline=None)
def test_the_order_of_columns_changes_nothing(order: list[str]) -> None:
    expected, found = frames_of(COLUMNS, list(COLUMNS)), frames_of(COLUMNS, order)
    for name in FRAMES:
        if name != "rejected":
            assert_frame_equal(getattr(expected, name), getattr(found, name))


@pytest.mark.parametrize(
    "renamed",
    [
        {"P>2.5": "P_2_5", "P<2.5": "P_2_5_1", "PC>2.5": "PC_2_5", "PC<2.5": "PC_2_5_1"},
        {"P>2.5": "P.2.5", "P<2.5": "P.2.5.1", "Avg>2.5": "Avg.2.5", "Avg<2.5": "Avg.2.5.1"},
        {"Date": "date", "HomeTeam": "home_team", "AwayTeam": "away_team", "FTHG": "home_goals", "FTAG": "away_goals"},
        {"HS": "home_shots", "HST": "home_shots_target", "HC": "home_corners", "HY": "home_yellows"},
        {"B365H": "bet365_home", "B365D": "bet365_draw", "B365A": "bet365_away"},
        {"PSCH": "pinnacle_closing_home", "PSCD": "pinnacle_closing_draw", "PSCA": "pinnacle_closing_away"},
        {"MaxH": "max_home", "MaxD": "max_draw", "MaxA": "max_away"},
        {"MaxH": "BbMxH", "MaxD": "BbMxD", "MaxA": "BbMxA", "Avg>2.5": "BbAv>2.5", "Avg<2.5": "BbAv<2.5"},
    ],
)
def test_a_dialect_gives_the_same_records(renamed: dict[str, str]) -> None:
    columns = {renamed.get(name, name): value for name, value in COLUMNS.items()}
    expected, found = frames_of(COLUMNS, list(COLUMNS)), frames_of(columns, list(columns))
    for name in FRAMES:
        assert_frame_equal(getattr(expected, name), getattr(found, name))
    assert found.warnings == []


def test_a_misspelt_header_is_understood_or_named(tmp_path: Path) -> None:
    header = HEADER + ",B365CH,B365CD,B36CA,B3365H"
    batch = read_file(write(tmp_path, header, "E0,19/08/17,Ashford,Birch Vale,2,1,H,2.1,3.4,3.6,9"))
    assert book(batch, "bet365", phase="close")["prices"] == [2.1, 3.4, 3.6]
    assert batch.warnings == ["1718/E0.csv: columns not understood: B3365H"]


CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [*COLUMNS.values(), "", "0", "#N/A", "nan", "-0.0", "1e400", "1_000", "٣", "19/08/17", "E0", '"', "\x00"]
    ),
)


@given(st.lists(st.lists(CELLS, min_size=len(COLUMNS) - 3, max_size=len(COLUMNS) + 2), max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_cells_give_canonical_records_or_a_source_error(rows: list[list[str]]) -> None:
    good = ",".join(COLUMNS.values())
    with tempfile.TemporaryDirectory() as folder:
        lines = [",".join(COLUMNS), good, *(",".join(row) for row in rows)]
        batch = read_file(write_bytes(Path(folder), "\n".join(lines).encode("utf-8", "replace")))
    assert_canonical(batch)


@given(st.binary(max_size=400), st.booleans())
@settings(max_examples=100, deadline=None)
def test_garbage_bytes_raise_nothing_but_a_source_error(content: bytes, headed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_bytes(Path(folder), (HEADER.encode() + b"\n" if headed else b"") + content)
        try:
            batch = read_file(path)
        except SourceError:
            return
    assert_canonical(batch)


def test_reading_twice_gives_identical_frames(tmp_path: Path) -> None:
    write(tmp_path, ",".join(COLUMNS), ",".join(COLUMNS.values()))
    first, second = read_folder(tmp_path), read_folder(tmp_path)
    for name in FRAMES:
        assert_frame_equal(getattr(first, name), getattr(second, name))


def assert_canonical(batch: Batch) -> None:
    assert objections(batch) == []
    assert batch.matches["match_date"].between(dt.datetime(1900, 1, 1), dt.datetime(9999, 1, 1)).all()
