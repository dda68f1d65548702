"""What streams tell of finished matches, in the canonical tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from invented_history import batch
from landed import FIXTURE, KICKOFF, MATCH, NAN, Landed

from betting_assets.modelling import feature_tables
from betting_assets.sources.batch import frame
from betting_assets.sources.quotes import book_flags
from betting_assets.sources.records import Market
from betting_assets.warehouse import tables
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.history import read_books, read_matches, read_results, read_statistics, write_batch
from betting_assets.warehouse.live import Merged, days_of, merge_live
from betting_assets.warehouse.live_matches import missing_matches
from betting_assets.warehouse.ranges import OffsetRange, plan, unfinished

DAY = KICKOFF.date()
TOPIC = "match.results.v1"


@pytest.fixture
def landed(database: str) -> Iterator[Landed]:
    with connect(database, autocommit=True) as conn:
        yield Landed(conn)


def merge(database: str) -> Merged:
    """Merge the day; merging again must change nothing."""
    merged = merge_live(database, days=[DAY])
    assert merge_live(database, days=[DAY]).changed == 0
    return merged


def scores(database: str) -> list[tuple[str, int, int]]:
    return list(read_results(database)[["match_id", "home_score", "away_score"]].itertuples(index=False, name=None))


def books(database: str, phase: str) -> dict[str, list[float]]:
    found = read_books(database, phases=[phase])
    return dict(zip(found["bookmaker"], found["prices"].map(list), strict=True))


def files(score: tuple[int, int] = (2, 1), **more: Any) -> Any:
    """The same match as a source of files tells it, with a book before the close."""
    told = batch([MATCH], prices=(2.2, 3.3, 3.9), **more)
    result = told.results.assign(
        home_score=score[0], away_score=score[1], known_at=pd.Timestamp("2026-03-08", tz="UTC")
    )
    taken = told.books.assign(taken_at=pd.Timestamp("2026-03-06 15:00", tz="UTC"))
    return type(told)(told.matches, result, told.statistics, taken)


def test_a_match_that_only_the_stream_knows_is_there_whole(database: str, landed: Landed) -> None:
    landed.tick(-60)
    landed.tick(-5, (2.1, 3.4, 3.8))
    landed.result(3, 1, statistics={"home_shots": 9, "away_red_cards": 1, "home_throw_ins": 20})
    merged = merge(database)
    assert (merged.added, merged.results_inserted, merged.statistics, merged.books) == (1, 1, 1, 2)
    match = read_matches(database).iloc[0]
    assert (match["match_id"], match["rating_pool"], match["kickoff"]) == (MATCH, "xx", pd.Timestamp(KICKOFF))
    assert scores(database) == [(MATCH, 3, 1)]
    statistics = read_statistics(database).iloc[0]
    assert (statistics["home_shots"], statistics["away_red_cards"]) == (9, 1)
    assert pd.isna(statistics["away_shots"])
    assert books(database, "pre_close") == {"acme": [2.0, 3.5, 4.0]}
    assert books(database, "close") == {"acme": [2.1, 3.4, 3.8]}


def test_a_result_is_known_from_the_midnight_after_the_match_date_as_in_files(database: str, landed: Landed) -> None:
    landed.result(minutes=11 * 60)
    merge_live(database, days=[DAY + dt.timedelta(days=1)])
    assert read_results(database)["known_at"].tolist() == [pd.Timestamp("2026-03-08", tz="UTC")]


def test_the_newest_result_counts_whatever_order_it_comes_in(database: str, landed: Landed) -> None:
    landed.result(1, 1, minutes=120)
    landed.result(0, 1, minutes=110, sequence=9)
    landed.result(2, 1, minutes=120, sequence=1)
    merge(database)
    assert scores(database) == [(MATCH, 2, 1)]


def test_a_correction_follows_the_stream_and_keeps_when_it_was_known(database: str, landed: Landed) -> None:
    landed.result(2, 1, statistics={"home_shots": 3})
    merge(database)
    landed.result(2, 2, sequence=1, statistics={"home_shots": 4})
    merged = merge(database)
    assert (merged.results_updated, merged.statistics) == (1, 1)
    assert scores(database) == [(MATCH, 2, 2)]
    assert read_statistics(database)["home_shots"].tolist() == [4]
    assert read_results(database)["known_at"].tolist() == [pd.Timestamp("2026-03-08", tz="UTC")]


def test_a_void_result_writes_no_score_and_takes_one_back_with_what_was_settled_by_it(
    database: str, landed: Landed
) -> None:
    landed.result(None, None)
    assert merge(database).changed == 0
    landed.result(2, 1, minutes=115)
    merge(database)
    landed.conn.execute(
        """WITH logged AS (
               INSERT INTO serving.prediction_log
                      (request_id, match_id, market, variant, model_version, bento_tag, probabilities, served_by)
               VALUES ('r', %s, '1x2', 'v', '1', 'b', '{0.5,0.3,0.2}', 'x:1') RETURNING id)
           INSERT INTO serving.prediction_outcome
                  (prediction_id, match_id, market, outcome, settled_at, log_loss, brier)
           SELECT id, %s, '1x2', 0, now(), 0.7, 0.4 FROM logged""",
        [MATCH, MATCH],
    )
    landed.result(None, None, minutes=130)
    assert merge(database).results_removed == 1
    assert scores(database) == []
    assert landed.conn.execute("SELECT count(*) FROM serving.prediction_outcome").fetchone() == (0,)


def test_a_stream_changes_nothing_that_files_said(database: str, landed: Landed) -> None:
    statistics = frame("statistics", {"match_id": [MATCH], "home_shots": pd.Series([7], dtype="Int64")})
    write_batch(database, files((4, 0), statistics=statistics))
    before = [read(database) for read in (read_matches, read_results, read_statistics, read_books)]
    landed.tick(-60)
    landed.result(2, 1, statistics={"home_shots": 1})
    merged = merge(database)
    assert merged.kept == 1
    after = [read(database) for read in (read_matches, read_results, read_statistics)]
    for one, other in zip(before, after, strict=False):
        pd.testing.assert_frame_equal(one, other)
    assert books(database, "pre_close") == {"acme": [2.2, 3.3, 3.9]}


def test_files_that_correct_a_streams_score_have_the_last_word(database: str, landed: Landed) -> None:
    landed.result(2, 1)
    merge(database)
    write_batch(database, files((3, 1)))
    landed.result(2, 2, sequence=1)
    assert merge(database).kept == 1
    assert scores(database) == [(MATCH, 3, 1)]
    landed.result(None, None, sequence=2)
    merge(database)
    assert scores(database) == [(MATCH, 3, 1)]


def test_closing_books_join_the_files_books_before_the_close(database: str, landed: Landed) -> None:
    """Decision times of matches that files know stay: the stream adds the close alone."""
    write_batch(database, files())
    landed.tick(-600, (2.5, 3.0, 3.3))
    landed.tick(-1, (2.1, 3.4, 3.8), bookmaker="other")
    landed.result()
    merge(database)
    assert books(database, "pre_close") == {"acme": [2.2, 3.3, 3.9]}
    assert set(books(database, "close")) == {"acme", "other"}


def test_a_closing_book_of_files_stays_and_other_bookmakers_join_it(database: str, landed: Landed) -> None:
    told = files()
    closing = told.books.assign(phase="close", taken_at=pd.Timestamp(KICKOFF), prices=[[2.3, 3.2, 3.7]])
    write_batch(database, type(told)(told.matches, told.results, told.statistics, pd.concat([told.books, closing])))
    landed.tick(-1)
    landed.tick(-1, bookmaker="other")
    landed.result()
    merge(database)
    assert books(database, "close") == {"acme": [2.3, 3.2, 3.7], "other": [2.0, 3.5, 4.0]}


def test_a_late_tick_moves_the_streams_own_closing_book(database: str, landed: Landed) -> None:
    landed.tick(-10)
    landed.result()
    merge(database)
    landed.tick(-2, (2.2, 3.3, 3.9))
    assert merge(database).books == 1
    assert books(database, "close") == {"acme": [2.2, 3.3, 3.9]}
    assert books(database, "pre_close") == {"acme": [2.0, 3.5, 4.0]}


@pytest.mark.parametrize(
    "untrusted",
    [
        {"minutes": 0},
        {"minutes": 20},
        {"minutes": -1, "in_play": True},
        {"minutes": -1, "trading": "suspended"},
        {"minutes": -1, "trading": "closed"},
        {"minutes": -1, "prices": (2.0, NAN, 4.0)},
        {"minutes": -1, "prices": (1.2, 3.0, 4.0)},
        {"minutes": -1, "prices": (3.0, 4.0, 5.0)},
    ],
    ids=["at kick-off", "after it", "in play", "suspended", "closed", "incomplete", "overround", "below one"],
)
def test_no_book_comes_from_a_tick_that_cannot_be_trusted(
    database: str, landed: Landed, untrusted: dict[str, Any]
) -> None:
    landed.tick(-30)
    landed.tick(**{"prices": (2.2, 3.3, 3.9)} | untrusted)
    landed.result()
    merge(database)
    assert books(database, "close") == {"acme": [2.0, 3.5, 4.0]}


def test_ticks_of_one_moment_are_told_apart_by_their_sequence(database: str, landed: Landed) -> None:
    landed.tick(-5, (2.2, 3.3, 3.9), sequence=2)
    landed.tick(-5, (2.0, 3.5, 4.0), sequence=1)
    landed.result()
    merge(database)
    assert books(database, "close") == {"acme": [2.2, 3.3, 3.9]}
    assert books(database, "pre_close") == {"acme": [2.0, 3.5, 4.0]}


def test_the_decision_time_is_that_of_the_first_complete_tick_and_no_feature_is_later(
    database: str, landed: Landed
) -> None:
    landed.tick(-300, (2.0, NAN, 4.0))
    landed.tick(-240)
    landed.tick(-60, bookmaker="other")
    landed.result()
    merge(database)
    matches, found = read_matches(database), read_books(database)
    decided = feature_tables.decision_times(matches, feature_tables.first_quotes(found))
    assert decided.tolist() == [pd.Timestamp(KICKOFF - dt.timedelta(minutes=240))]


def test_without_a_kick_off_books_count_until_the_end_of_the_match_date(database: str, landed: Landed) -> None:
    landed.tick(8 * 60)
    landed.tick(10 * 60, (2.2, 3.3, 3.9))
    landed.result(minutes=11 * 60, fixture=FIXTURE | {"kickoff": None})
    merge_live(database, days=[DAY + dt.timedelta(days=1)])
    assert books(database, "close") == {"acme": [2.0, 3.5, 4.0]}


def test_the_kick_off_that_only_a_tick_tells_is_used(database: str, landed: Landed) -> None:
    write_batch(database, files())
    landed.tick(-2, fixture=FIXTURE)
    landed.tick(3, (2.2, 3.3, 3.9))
    landed.result(fixture=None)
    merge(database)
    assert books(database, "close") == {"acme": [2.0, 3.5, 4.0]}


@pytest.mark.parametrize(
    ("fixture", "why"),
    [
        (None, "no message tells its fixture"),
        (FIXTURE | {"away": "ash"}, "same team"),
        (FIXTURE | {"home": "oak"}, "fixture is that of xx_2026-03-07_oak_birch"),
        ({"league": "XX"}, "its fixture is none"),
    ],
    ids=["none", "one team", "another match", "incomplete"],
)
def test_a_match_that_cannot_be_written_is_told_with_its_reason_and_comes_in_later(
    database: str, landed: Landed, fixture: dict[str, Any] | None, why: str
) -> None:
    landed.tick(-5)
    landed.result(fixture=fixture)
    merged = merge(database)
    assert why in merged.unknown[MATCH]
    assert merged.changed == 0
    told = files()
    write_batch(database, type(told)(told.matches))
    assert merge(database).results_inserted == 1


def test_a_fixture_that_only_ticks_tell_is_enough(database: str, landed: Landed) -> None:
    landed.tick(-5, fixture=FIXTURE)
    landed.tick(-4)
    landed.result(fixture=None)
    assert merge(database).added == 1


def test_a_match_to_come_is_there_with_its_first_books_and_gets_the_others_with_its_result(
    database: str, landed: Landed
) -> None:
    landed.tick(-3000, fixture=FIXTURE)
    landed.tick(-2000, (2.1, 3.4, 3.9))
    merged = merge_live(database, matches=[MATCH])
    assert (merged.added, merged.books) == (1, 1)
    assert merge_live(database, matches=[MATCH]).changed == 0
    assert scores(database) == []
    assert books(database, "pre_close") == {"acme": [2.0, 3.5, 4.0]}
    assert books(database, "close") == {}

    def decided() -> list[pd.Timestamp]:
        first = feature_tables.first_quotes(read_books(database))
        return list(feature_tables.decision_times(read_matches(database), first))

    before = decided()
    landed.tick(-1, (2.2, 3.3, 3.8))
    landed.result()
    assert merge(database).added == 0
    assert scores(database) == [(MATCH, 2, 1)]
    assert books(database, "close") == {"acme": [2.2, 3.3, 3.8]}
    assert decided() == before, "what was served and what is trained on are of one moment"


def test_a_range_of_ticks_adds_the_matches_to_come_that_it_tells_of(database: str, landed: Landed) -> None:
    landed.tick(-3000, fixture=FIXTURE)
    assert merge_live(database, ranges=[(tables.odds_tick, OffsetRange("odds.ticks.v1", 1, 0, 0, 1))]).added == 1


def test_a_match_to_come_whose_fixture_is_none_is_told_and_writes_nothing(database: str, landed: Landed) -> None:
    landed.tick(-3000, fixture=FIXTURE | {"home": "cedar"})
    merged = merge_live(database, matches=[MATCH])
    assert merged.changed == 0
    assert "its fixture is that of" in merged.unknown[MATCH]


def test_a_match_of_files_that_is_over_is_not_to_come(database: str, landed: Landed) -> None:
    write_batch(database, files())
    landed.tick(-3000, fixture=FIXTURE)
    assert merge_live(database, matches=[MATCH]).matches == 0


def test_missing_are_matches_whose_fixture_a_tick_told(database: str, landed: Landed) -> None:
    known, untold = "xx_2026-03-07_cedar_elm", "xx_2026-03-07_fir_gorse"
    landed.tick(-10, fixture=FIXTURE)
    landed.tick(-9, match_id=untold)
    landed.tick(-9, match_id=known, fixture=FIXTURE | {"home": "cedar", "away": "elm"})
    merge_live(database, matches=[known])
    assert missing_matches(landed.conn) == [MATCH]


def test_a_league_that_is_there_gives_its_rating_pool(database: str, landed: Landed) -> None:
    told = batch()
    write_batch(database, type(told)(told.matches.assign(rating_pool="northland")))
    landed.result()
    merge(database)
    assert set(read_matches(database)["rating_pool"]) == {"northland"}


def test_ranges_merge_their_messages_matches_alone_and_are_done_with_them(database: str, landed: Landed) -> None:
    other = "xx_2026-03-07_cedar_elm"
    landed.result()
    first = plan(landed.conn, TOPIC, tables.match_result)
    landed.result(match_id=other, fixture=FIXTURE | {"home": "cedar", "away": "elm"})
    second = plan(landed.conn, TOPIC, tables.match_result)
    assert first is not None
    assert second is not None
    merged = merge_live(database, ranges=[(tables.match_result, one) for one in second.ranges])
    assert merged.ranges_done == 1
    assert [name for name, *_ in scores(database)] == [other]
    assert [one.run_key for one in unfinished(landed.conn, TOPIC)] == [first.run_key]


def test_a_range_of_ticks_merges_the_books_of_its_matches(database: str, landed: Landed) -> None:
    landed.result()
    merge(database)
    landed.tick(-5)
    merged = merge_live(database, ranges=[(tables.odds_tick, OffsetRange("odds.ticks.v1", 1, 0, 0, 1))])
    assert merged.books == 2


def test_what_fails_in_the_middle_leaves_nothing_and_the_range_open(database: str, landed: Landed) -> None:
    landed.tick(-5)
    landed.result()
    planned = plan(landed.conn, TOPIC, tables.match_result)
    assert planned is not None
    landed.conn.execute("ALTER TABLE core.book ADD CONSTRAINT planted CHECK (phase <> 'close')")
    asked = [(tables.match_result, one) for one in planned.ranges]
    with pytest.raises(psycopg.errors.CheckViolation):
        merge_live(database, ranges=asked)
    assert len(read_matches(database)) == 0
    assert len(unfinished(landed.conn, TOPIC)) == 1
    landed.conn.execute("ALTER TABLE core.book DROP CONSTRAINT planted")
    assert merge_live(database, ranges=asked).ranges_done == 1


def test_days_of_ranges_are_those_on_which_their_matches_ended(database: str, landed: Landed) -> None:
    landed.result()
    landed.result(minutes=24 * 60, sequence=1)
    landed.result(minutes=-48 * 60, partition=1)
    everything = [OffsetRange(TOPIC, 1, 0, 0, 2), OffsetRange(TOPIC, 1, 1, 0, 1)]
    assert days_of(landed.conn, everything) == [DAY - dt.timedelta(days=2), DAY, DAY + dt.timedelta(days=1)]
    assert days_of(landed.conn, everything[1:]) == [DAY - dt.timedelta(days=2)]


price = st.floats(min_value=1.01, max_value=1001, allow_nan=False) | st.just(NAN)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(price, min_size=3, max_size=3))
def test_a_book_is_trusted_as_books_of_files_are(database: str, prices: list[float]) -> None:
    with connect(database) as conn:
        landed = Landed(conn)
        conn.execute("TRUNCATE stream.odds_tick, stream.match_result, core.match, core.book CASCADE")
        landed.tick(-5, tuple(prices))
        landed.result()
    merge(database)
    flagged = book_flags(np.array([prices]), Market.MATCH_RESULT, "acme")[0] is not None
    assert (len(books(database, "close")) == 0) == flagged


saying = st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from([None, 0, 1, 2]))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(saying, min_size=1, max_size=6, unique_by=lambda one: one[:2]), st.randoms(use_true_random=False))
def test_merging_message_by_message_in_any_order_ends_as_merging_all_at_once(
    database: str, said: list[tuple[int, int, int | None]], shuffled: Any
) -> None:
    last = max(said)[2]
    shuffled.shuffle(said)
    with connect(database, autocommit=True) as conn:
        conn.execute("TRUNCATE stream.match_result, stream.position, core.match CASCADE")
        landed = Landed(conn)
        for number, (minute, sequence, score) in enumerate(said):
            landed.result(score, score, minutes=100 + minute, sequence=sequence)
            merge_live(database, ranges=[(tables.match_result, OffsetRange(TOPIC, 1, 0, number, number + 1))])
    assert scores(database) == ([] if last is None else [(MATCH, last, last)])
