"""The prediction log writes everything it can, counts what it cannot, and never makes serving wait."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bentos.match_odds.log.prediction_log import BATCH, Fate, LoggedAnswer, PredictionLog
from bentos.match_odds.model.champions import Champions
from bentos.match_odds.model.rows import ModelRow
from betting_assets.warehouse.database import with_database

pytestmark = pytest.mark.services
MOMENT = dt.datetime(2026, 3, 6, 15, 0, 0, 123456, tzinfo=dt.UTC)
READ = """SELECT predicted_at, request_id, match_id, market, variant, model_version, bento_tag, probabilities, features,
                 feature_time, feature_read_at, served_by, role FROM serving.prediction_log ORDER BY id"""
NOWHERE = "postgresql://nobody:x@127.0.0.1:1/none"


class Fates(Counter[Fate]):
    def count(self, fate: Fate, rows: int) -> None:
        self[fate] += rows


@pytest.fixture(scope="session")
def model_row(champions: Champions) -> ModelRow:
    champion = champions["1x2"]
    values = np.linspace(-1.5, 1.5, len(champion.bundle.numbers))
    values[0] = np.nan
    return ModelRow(champion, values, "X\\Y\t\n\u00e9\U0001f600")


@pytest.fixture
def answer(model_row: ModelRow) -> LoggedAnswer:
    return LoggedAnswer(
        predicted_at=MOMENT,
        request_id="request-7",
        match_id="xx_0",
        market="1x2",
        variant="market_residual",
        model_version="match_odds_1x2/3",
        bento_tag="match_odds:b1",
        probabilities=[0.5, 0.3, 0.2],
        row=model_row,
        feature_time=MOMENT - dt.timedelta(hours=3),
        feature_read_at=MOMENT - dt.timedelta(microseconds=1),
    )


@pytest.fixture
def fates() -> Fates:
    return Fates()


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def stored(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone TO 'UTC'")
        return connection.execute(READ).fetchall()


def expected(one: LoggedAnswer) -> tuple[Any, ...]:
    features = dict(one.row.features()) if one.role == "champion" else None
    who = (one.market, one.variant, one.model_version, one.bento_tag, list(one.probabilities), features)
    return (
        one.predicted_at,
        one.request_id,
        one.match_id,
        *who,
        one.feature_time,
        one.feature_read_at,
        "h:1",
        one.role,
    )


def numbered(answer: LoggedAnswer, n: int, start: int = 0) -> list[LoggedAnswer]:
    return [answer._replace(match_id=f"xx_{i}") for i in range(start, start + n)]


@contextmanager
def closed_to_all(url: str) -> Iterator[None]:
    """The database throws everybody out, and lets nobody in."""
    name = url.rsplit("/", 1)[1]
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_rows_are_written_as_they_were_answered(database: str, answer: LoggedAnswer, fates: Fates) -> None:
    rows = numbered(answer, 3)
    rows.append(answer._replace(feature_time=None, feature_read_at=None, market="over_under", probabilities=[0.4, 0.6]))
    log = PredictionLog(database, "h:1", fates.count)
    log.put(rows)
    log.close()
    assert stored(database) == [expected(row) for row in rows]
    assert fates == {Fate.WRITTEN: 4}


def test_a_challengers_row_says_so_and_leaves_the_features_to_the_champions_row(
    database: str, answer: LoggedAnswer, fates: Fates
) -> None:
    log = PredictionLog(database, "h:1", fates.count)
    log.put([answer, answer._replace(role="challenger", model_version="4")])
    log.close()
    found = stored(database)
    assert [row[-1] for row in found] == ["champion", "challenger"]
    assert found[0][8] == dict(answer.row.features())
    assert found[1][8] is None


HOSTILE = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    ["\\N", "\\.", "a\tb", "a\nb", "a\r\nb", "\\", "\\\\t", '"', "'; DROP TABLE x; --", "{1,2}", "\ufeff", "\u2028", ""]
)
MOMENTS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC))


ROWS = st.tuples(
    st.tuples(*[HOSTILE] * 6),
    HOSTILE,
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.floats(allow_nan=False), max_size=5),
    st.tuples(MOMENTS, MOMENTS, st.none() | MOMENTS),
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(ROWS, min_size=10, max_size=40))
def test_any_text_number_and_time_comes_back_as_it_was(database: str, answer: LoggedAnswer, drawn: list[Any]) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE serving.prediction_log CASCADE")
    rows = []
    for texts, league, number, probabilities, (predicted, featured, read) in drawn:
        values = answer.row.values.copy()
        values[1] = number
        row = ModelRow(answer.row.champion, values, league)
        rows.append(LoggedAnswer._make((predicted, *texts, probabilities, row, featured, read, "champion")))
    fates = Fates()
    log = PredictionLog(database, "h:1", fates.count)
    log.put(rows)
    log.close()
    assert fates == {Fate.WRITTEN: len(rows)}
    assert [as_floats(row) for row in stored(database)] == [expected(row) for row in rows]


def as_floats(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """PostgreSQL knows one kind of number in JSON; Python reads a whole one as an int."""
    features = {k: float(v) if isinstance(v, int) else v for k, v in row[8].items()}
    return (*row[:8], features, *row[9:])


def test_everything_is_written_before_the_end(database: str, answer: LoggedAnswer, fates: Fates) -> None:
    log = PredictionLog(database, "h:1", fates.count)
    for start in range(0, 3 * BATCH, 50):
        log.put(numbered(answer, 50, start))
    log.close(30.0)
    assert {row[2] for row in stored(database)} == {f"xx_{i}" for i in range(3 * BATCH)}
    assert fates == {Fate.WRITTEN: 3 * BATCH}


def test_one_connection_serves_all_writes(database: str, answer: LoggedAnswer, fates: Fates) -> None:
    log = PredictionLog(database, "h:1", fates.count)
    ask = "SELECT pid FROM pg_stat_activity WHERE application_name = 'prediction log' AND datname = current_database()"
    pids = set()
    with psycopg.connect(database, autocommit=True) as connection:
        for n in range(1, 4):
            log.put([answer])
            eventually(lambda n=n: fates[Fate.WRITTEN] == n)  # type: ignore[misc]
            pids |= {pid for (pid,) in connection.execute(ask)}
        assert len(pids) == 1
        log.close()
        eventually(lambda: connection.execute(ask).fetchone() is None)


def test_an_outage_blocks_nobody_and_loses_nothing_that_fits(
    database: str, answer: LoggedAnswer, fates: Fates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    log = PredictionLog(database, "h:1", fates.count, patience=0.1)
    for outage in (1, 2):
        before = fates[Fate.WRITTEN]
        log.put(numbered(answer, 10, before))
        eventually(lambda n=before + 10: fates[Fate.WRITTEN] == n)  # type: ignore[misc]
        with closed_to_all(database):
            for start in range(before + 10, before + 310, 20):
                log.put(numbered(answer, 20, start))
            eventually(lambda n=outage: caplog.text.count("database away") == n)  # type: ignore[misc]
            time.sleep(0.5)
            assert fates == {Fate.WRITTEN: before + 10}
        eventually(lambda n=before + 310: fates[Fate.WRITTEN] == n)  # type: ignore[misc]
    log.close()
    assert sorted(row[2] for row in stored(database)) == sorted(f"xx_{i}" for i in range(620))
    assert caplog.text.count("database away") == 2, "an outage is told of once"


def test_a_missing_table_is_waited_for_and_no_row_is_refused(
    database: str, answer: LoggedAnswer, fates: Fates, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE serving.prediction_log RENAME TO elsewhere")
        log = PredictionLog(database, "h:1", fates.count, patience=0.1)
        log.put(numbered(answer, 5))
        eventually(lambda: "database away" in caplog.text)
        connection.execute("ALTER TABLE serving.elsewhere RENAME TO prediction_log")
    eventually(lambda: fates[Fate.WRITTEN] == 5)
    log.close()
    assert fates == {Fate.WRITTEN: 5}


def test_what_does_not_fit_during_an_outage_is_dropped_and_counted(answer: LoggedAnswer, fates: Fates) -> None:
    log = PredictionLog(NOWHERE, "h:1", fates.count, capacity=50, patience=0.1)
    for _ in range(10):
        log.put([answer] * 40)
    assert fates == {Fate.DROPPED: 350}
    log.close(2.0)
    assert fates == {Fate.DROPPED: 400}


def test_rows_after_the_end_are_dropped_and_counted(database: str, answer: LoggedAnswer, fates: Fates) -> None:
    log = PredictionLog(database, "h:1", fates.count)
    log.put([answer])
    log.close()
    log.put([answer] * 2)
    log.close()
    assert fates == {Fate.WRITTEN: 1, Fate.DROPPED: 2}


def test_a_database_that_never_answers_does_not_hold_up_the_end(answer: LoggedAnswer, fates: Fates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        log = PredictionLog(f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/x", "h:1", fates.count)
        log.put([answer] * 3)
        time.sleep(0.5)
        closer = threading.Thread(target=log.close, args=(0.2,))
        closer.start()
        closer.join(3.0)
        assert not closer.is_alive()
        assert fates == {Fate.DROPPED: 3}


def a_nul_in_the_request(answer: LoggedAnswer) -> LoggedAnswer:
    return answer._replace(request_id="a\x00b")


def half_a_surrogate(answer: LoggedAnswer) -> LoggedAnswer:
    return answer._replace(match_id="\ud800")


def a_nul_in_the_features(answer: LoggedAnswer) -> LoggedAnswer:
    return answer._replace(row=dataclasses.replace(answer.row, league="a\x00b"))


def an_unknown_role(answer: LoggedAnswer) -> LoggedAnswer:
    return answer._replace(role="spectator")  # type: ignore[arg-type]


def no_time_zone(answer: LoggedAnswer) -> LoggedAnswer:
    return answer._replace(predicted_at=dt.datetime(2026, 3, 6))


def features_that_break(answer: LoggedAnswer) -> LoggedAnswer:
    return answer._replace(row=dataclasses.replace(answer.row, values=np.empty(0)))


@pytest.mark.parametrize(
    "spoil",
    [
        a_nul_in_the_request,
        half_a_surrogate,
        a_nul_in_the_features,
        an_unknown_role,
        no_time_zone,
        features_that_break,
    ],
)
def test_a_refused_row_takes_no_good_one_with_it(
    database: str,
    answer: LoggedAnswer,
    fates: Fates,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[LoggedAnswer], LoggedAnswer],
) -> None:
    rows = numbered(answer, 100)
    bad = [0, 37, 38, 99]
    for i in bad:
        rows[i] = spoil(rows[i])
    log = PredictionLog(database, "h:1", fates.count)
    log.put(rows)
    log.close(20.0)
    assert [row[2] for row in stored(database)] == [f"xx_{i}" for i in range(100) if i not in bad]
    assert fates == {Fate.WRITTEN: 96, Fate.REFUSED: 4}
    assert caplog.text.count("a row is refused") == 1, "the reason is told once"


def test_rows_are_counted_once_whatever_becomes_of_them(database: str, answer: LoggedAnswer, fates: Fates) -> None:
    log = PredictionLog(database, "h:1", fates.count, capacity=300, patience=0.05)

    def burst(number: int) -> None:
        for i in range(20):
            log.put([answer._replace(request_id=f"{number}-{i}")] * 13 + [answer._replace(request_id="\x00")])
            time.sleep(0.01)

    threads = [threading.Thread(target=burst, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    with closed_to_all(database):
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    log.close(20.0)
    assert sum(fates.values()) == 3 * 20 * 14
    assert fates[Fate.WRITTEN] == len(stored(database))
    assert 0 < fates[Fate.REFUSED] <= 60
