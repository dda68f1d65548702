"""The suites: sound rows pass, each planted fault is found by the rule that is there for it, nothing hangs."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import make_url

from betting_assets.betting.odds import MarginMethod
from betting_assets.modelling import feature_tables
from betting_assets.sources.batch import Batch, frame
from betting_assets.sources.football_data import read_file
from betting_assets.sources.simulator import SimulatorConfig, simulate
from betting_assets.warehouse import expectations
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.expectations import SuiteResult, validate_frame, validate_table
from betting_assets.warehouse.features import write_feature_table
from betting_assets.warehouse.history import write_batch
from betting_assets.warehouse.suites import SUITES

TEAMS = ("Ashford Vale", "Brackley Rovers", "Cresswell", "Dunmere Town")
DAY = dt.datetime(2018, 8, 11, tzinfo=dt.UTC)

Frames = dict[str, pd.DataFrame]


def small_batch() -> Batch:
    """Twelve matches between four invented teams, a week apart, with prices before and at the close."""
    pairs = [(home, away) for home in TEAMS for away in TEAMS if home != away]
    ids = [f"x0_{n}" for n in range(len(pairs))]
    dates = [DAY + dt.timedelta(days=7 * n) for n in range(len(pairs))]
    matches = {
        "match_id": ids,
        "sport": ["football"] * len(ids),
        "league": ["X0"] * len(ids),
        "season": ["1819"] * len(ids),
        "rating_pool": ["x"] * len(ids),
        "match_date": [date.replace(tzinfo=None) for date in dates],
        "kickoff": [date + dt.timedelta(hours=14) for date in dates],
        "home": [home for home, _ in pairs],
        "away": [away for _, away in pairs],
    }
    results = {
        "match_id": ids,
        "home_score": [n % 3 for n in range(len(ids))],
        "away_score": [n % 2 for n in range(len(ids))],
        "known_at": [date + dt.timedelta(days=1) for date in dates],
    }
    return Batch(matches=frame("matches", matches), results=frame("results", results), books=_books(ids, dates))


def _books(ids: list[str], dates: list[dt.datetime]) -> pd.DataFrame:
    rows = [
        (match, "pinnacle", market, line, phase, prices, date + dt.timedelta(hours=hour), None)
        for match, date in zip(ids, dates, strict=True)
        for market, line, prices in (("1x2", 0.0, [2.1, 3.4, 3.6]), ("over_under", 2.5, [1.95, 1.9]))
        for phase, hour in (("pre_close", -9), ("close", 14))
    ]
    columns = ["match_id", "bookmaker", "market", "line", "phase", "prices", "taken_at", "flag"]
    return frame("books", {name: list(values) for name, values in zip(columns, zip(*rows, strict=True), strict=True)})


@pytest.fixture
def filled(database: str) -> str:
    write_batch(database, small_batch())
    return database


@pytest.fixture(scope="module")
def world() -> Frames:
    """Every table of a simulated league, by name."""
    batch = simulate(SimulatorConfig(seed=5, leagues=("SIM1",), seasons=3)).batch
    decided = feature_tables.decision_times(batch.matches, feature_tables.first_quotes(batch.books))
    ratings = feature_tables.ratings_table(batch.matches, batch.results, decided)
    form = feature_tables.form_table(batch.matches, batch.results, batch.statistics, decided)
    market = feature_tables.match_market(batch.books, reference="pinnacle", method=MarginMethod.POWER)
    return {
        "core.match": batch.matches,
        "core.result": batch.results,
        "core.book": batch.books,
        "features.team_ratings": ratings,
        "features.team_form": form,
        "features.match_strength": feature_tables.match_strength(batch.matches, ratings, form),
        "features.match_market": market,
        "features.market_consensus": market,
    }


def failures(result: SuiteResult) -> set[str]:
    """The columns whose rules failed."""
    return set(result.rules.loc[~result.rules["passed"], "column"])


@pytest.mark.parametrize("name", list(SUITES))
def test_sound_rows_pass(world: Frames, name: str) -> None:
    result = validate_frame(name, world[name])
    assert result.passed, result.markdown()
    assert result.rows == min(len(world[name]), expectations.MOST_ROWS)


@pytest.mark.parametrize("table", ["match", "result", "book"])
def test_sound_rows_pass_in_postgresql_too(filled: str, table: str) -> None:
    result = validate_table(filled, "core", table)
    assert result.passed, result.markdown()
    assert result.rows == {"match": 12, "result": 12, "book": 48}[table]


@pytest.mark.parametrize("table", ["team_ratings", "team_form", "match_strength", "match_market"])
def test_sound_features_pass_in_postgresql_too(database: str, world: Frames, table: str) -> None:
    write_feature_table(database, table, world[f"features.{table}"])
    result = validate_table(database, "features", table)
    assert result.passed, result.markdown()


FAULTS_IN_POSTGRESQL = {
    "a match without a season code": ("match", "UPDATE core.match SET season = '2018-19'", "season"),
    "a team that plays itself": ("match", "UPDATE core.match SET away = home", "home, away"),
    "a kick-off on another day": (
        "match",
        "UPDATE core.match SET kickoff = kickoff + interval '3 days'",
        "kickoff_days",
    ),
    "a result known on the match date": (
        "result",
        "UPDATE core.result SET known_at = known_at - interval '1 day'",
        "days_until_known",
    ),
    "a result known at noon": ("result", "UPDATE core.result SET known_at = known_at + interval '12 h'", "known_hour"),
    "a score below zero": ("result", "UPDATE core.result SET home_score = -1", "home_score"),
    "a price of 1": ("book", "UPDATE core.book SET prices[1] = 1.0", "lowest"),
    "a price of infinity": ("book", "UPDATE core.book SET prices[1] = 'Infinity'", "highest"),
    "a price too few": ("book", "UPDATE core.book SET prices = prices[1:1]", "price_count_off"),
    "a margin that nobody asks": ("book", "UPDATE core.book SET prices[1] = 1.05, prices[2] = 1.1", "overround"),
    "mostly flagged books": ("book", "UPDATE core.book SET flag = 'overround_high'", "flag"),
    "a price taken after the start": (
        "book",
        "UPDATE core.book SET taken_at = taken_at + interval '10 h'",
        "taken_at, settles_by",
    ),
    "a book of no match": (
        "book",
        "UPDATE core.book SET match_id = 'x0_none' WHERE match_id = 'x0_1'",
        "settles_by",
    ),
}


@pytest.mark.parametrize("fault", list(FAULTS_IN_POSTGRESQL))
def test_a_fault_in_postgresql_fails_the_rule_against_it(filled: str, fault: str) -> None:
    table, statement, column = FAULTS_IN_POSTGRESQL[fault]
    with connect(filled) as conn:
        conn.execute(statement.encode())
    result = validate_table(filled, "core", table)
    assert not result.passed
    assert column in failures(result)


def _replace(column: str, value: object, share: float = 1.0) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(**{column: table[column].where(table.index >= share * len(table), value)})

    return change


FAULTS_IN_FRAMES: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "a match twice": ("core.match", lambda t: pd.concat([t, t.head(1)], ignore_index=True), "match_id"),
    "a result twice": ("core.result", lambda t: pd.concat([t, t.head(1)], ignore_index=True), "match_id"),
    "a book twice": (
        "core.book",
        lambda t: pd.concat([t, t.head(1)], ignore_index=True),
        "match_id, market, line, bookmaker, phase",
    ),
    "an unknown market": ("core.book", _replace("market", "correct_score", 0.01), "market"),
    "an unknown phase": ("core.book", _replace("phase", "in_play", 0.01), "phase"),
    "no rows": ("core.match", lambda t: t.head(0), "(table)"),
    "a column that is gone": ("features.team_ratings", lambda t: t.drop(columns="home_elo"), "home_elo"),
    "a rating off any scale": ("features.team_ratings", _replace("away_elo", 9000.0, 0.01), "away_elo"),
    "an input after the decision": (
        "features.match_strength",
        lambda t: t.assign(last_input_at=t["event_timestamp"] + pd.Timedelta(minutes=1)),
        "last_input_at, event_timestamp",
    ),
    "form that is mostly missing": (
        "features.team_form",
        _replace("home_goals_for_short", float("nan"), 0.5),
        "home_goals_for_short",
    ),
    "probabilities that do not sum to one": (
        "features.match_market",
        lambda t: t.assign(market_home=t["market_home"] * 0.99),
        "sum_1x2",
    ),
    "a certain outcome": ("features.match_market", _replace("market_over", 1.0, 0.01), "market_over"),
}


@pytest.mark.parametrize("fault", list(FAULTS_IN_FRAMES))
def test_a_fault_in_a_frame_fails_the_rule_against_it(world: Frames, fault: str) -> None:
    name, change, column = FAULTS_IN_FRAMES[fault]
    result = validate_frame(name, change(world[name].reset_index(drop=True)))
    assert not result.passed
    assert column in failures(result)


def test_a_check_that_runs_out_of_time_fails_and_says_so(filled: str) -> None:
    result = validate_table(filled, "core", "book", seconds=0.0)
    assert not result.passed
    assert "within 0 s" in result.reason


def test_a_frame_that_takes_too_long_fails_and_says_so(world: Frames) -> None:
    result = validate_frame("core.match", world["core.match"], seconds=0.0)
    assert not result.passed
    assert "0 s are allowed" in result.reason


def test_a_check_leaves_no_connection_behind(filled: str) -> None:
    validate_table(filled, "core", "match")
    validate_table(filled, "core", "match", seconds=0.0)
    with connect(filled) as conn:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert conn.execute(others).fetchone() == (0,)


def test_a_sample_is_said_to_be_one(world: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expectations, "MOST_ROWS", 100)
    result = validate_frame("core.match", world["core.match"])
    assert result.passed
    assert result.rows == 100
    assert result.reason == f"a sample of 100 of {len(world['core.match']):,} rows"


def test_a_table_that_does_not_exist_fails_with_a_reason(database: str) -> None:
    result = validate_table(database, "features", "team_form")
    assert not result.passed
    assert "features.team_form does not exist" in result.reason


def test_an_unknown_table_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"no expectations for core\.nothing; there are some for core\.match"):
        validate_frame("core.nothing", pd.DataFrame())


def test_a_password_of_odd_characters_is_no_obstacle(filled: str) -> None:
    odd = "p@$HOME/%41:word"
    role = f"odd_{make_url(filled).database}"
    with connect(filled, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{odd}'".encode())
        try:
            url = make_url(filled).set(username=role, password=odd).render_as_string(hide_password=False)
            assert validate_table(url, "core", "match").passed
        finally:
            conn.execute(f"DROP ROLE {role}".encode())


def test_the_table_of_a_result_shows_failures_first(world: Frames) -> None:
    broken = world["core.match"].assign(season="2018-19")
    text = validate_frame("core.match", broken).markdown()
    assert text.startswith("**core.match: FAILED**")
    assert text.index("✗ | season") < text.index("✓ | match_id")


@pytest.mark.real_data
def test_a_real_season_passes() -> None:
    root = Path(os.environ.get("BETTING_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    file = root / "A_football" / "mmz4281" / "1718" / "E0.csv"
    if not file.is_file():
        pytest.skip("no real data: set BETTING_TEST_DATA to its folder")
    batch = read_file(file)
    for name, table in (("core.match", batch.matches), ("core.result", batch.results), ("core.book", batch.books)):
        assert (result := validate_frame(name, table)).passed, result.markdown()
