"""The scorer, end to end: Kafka, PostgreSQL, the online store and the real Bento."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from scoring_world import (
    MATCHES,
    STRANGER,
    STREAM_TABLES,
    World,
    bento_of,
    eventually,
    fill_store,
    folder,
    tick,
    world_settings,
)

from bentos.match_odds.client import MatchOddsClient
from bentos.match_odds.deploying.runner import RunningBento
from betting_assets.betting.odds import remove_margin
from betting_assets.modelling.markets import MARKETS
from betting_assets.sources.records import Trading
from betting_assets.warehouse.database import connect, with_database

pytestmark = pytest.mark.services
NUMBERS = itertools.count()
MATCH = MATCHES[0]


@pytest.fixture(scope="module")
def scoring_url(postgres_url: str, _migrated_template: str) -> Iterator[str]:
    from feature_repo.store import forget

    with connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE scoring TEMPLATE {_migrated_template}")
    url = with_database(postgres_url, "scoring")
    fill_store(url)
    yield url
    forget()
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE scoring WITH (FORCE)")


@pytest.fixture(scope="module")
def bento(scoring_url: str) -> Iterator[RunningBento]:
    with folder() as home, bento_of(home, scoring_url) as running:
        yield running


@pytest.fixture
def world(kafka_servers: str, scoring_url: str, bento: RunningBento, tmp_path: Path) -> Iterator[World]:
    fill_store(scoring_url)
    settings = world_settings(kafka_servers, scoring_url, tmp_path, bento.grpc_port, next(NUMBERS))
    made = World(settings, scoring_url, [])
    yield made
    made.close()
    with psycopg.connect(scoring_url) as connection:
        connection.execute(f"TRUNCATE {STREAM_TABLES}, serving.prediction_log, features.match_market CASCADE")


def test_a_tick_becomes_the_services_own_answer_for_the_features_it_makes(world: World, bento: RunningBento) -> None:
    with world.scorer():
        world.send(tick(MATCH), tick(MATCH, market="over_under"), tick(MATCH, "bet365", prices=(2.2, 3.3, 3.8)))
        found = world.all_spoken_for()
        world.saved()
    told = found[MATCH, "1x2"]
    assert told.withheld is None
    assert told.market_probabilities == tuple(remove_margin([[2.1, 3.4, 3.9]]).probabilities[0].tolist())
    assert told.best_prices == (2.2, 3.4, 3.9)
    assert told.best_bookmakers == ("bet365", "pinnacle", "pinnacle")
    assert told.edges == tuple(p * q - 1 for p, q in zip(told.probabilities, told.best_prices, strict=True))
    with MatchOddsClient(bento.url) as client:
        for market in MARKETS:
            by_id = client.predict(market, [MATCH])
            assert tuple(by_id.predictions[0].probabilities) == found[MATCH, market].probabilities
            assert tuple(by_id.predictions[0].market_probabilities) == found[MATCH, market].market_probabilities
            assert tuple(by_id.predictions[0].best_prices) == found[MATCH, market].best_prices
            assert (by_id.model_version, by_id.bento) == (
                found[MATCH, market].model_version,
                found[MATCH, market].bento,
            )


def test_a_suspension_reaches_the_topic_and_the_store_without_anything_of_value(
    world: World, bento: RunningBento
) -> None:
    with world.scorer():
        world.send(tick(MATCH), tick(MATCH, "bet365"))
        assert world.all_spoken_for()[MATCH, "1x2"].withheld is None
        world.send(tick(MATCH, trading=Trading.SUSPENDED))
        told = world.all_spoken_for()[MATCH, "1x2"]
        world.saved()
    assert told.withheld == "suspended_market"
    assert told.probabilities
    assert told.best_prices == told.best_bookmakers == told.edges == ()
    assert [(book.bookmaker, book.reason) for book in told.excluded] == [("pinnacle", "suspended")]
    with MatchOddsClient(bento.url) as client:
        withheld = client.predict("1x2", [MATCH]).predictions[0].withheld
        assert withheld is not None
        assert withheld.reason == "suspended_market"


@pytest.mark.parametrize(
    ("ticks", "reason"),
    [
        ([{"taken_at": dt.datetime.now(dt.UTC) - dt.timedelta(hours=2)}], "stale_odds"),
        ([{"in_play": True}], "in_play"),
        ([{"prices": (2.1, None, 3.9)}], "no_odds"),
        ([{"bookmaker": "betfair", "lay": (2.0, 3.6, 4.1)}], "no_odds"),
        ([{"prices": (1.5, 2.0, 2.5)}], "no_odds"),
    ],
)
def test_what_nobody_can_bet_at_is_withheld_with_its_reason(world: World, ticks: list, reason: str) -> None:
    with world.scorer():
        world.send(*(tick(MATCH, **changes) for changes in ticks))
        told = world.all_spoken_for()[MATCH, "1x2"]
    assert told.withheld == reason
    assert told.withheld_detail
    assert told.best_prices == told.best_bookmakers == told.edges == ()


def test_a_palpable_error_is_left_out_and_named(world: World) -> None:
    books = [tick(MATCH, name) for name in ("pinnacle", "a", "b")]
    with world.scorer():
        world.send(*books, tick(MATCH, "typo", prices=(21.0, 3.4, 3.9)))
        told = world.all_spoken_for()[MATCH, "1x2"]
    assert told.withheld is None
    assert told.best_prices[0] == 2.1
    assert [(book.bookmaker, book.reason) for book in told.excluded] == [("typo", "palpable_error")]


def test_a_match_without_features_is_withheld_and_harms_no_other(world: World) -> None:
    with world.scorer():
        world.send(tick(STRANGER), tick(MATCH))
        found = world.all_spoken_for()
    assert found[STRANGER, "1x2"].withheld == "missing_features"
    assert not found[STRANGER, "1x2"].probabilities
    assert found[MATCH, "1x2"].withheld is None


def test_poison_and_lines_without_a_model_are_passed_over(world: World) -> None:
    with world.scorer() as running:
        world.send_bytes(MATCH.encode(), b"{")
        world.send_bytes(MATCH.encode(), tick(MATCH, market="over_under", line=3.5).model_dump_json().encode())
        world.send(tick(MATCH))
        found = world.all_spoken_for()
        world.saved()
    assert (running.tally.skipped, running.tally.unmodelled) == (1, 1)
    assert set(world.newest()) == set(found) == {(MATCH, "1x2")}


def test_a_late_tick_is_spoken_for_and_changes_nothing(world: World) -> None:
    now = dt.datetime.now(dt.UTC)
    with world.scorer():
        world.send(tick(MATCH, taken_at=now, sequence=5))
        before = world.all_spoken_for()[MATCH, "1x2"]
        for late in ({"taken_at": now - dt.timedelta(seconds=9)}, {"taken_at": now, "sequence": 5}):
            world.send(tick(MATCH, prices=(9.0, 9.0, 1.2), **late))
            after = world.all_spoken_for()[MATCH, "1x2"]
            assert after.tick_offset > before.tick_offset
            same = {"probabilities", "best_prices", "edges", "taken_at", "excluded"}
            assert after.model_dump(include=same) == before.model_dump(include=same)


def test_a_restarted_scorer_knows_the_books_of_before(world: World) -> None:
    with world.scorer():
        world.send(tick(MATCH, prices=(2.5, 3.4, 3.0)), tick(MATCH, "bet365"))
        world.saved()
    with world.scorer():
        world.send(tick(MATCH, "bwin", prices=(2.55, 3.3, 2.9)))
        told = world.all_spoken_for()[MATCH, "1x2"]
    assert told.market_probabilities == tuple(remove_margin([[2.5, 3.4, 3.0]]).probabilities[0].tolist())
    ids = [one.prediction_id for one in world.predictions()]
    assert len(ids) == len(set(ids)), "what a checkpoint holds is not published again"


def test_two_scorers_share_the_matches_and_one_takes_over_the_others(world: World) -> None:
    def owned() -> list[int]:
        with psycopg.connect(world.url) as connection:
            rows = connection.execute("SELECT partitions FROM stream.reader WHERE reader = 'scorer'").fetchall()
        return sorted(len(numbers) for (partitions,) in rows for numbers in partitions.values())

    with world.scorer("one"):
        with world.scorer("two"):
            eventually(lambda: owned() == [1, 1])
            world.send(*(tick(match_id) for match_id in MATCHES))
            world.all_spoken_for()
        world.send(*(tick(match_id, "bet365") for match_id in MATCHES))
        found = world.all_spoken_for()
    assert all(one.withheld is None and len(one.excluded) == 0 for one in found.values())


def test_a_bento_that_is_away_is_waited_for_and_the_newest_books_count_then(world: World, bento: RunningBento) -> None:
    bento.stop()
    try:
        with world.scorer():
            world.send(tick(MATCH), tick(MATCH, prices=(2.3, 3.3, 3.5)))
            eventually(lambda: any("prediction service" in line for line in world.said))
            assert not world.predictions()
            bento.start()
            told = world.all_spoken_for()[MATCH, "1x2"]
    finally:
        if bento.pid is None:
            bento.start()
    assert told.best_prices == (2.3, 3.3, 3.5)
    assert "scoring again" in world.said
    assert all("\n" not in line for line in world.said)


def test_answers_are_logged_at_once_and_then_only_from_time_to_time(world: World) -> None:
    mine = MATCHES[7]  # of no other test, whose rows may come late

    def logged() -> list[tuple[str, bool, bool]]:
        with psycopg.connect(world.url) as connection:
            return connection.execute(
                """SELECT market, feature_time IS NOT NULL, feature_read_at IS NULL FROM serving.prediction_log
                   WHERE match_id = %s AND role = 'champion' ORDER BY market""",
                [mine],
            ).fetchall()

    with world.scorer():
        for _ in range(5):
            world.send(tick(mine), tick(mine, market="over_under"))
            world.all_spoken_for()
    eventually(lambda: len(logged()) >= 2)
    assert logged() == [("1x2", True, True), ("over_under", True, True)]


def test_a_platform_without_features_yet_is_waited_for(world: World) -> None:
    """`betting up` starts the scorer before anything was ingested."""
    from feature_repo.operations import apply_definitions
    from feature_repo.store import feature_store, forget

    forget()
    with psycopg.connect(world.url) as connection:
        connection.execute("TRUNCATE feast.feature_views, feast.feature_view_version_history")
    with world.scorer():
        eventually(lambda: any("not in the registry" in line for line in world.said))
        world.send(tick(MATCH))
        apply_definitions(feature_store(world.url, "wall"))
        assert world.all_spoken_for()[MATCH, "1x2"].withheld is None
    assert "scoring again" in world.said
