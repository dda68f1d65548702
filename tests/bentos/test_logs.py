"""The worker's log: a JSON object a line, with the request's id, without secrets, payloads and storms."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.match_odds.contract import ScoreRequest
from bentos.match_odds.errors import BadRequest, Overloaded, Unavailable
from bentos.match_odds.front.api_keys import new_key
from bentos.match_odds.front.request_log import SLOW, Refusals, note_slow
from bentos.match_odds.observing.logs import (
    ACCESS,
    HAVE_HANDLERS,
    OURS,
    JsonLines,
    Restraint,
    current_request_id,
    harmless,
    set_up_logs,
)
from betting_assets.warehouse.database import connect

logger = logging.getLogger("bentos.match_odds.test")


class Log(io.StringIO):
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    """What the log says, after `set_up_logs`; logging is afterwards as it was."""
    loggers = [logging.getLogger(name) for name in (None, *OURS, *ACCESS, *HAVE_HANDLERS)]
    before = [(one, one.handlers, one.level, one.propagate, one.disabled) for one in loggers]
    stream = Log()
    try:
        set_up_logs(stream)
        yield stream
    finally:
        logging.captureWarnings(False)
        for one, handlers, level, propagate, disabled in before:
            one.handlers, one.propagate, one.disabled = handlers, propagate, disabled
            one.setLevel(level)


def _format(message: str, **extra: object) -> str:
    record = logging.makeLogRecord({"msg": message, "name": "x", "levelno": 20, "levelname": "INFO", **extra})
    return JsonLines().format(record)


@given(st.text(), st.one_of(st.text(), st.floats(), st.integers(), st.lists(st.text()), st.none()))
def test_whatever_is_said_is_one_line_of_json(message: str, value: object) -> None:
    line = _format(message, extra_field=value)
    assert "\n" not in line
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_line_names_its_request_and_nobody_elses(log: Log) -> None:
    async def work(request_id: str) -> None:
        current_request_id.set(request_id)
        await asyncio.sleep(0)
        logger.info("did %s", request_id, extra={"rows": 3})

    async def all_at_once() -> None:
        await asyncio.gather(*(asyncio.create_task(work(f"r{i}")) for i in range(4)))

    asyncio.run(all_at_once())
    logger.warning("idle")

    *of_requests, idle = log.lines()
    assert [(line["message"], line["request_id"], line["rows"]) for line in of_requests] == [
        (f"did r{i}", f"r{i}", 3) for i in range(4)
    ]
    assert "request_id" not in idle
    assert (idle["level"], idle["logger"], idle["message"]) == ("warning", "bentos.match_odds.test", "idle")
    assert idle["time"].endswith("Z")


def test_all_loggers_of_the_process_speak_through_one_handler(log: Log) -> None:
    logging.getLogger("bentoml").addHandler(logging.StreamHandler(io.StringIO()))
    set_up_logs(log)
    logging.getLogger("bentoml.worker").info("one")
    logging.getLogger("uvicorn.error").warning("two")
    logging.getLogger("some.library").warning("three")
    logging.getLogger("some.library").info("too much")
    logging.getLogger("uvicorn.access").warning("GET /v1/predict")
    assert [line["message"] for line in log.lines()] == ["one", "two", "three"]
    assert logging.getLogger("bentoml").handlers == []


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"], exclude_characters="'\"\\"), min_size=9))
def test_no_password_and_no_key_is_said(password: str) -> None:
    key = new_key()
    told = harmless(
        f"cannot connect to postgresql://quant:{password}@db.example:5432/odds, "
        f"dsn user=quant password={password} host=db, header Authorization: Bearer {key}, given {key}"
    )
    assert password not in told.replace("***", "")
    assert key not in told
    assert "quant" in told
    assert "db.example" in told or "@" in password


def _database_error(url: str, features: str) -> psycopg.Error:
    copy = "COPY serving.prediction_log (request_id, features) FROM STDIN"
    with connect(url) as connection, pytest.raises(psycopg.Error) as refused:  # noqa: SIM117
        with connection.cursor() as cursor, cursor.copy(copy) as rows:
            rows.write(f"r\t{features}\n")
    return refused.value


def test_an_error_of_the_database_does_not_quote_the_row(log: Log, database: str) -> None:
    value = f"{1600 + 23.75}"
    error = _database_error(database, f'{{"home_elo": {value}')
    assert value in str(error)

    logger.error("rows refused: %s", error, exc_info=error)
    logger.error("rows refused: %s", " ".join(str(error).split()))

    assert value not in log.getvalue()
    assert [line["message"] for line in log.lines()] == ["rows refused: invalid input syntax for type json"] * 2
    assert "psycopg.errors" in log.lines()[0]["traceback"]


def test_an_error_of_validation_does_not_quote_the_request(log: Log) -> None:
    value = f"{1600 + 23.75}"
    with pytest.raises(ValueError, match=value) as refused:
        ScoreRequest.model_validate({"market": "1x2", "rows": [{"features": {"home_elo": f"{value}\n"}}]})

    logger.error("request failed: %s", refused.value, exc_info=refused.value)

    assert value not in log.getvalue()
    assert "ValidationError" in log.lines()[0]["traceback"]


@given(st.lists(st.tuples(st.floats(0, 0.7), st.sampled_from([1, 2])), max_size=200), st.integers(1, 5))
def test_a_storm_is_bounded_and_counted(events: list[tuple[float, int]], most: int) -> None:
    now = 0.0
    restraint = Restraint(most, clock=lambda: now)
    passed: dict[int, list[tuple[float, int]]] = {1: [], 2: []}
    said = {1: 0, 2: 0}
    for after, place in [*events, (5.0, 1), (0.0, 2)]:
        now += after
        record = logging.makeLogRecord({"pathname": "file.py", "lineno": place})
        said[place] += 1
        if restraint.filter(record):
            passed[place].append((now, getattr(record, "suppressed", 0)))
    for place, lines in passed.items():
        assert len(lines) + sum(suppressed for _, suppressed in lines) == said[place]
        for i in range(len(lines) - 2 * most):  # any second touches two of the counted ones at most
            assert lines[i + 2 * most][0] - lines[i][0] >= 1.0


def test_overload_is_counted_in_full_and_logged_in_part(log: Log) -> None:
    shed: list[str] = []
    refusals = Refusals(shed.append)
    for _ in range(1000):
        refusals.refused("grpc", Overloaded("2048 rows wait already"))
    assert shed == ["grpc"] * 1000
    assert 1 <= len(log.lines()) < 100
    assert log.lines()[0]["message"] == "refused: 2048 rows wait already"
    assert (log.lines()[0]["protocol"], log.lines()[0]["status"]) == ("grpc", 503)


def test_what_is_the_clients_fault_is_not_logged(log: Log) -> None:
    shed: list[str] = []
    refusals = Refusals(shed.append)
    refusals.refused("http", BadRequest("rows.0.features.home_elo: must be a finite number"))
    assert log.lines() == []
    refusals.refused("http", Unavailable("the online store cannot be reached"))
    assert [line["message"] for line in log.lines()] == ["refused: the online store cannot be reached"]
    assert shed == []


def test_only_slow_requests_are_noted(log: Log) -> None:
    note_slow("http", "predict", SLOW / 2)
    assert log.lines() == []
    note_slow("http", "predict", SLOW * 2)
    (line,) = log.lines()
    assert (line["message"], line["protocol"], line["method"]) == ("slow: 1000 ms", "http", "predict")
