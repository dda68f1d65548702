"""Answers of The Odds API, and tables made of them, become ticks and results."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betting_assets.sources.errors import SourceError
from betting_assets.sources.feed import Account
from betting_assets.sources.odds_api.odds import ticks
from betting_assets.sources.odds_api.rows import Row, in_decimal_odds, rows_of_answer, rows_of_table
from betting_assets.sources.odds_api.scores import events_of_table, results
from betting_assets.sources.records import LiveResult, Market, Tick

UPDATED = "2025-10-20T03:47:57Z"
PULLED = dt.datetime(2025, 10, 20, 3, 49, tzinfo=dt.UTC)
HOME, AWAY = "Brighton and Hove Albion", "Wolverhampton Wanderers"


def outcomes(*pairs: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(zip(("name", "price", "point"), pair, strict=False)) for pair in pairs]


H2H = outcomes((AWAY, 4.0), (HOME, 1.9), ("Draw", 3.5))


def event(*markets: tuple[str, list[dict[str, Any]]], bookmaker: str = "pinnacle", **changes: Any) -> dict[str, Any]:
    told = [{"key": key, "last_update": UPDATED, "outcomes": list(said)} for key, said in markets]
    return {
        "id": "abc",
        "sport_key": "soccer_epl",
        "commence_time": "2025-10-20T19:00:00Z",
        "home_team": HOME,
        "away_team": AWAY,
        "bookmakers": [{"key": bookmaker, "last_update": UPDATED, "markets": told}],
    } | changes


def read(*events: Any, pulled_at: dt.datetime | None = PULLED, league: str = "") -> tuple[list[Tick], Account]:
    account = Account("test")
    rows = in_decimal_odds(list(rows_of_answer(list(events), account, pulled_at)), "test")
    found = [one.record for one in ticks(rows, account, league=league)]
    assert account.ticks == len(found)
    return [tick for tick in found if isinstance(tick, Tick)], account


def test_prices_follow_home_draw_away_and_names_are_those_of_football_data() -> None:
    (tick,), account = read(event(("h2h", H2H)))
    assert tick.prices == (1.9, 3.5, 4.0)
    assert (tick.match_id, tick.bookmaker) == ("e0_2025-10-20_brighton_wolves", "pinnacle")
    assert tick.taken_at == dt.datetime(2025, 10, 20, 3, 47, 57, tzinfo=dt.UTC)
    assert tick.sequence == int(PULLED.timestamp() * 1000)
    assert tick.fixture is not None
    assert (tick.fixture.league, tick.fixture.season, tick.fixture.home) == ("E0", "2526", "Brighton")
    assert not account.skipped


def test_lay_prices_stand_beside_the_back_prices_of_the_same_exchange() -> None:
    lay = outcomes((AWAY, 4.2), (HOME, 1.95), ("Draw", 3.7))
    (tick,), _ = read(event(("h2h", H2H), ("h2h_lay", lay), bookmaker="betfair_ex_uk"))
    assert (tick.bookmaker, tick.prices, tick.lay) == ("betfair-exchange", (1.9, 3.5, 4.0), (1.95, 3.7, 4.2))
    none, account = read(event(("h2h_lay", lay)))
    assert none == []
    assert account.skipped == {"lay_without_back": 1}


def test_totals_of_two_and_a_half_goals_are_read_and_others_counted() -> None:
    goals = outcomes(("Under", 1.8, 2.5), ("Over", 2.05, 2.5), ("Over", 3.0, 3.5), ("Under", 1.4, 3.5))
    (tick,), account = read(event(("totals", goals)))
    assert (tick.market, tick.line, tick.prices) == (Market.OVER_UNDER, 2.5, (2.05, 1.8))
    assert account.skipped == {"other_total_line": 2}


@given(st.sampled_from([-1.5, -0.75, -0.25, 0.0, 0.5, 1.0]), st.booleans())
def test_a_handicap_is_the_one_of_the_home_team(handicap: float, away_first: bool) -> None:
    pairs = [(HOME, 1.9, handicap), (AWAY, 2.0, -handicap)]
    (tick,), _ = read(event(("spreads", outcomes(*(reversed(pairs) if away_first else pairs)))))
    assert (tick.market, tick.line, tick.prices) == (Market.ASIAN_HANDICAP, handicap, (1.9, 2.0))
    assert str(tick.line) != "-0.0"


def test_handicaps_that_are_no_mirror_images_are_two_incomplete_books() -> None:
    found, _ = read(event(("spreads", outcomes((HOME, 1.9, -0.5), (AWAY, 2.0, 0.75)))))
    assert sorted((tick.line, tick.prices) for tick in found) == [(-0.75, (None, 2.0)), (-0.5, (1.9, None))]


def test_an_event_that_has_started_is_in_play() -> None:
    (tick,), _ = read(event(("h2h", H2H), commence_time="2025-10-20T03:47:57Z"))
    assert tick.in_play


@given(st.integers(100, 5000), st.booleans())
def test_american_odds_are_converted_exactly(size: int, favourite: bool) -> None:
    row = Row(1, "", PULLED, "a", "b", "x", "h2h", "a", float(-size if favourite else size), None, PULLED, None)
    (converted,) = in_decimal_odds([row], "f")
    stake, profit = (size, 100) if favourite else (100, size)
    assert converted.price == pytest.approx((stake + profit) / stake, rel=1e-15)


def test_a_file_of_both_kinds_of_odds_is_refused_with_one_line() -> None:
    with pytest.raises(SourceError, match=r"test: price -150 at 1 is American odds, others are not; .*decimal") as told:
        read(event(("h2h", outcomes((HOME, -150), (AWAY, 4.0), ("Draw", 3.5)))))
    assert "\n" not in str(told.value)


def test_a_lay_price_of_970_does_not_make_a_file_american() -> None:
    (tick,), _ = read(event(("h2h", H2H), ("h2h_lay", outcomes((HOME, 1.95), (AWAY, 970.0)))))
    assert tick.lay == (1.95, None, 970.0)
    assert tick.prices == (1.9, 3.5, 4.0)


@pytest.mark.parametrize(
    ("events", "reasons"),
    [
        ([event(("btts", outcomes(("Yes", 1.9))))], {"unsupported_market": 1}),
        ([event(("h2h", H2H), sport_key="tennis_atp")], {"unsupported_sport": 3}),
        ([event(("h2h", outcomes(("Somebody", 2.0))))], {"unknown_outcome": 1}),
        ([event(("spreads", outcomes((HOME, 2.0))))], {"without_point": 1}),
        ([event(("h2h", outcomes((HOME, "Infinity"))))], {"not_a_number": 1}),
        ([event(("h2h", outcomes((HOME, 1.0))))], {"price_out_of_range": 1, "lay_without_back": 1}),
        ([event(("h2h", H2H), commence_time="tomorrow")], {"no_time": 3}),
        ([event(("h2h", H2H), home_team=None)], {"incomplete_row": 3}),
        ([event(("h2h", outcomes(("東京", 2.0))), home_team="東京")], {"unusable_names": 1}),
        ([event(bookmakers=3), 7], {"not_an_event": 1}),
    ],
)
def test_what_gives_no_tick_is_counted_by_reason(events: list[Any], reasons: dict[str, int]) -> None:
    found, account = read(*events)
    assert found == []
    assert account.skipped == reasons


def test_a_league_that_football_data_does_not_cover_goes_by_its_sport_key() -> None:
    (tick,), _ = read(event(("h2h", H2H), sport_key="soccer_fifa_world_cup"))
    assert tick.match_id.startswith("soccer-fifa-world-cup_2025-10-20_")


def test_the_fixture_is_told_once_and_again_when_the_kick_off_moves() -> None:
    moved = event(("h2h", H2H), bookmaker="coral", commence_time="2025-10-20T18:30:00Z")
    found, _ = read(event(("h2h", H2H)), event(("totals", outcomes(("Over", 2.0, 2.5)))), moved)
    assert len({tick.match_id for tick in found}) == 1
    kickoffs = [tick.fixture.kickoff.hour if tick.fixture and tick.fixture.kickoff else None for tick in found]
    assert kickoffs == [18, 19, None]


def table(*rows: dict[str, Any]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def test_a_table_says_what_the_answer_says() -> None:
    base = {"pulled_at": PULLED.isoformat(), "game_id": "abc", "commence_time": "2025-10-20T19:00:00Z"}
    rows = [
        {
            **base,
            "home_team": HOME,
            "away_team": AWAY,
            "bookmaker": "pinnacle",
            "last_update": UPDATED,
            "market": "h2h",
            "name": outcome["name"],
            "price": outcome["price"],
            "point": "",
        }
        for outcome in H2H
    ]
    account = Account("table")
    content = table(*rows, rows[0] | {"price": "dear"}, rows[0] | {"commence_time": ""})
    found = list(ticks(rows_of_table(content, account), account, league="E0"))
    assert [one.record for one in found] == read(event(("h2h", H2H)))[0]
    assert [one.at for one in found] == [PULLED]
    assert [(one.line, one.reason) for one in account.rejected] == [(5, "not_a_number"), (6, "no_time")]


def scored(**changes: Any) -> dict[str, Any]:
    return {
        "sport_key": "soccer_epl",
        "commence_time": "2025-10-20T19:00:00Z",
        "completed": True,
        "home_team": HOME,
        "away_team": AWAY,
        "scores": [{"name": AWAY, "score": "1"}, {"name": HOME, "score": "3"}],
        "last_update": "2025-10-20T20:57:00Z",
    } | changes


def test_a_completed_event_is_a_result() -> None:
    account = Account("test")
    (found,) = results([scored()], account)
    assert isinstance(found.record, LiveResult)
    assert (found.record.home_score, found.record.away_score) == (3, 1)
    assert found.record.match_id == "e0_2025-10-20_brighton_wolves"
    assert found.at == found.record.finished_at == dt.datetime(2025, 10, 20, 20, 57, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"completed": False}, "not_completed"),
        ({"sport_key": "basketball_nba"}, "unsupported_sport"),
        ({"scores": None}, "no_score"),
        ({"scores": [{"name": HOME, "score": "3"}]}, "no_score"),
        ({"scores": [{"name": HOME, "score": "x"}, {"name": AWAY, "score": "1"}]}, "no_score"),
        ({"scores": [{"name": HOME, "score": -1}, {"name": AWAY, "score": "1"}]}, "unusable_score"),
        ({"last_update": None}, "no_time"),
        ({"home_team": AWAY}, "unusable_names"),
    ],
)
def test_an_event_without_a_final_score_is_no_result(changes: dict[str, Any], reason: str) -> None:
    account = Account("test")
    assert list(results([scored(**changes)], account)) == []
    assert account.skipped == {reason: 1}


def test_a_scores_table_says_what_the_answer_says() -> None:
    said = scored()
    rows = [
        {name: said[name] for name in ("sport_key", "home_team", "away_team", "commence_time", "completed")}
        | {"last_update": said["last_update"], "score_name": score["name"], "score_value": score["score"]}
        for score in said["scores"]
    ]
    assert list(results(events_of_table(table(*rows)), Account("a"))) == list(results([said], Account("b")))


json_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())


@given(
    st.sampled_from(["sport_key", "commence_time", "home_team", "bookmakers", "key", "markets", "last_update",
                     "outcomes", "name", "price", "point", "scores", "score", "completed"]),
    json_values,
)  # fmt: skip
def test_no_content_of_any_field_breaks_the_reader(name: str, value: object) -> None:
    def replaced(document: object) -> object:
        if isinstance(document, dict):
            return {key: value if key == name else replaced(inner) for key, inner in document.items()}
        return [replaced(inner) for inner in document] if isinstance(document, list) else document

    with contextlib.suppress(SourceError):  # negative prices may look American
        read(replaced(event(("h2h", H2H), ("totals", outcomes(("Over", 2.0, 2.5))))))
    list(results([replaced(scored())], Account("test")))
