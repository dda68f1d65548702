"""The prediction log writes everything it can, counts what it cannot, and never makes serving wait."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest

from bentos.match_odds.contract import MarketName, Row, RowAnswer
from bentos.match_odds.prediction_log import Fate, PredictionLog
from betting_assets.warehouse.database import with_database

pytestmark = pytest.mark.services
FEATURE_TIME = dt.datetime(2026, 3, 6, 15, 0, tzinfo=dt.UTC)
GOOD = RowAnswer(model_version="3", variant="market_residual", probabilities=[0.5, 0.3, 0.2])


def rows(n: int, **changes: object) -> list[Row]:
    return [
        Row(
            market=MarketName("1x2"),
            features={"elo_difference": 0.25, "away_goals_for_short": None, "league": "XX"},
            match_id=f"xx_{i}",
            feature_time=FEATURE_TIME,
            request_id="request-7",
        ).model_copy(update=changes)
        for i in range(n)
    ]


class Fates(Counter[Fate]):
    def count(self, fate: Fate, rows: int) -> None:
        self[fate] += rows


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def stored(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM serving.prediction_log").fetchone()
    assert found is not None
    return int(found[0])


def test_rows_are_written_as_they_were_answered(database: str) -> None:
    fates = Fates()
    log = PredictionLog(database, "match_odds:b1", "host:1", fates.count)
    log.put(rows(3), [GOOD] * 3)
    log.close()
    with psycopg.connect(database) as connection:
        connection.execute("SET timezone TO 'UTC'")
        found = connection.execute(
            "SELECT request_id, match_id, market, variant, model_version, bento_tag, probabilities, features, "
            "feature_time, served_by FROM serving.prediction_log ORDER BY match_id"
        ).fetchall()
    features = {"elo_difference": 0.25, "away_goals_for_short": None, "league": "XX"}
    who = ("1x2", "market_residual", "3", "match_odds:b1")
    what = ([0.5, 0.3, 0.2], features, FEATURE_TIME, "host:1")
    assert found == [("request-7", f"xx_{i}", *who, *what) for i in range(3)]
    assert fates == {Fate.WRITTEN: 3}


def test_refused_rows_and_rows_without_a_match_are_not_predictions(database: str) -> None:
    fates = Fates()
    log = PredictionLog(database, "match_odds:b1", "host:1", fates.count)
    log.put(rows(1) + rows(1, match_id=None), [RowAnswer(error="no"), GOOD])
    log.close()
    assert stored(database) == 0
    assert fates == {}


def test_everything_is_written_before_the_end(database: str) -> None:
    fates = Fates()
    log = PredictionLog(database, "match_odds:b1", "host:1", fates.count)
    for start in range(0, 2500, 50):
        log.put(rows(2500)[start : start + 50], [GOOD] * 50)
    log.close(20.0)
    assert stored(database) == 2500
    assert fates == {Fate.WRITTEN: 2500}


def test_an_outage_blocks_nobody_and_loses_nothing_that_fits(database: str) -> None:
    fates = Fates()
    name = database.rsplit("/", 1)[1]
    admin = with_database(database, "postgres")
    log = PredictionLog(database, "match_odds:b1", "host:1", fates.count, patience=0.1)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        log.put(rows(300), [GOOD] * 300)
        time.sleep(1.0)
        assert fates == {}
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    eventually(lambda: fates[Fate.WRITTEN] == 300)
    log.close()
    assert stored(database) == 300


def test_what_does_not_fit_during_an_outage_is_dropped_and_counted() -> None:
    fates = Fates()
    nowhere = "postgresql://nobody:x@127.0.0.1:1/none"
    log = PredictionLog(nowhere, "match_odds:b1", "host:1", fates.count, capacity=50, patience=0.1)
    for _ in range(10):
        log.put(rows(40), [GOOD] * 40)
    log.close(2.0)
    assert fates == {Fate.DROPPED: 400}


def test_rows_that_the_database_refuses_are_counted_and_do_not_stop_the_others(database: str) -> None:
    fates = Fates()
    log = PredictionLog(database, "match_odds:b1", "host:1", fates.count)
    log.put(rows(1, request_id="a\x00b"), [GOOD])
    eventually(lambda: fates[Fate.REFUSED] == 1)
    log.put(rows(2), [GOOD] * 2)
    log.close()
    assert fates == {Fate.REFUSED: 1, Fate.WRITTEN: 2}
    assert stored(database) == 2
