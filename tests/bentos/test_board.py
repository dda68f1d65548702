"""/board/data and /board/events on a real database: what was landed is told, to those who may ask, and no more."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from board_service import SERVING, BoardService
from planted_board import NOW, Log, add_match, plant_match_days

from bentos.match_odds.board import board as board_module
from bentos.match_odds.board import reader as reader_module
from bentos.match_odds.board import routes
from bentos.match_odds.board.contract import BoardData
from bentos.match_odds.board.page import FILES, PATHS
from bentos.match_odds.front.api_keys import ApiKeys, key_line, new_key
from bentos.match_odds.front.http_front import Front
from betting_assets.warehouse.database import connect

pytestmark = pytest.mark.services


@pytest.fixture
def service(database: str) -> Iterator[BoardService]:
    with BoardService(database) as running:
        yield running


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with connect(database, autocommit=True) as conn:
        yield conn


def until(holds: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < end, f"still not so: {what}"
        time.sleep(0.05)
    return value


def data(service: BoardService) -> BoardData:
    answer = httpx.get(f"{service.url}/board/data", timeout=60)
    assert answer.status_code == 200, answer.text
    return BoardData.model_validate_json(answer.content)


Event = tuple[str, BoardData]


@contextmanager
def events(service: BoardService) -> Iterator[Iterator[Event]]:
    """Those that are no heartbeats."""
    with httpx.stream("GET", f"{service.url}/board/events", timeout=60) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        yield _parsed(answer)


def _parsed(answer: httpx.Response) -> Iterator[Event]:
    kind = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, BoardData.model_validate_json(line.removeprefix("data: "))


def test_the_newest_prediction_of_every_market_is_told_once_with_its_match(
    service: BoardService, conn: psycopg.Connection
) -> None:
    add_match(conn, "known", "Home", "Away", kickoff=NOW + dt.timedelta(hours=1))
    log = Log(conn)
    log.land("known", market_probabilities=[0.5, 0.3, 0.2])
    log.land("known", market_probabilities=[0.4, 0.3, 0.3], edges=[0.02, -0.1, -0.1])
    log.land("known", tick=0, market_probabilities=[0.5, 0.3, 0.2], scored_at=NOW + dt.timedelta(seconds=9))
    log.land("known", "over_under")
    told = data(service)
    assert [match.home for match in told.matches] == ["Home"]
    one, other = sorted(told.markets, key=lambda market: market.market)
    assert (one.market_probabilities, one.edges) == ((0.4, 0.3, 0.3), (0.02, -0.1, -0.1))
    assert (other.market, other.line, other.selections) == ("over_under", 2.5, ("over", "under"))
    assert told.serving == SERVING
    assert told.status.state == "live"


def test_what_is_landed_later_reaches_an_open_stream_and_only_that(
    service: BoardService, conn: psycopg.Connection
) -> None:
    add_match(conn, "a", "A", "B")
    add_match(conn, "b", "C", "D")
    log, elsewhere, later = Log(conn), Log(conn, partition=5), Log(conn, epoch=2)
    log.land("a")
    log.land("b")
    with events(service) as stream:
        kind, whole = next(stream)
        assert kind == "board"
        assert {market.match_id for market in whole.markets} == {"a", "b"}
        for number, (source, match_id) in enumerate([(log, "a"), (elsewhere, "new"), (later, "b")], start=1):
            source.land(match_id, tick=100 + number, market_probabilities=[0.9 - number / 10, 0.05, 0.05])
            kind, change = next(stream)
            assert kind == "change"
            assert [market.match_id for market in change.markets] == [match_id]
            assert change.markets[0].market_probabilities[0] == pytest.approx(0.9 - number / 10)
            assert [match.match_id for match in change.matches] == (["new"] if match_id == "new" else [])


def test_a_match_that_nobody_knows_is_shown_by_its_id_or_as_its_ticks_tell_it(
    service: BoardService, conn: psycopg.Connection
) -> None:
    log = Log(conn)
    log.land("nobody")
    log.land("told")
    fixture = {"league": "L9", "home": "H", "away": "A", "match_date": "2026-03-07", "sport": "football"}
    tick: dict[str, Any] = {"match_id": "told", "bookmaker": "b", "market": "1x2", "prices": [2.0, 3.0, 4.0]}
    columns = 'epoch, partition, "offset", match_id, bookmaker, market, line, prices, trading, in_play, taken_at'
    conn.execute(
        f"INSERT INTO stream.odds_tick ({columns}, sequence, source, fixture, produced_at) VALUES (1, 0, 0, "  # noqa: S608
        "%(match_id)s, %(bookmaker)s, %(market)s, 0, %(prices)s, 'open', false, now(), 0, 'x', %(fixture)s, now())",
        tick | {"fixture": json.dumps(fixture | {"kickoff": (NOW + dt.timedelta(hours=1)).isoformat()})},
    )
    found = {match.match_id: match for match in data(service).matches}
    assert (found["nobody"].home, found["nobody"].kickoff) == (None, None)
    assert (found["told"].home, found["told"].league) == ("H", "L9")
    assert found["told"].kickoff == NOW + dt.timedelta(hours=1)


def test_matches_that_are_over_are_not_shown_by_the_clock_of_the_data_where_they_are_replayed(
    database: str, conn: psycopg.Connection
) -> None:
    long_ago = dt.datetime(2021, 3, 6, 12, tzinfo=dt.UTC)
    log = Log(conn)
    for match_id, hours in (("past", -4), ("just", -2), ("next", 2)):
        add_match(conn, match_id, "A", "B", kickoff=long_ago + dt.timedelta(hours=hours))
        log.land(match_id, taken_at=long_ago, scored_at=long_ago)
    with BoardService(database) as service:
        assert data(service).matches == ()
    with BoardService(database, replayed=True) as service, events(service) as stream:
        whole = next(stream)[1]
        assert {match.match_id for match in whole.matches} == {"just", "next"}
        assert (whole.clock, whole.replayed) == (long_ago, True)
        log.land("next", taken_at=long_ago + dt.timedelta(hours=2), scored_at=long_ago + dt.timedelta(hours=2))
        change = next(stream)[1]
        assert change.gone == ("just",)
        assert change.clock == long_ago + dt.timedelta(hours=2)


def test_the_movement_of_a_market_is_its_changes_oldest_first(service: BoardService, conn: psycopg.Connection) -> None:
    log = Log(conn)
    for probability in [0.1] * 5 + [0.2, 0.3, 0.3, 0.25]:
        log.land("a", market_probabilities=[probability, 0.5, 0.5 - probability])
    market = data(service).markets[0]
    assert market.history is not None
    assert [point[1] for point in market.history] == [0.1, 0.2, 0.3, 0.25]
    assert market.history[0][0] == NOW.timestamp()


def test_more_than_can_be_followed_is_read_anew(
    service: BoardService, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "TOO_MANY", 3)
    log = Log(conn)
    log.land("a")
    with events(service) as stream:
        next(stream)
        with conn.transaction():
            for _ in range(5):
                log.land("a", market_probabilities=[0.8, 0.1, 0.1])
        kind, whole = next(stream)
        assert (kind, whole.markets[0].market_probabilities[0]) == ("board", 0.8)


def test_a_new_deployment_is_told_without_a_tick(service: BoardService) -> None:
    with events(service) as stream:
        assert next(stream)[1].status.state == "empty"
        service.serving = SERVING.model_copy(update={"deployment": 5, "models": {"1x2": "4"}})
        change = next(stream)[1]
        assert (change.serving.deployment, change.serving.models) == (5, {"1x2": "4"})


def test_while_the_database_is_away_the_board_stays_and_says_so_and_the_service_is_ready(
    service: BoardService, conn: psycopg.Connection, database: str, postgres_url: str
) -> None:
    Log(conn).land("a")
    name = conn.info.dbname
    conn.close()
    with events(service) as stream, connect(postgres_url, autocommit=True) as admin:
        next(stream)
        try:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            change = next(stream)[1]
            assert (change.status.state, change.status.detail) == ("away", "the database cannot be reached")
            assert [market.match_id for market in data(service).markets] == ["a"]
            assert httpx.get(f"{service.url}/readyz").status_code == 200
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        kind, whole = next(stream)
        assert (kind, whole.status.state) == ("board", "live")


def test_a_database_of_an_older_version_is_told_in_one_line(service: BoardService, conn: psycopg.Connection) -> None:
    conn.execute("DROP TABLE stream.prediction")
    status = data(service).status
    assert status.state == "away"
    assert status.detail is not None
    assert "betting up" in status.detail


def test_without_a_database_there_is_no_board_and_one_line_says_why() -> None:
    with BoardService(None) as service:
        for path in ("/board/data", "/board/events"):
            answer = httpx.get(service.url + path)
            assert answer.status_code == 503
            assert "BETTING_DATABASE_URL" in answer.json()["error"]


def test_streams_beyond_the_bound_are_sent_away(service: BoardService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "MOST_CLIENTS", 2)
    with events(service) as one, events(service) as two:
        next(one), next(two)
        answer = httpx.get(f"{service.url}/board/events")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    until(lambda: service.board.clients == 0, "streams that were closed are forgotten")
    with events(service) as three:
        assert next(three)[0] == "board"


def test_nothing_is_read_when_nobody_looks(database: str, conn: psycopg.Connection) -> None:
    def readers() -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'betting board' AND datname = %s"
        row = conn.execute(query, (conn.info.dbname,)).fetchone()
        assert row is not None
        return int(row[0])

    with BoardService(database, idle=0.3) as service:
        assert readers() == 0
        with events(service) as one, events(service) as two:
            next(one), next(two)
            assert readers() == 1
        until(lambda: readers() == 0, "the reader ends")
        Log(conn).land("a")
        assert [market.match_id for market in data(service).markets] == ["a"]
    until(lambda: readers() == 0, "the reader ends with the service")


def test_data_and_events_need_a_key_where_keys_are_asked_for_and_the_page_holds_no_data(
    database: str, conn: psycopg.Connection, tmp_path: Path
) -> None:
    Log(conn).land("secret-match")
    key, file = new_key(), tmp_path / "keys"
    file.write_text(key_line("desk", key))
    file.chmod(0o600)
    with BoardService(database, ApiKeys.load(file)) as service:
        for path in ("/board/data", "/board/events"):
            for headers in ({}, {"authorization": "Bearer bk_wrong"}):
                assert httpx.get(service.url + path, headers=headers).status_code == 401
            assert httpx.get(f"{service.url}{path}?key={key}").status_code == 401
        assert service.board.is_reading is False
        allowed = httpx.get(f"{service.url}/board/data", headers={"authorization": f"Bearer {key}"})
        assert "secret-match" in allowed.text
        for path in PATHS:
            page = httpx.get(service.url + path)
            assert page.status_code == 200
            assert "secret-match" not in page.text


def test_the_page_is_strict_and_kept_by_browsers_until_it_changes(service: BoardService) -> None:
    for path in PATHS:
        answer = httpx.get(service.url + path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-cache"
        again = httpx.get(service.url + path, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert httpx.get(service.url + path, headers={"if-none-match": '"other"'}).status_code == 200
        assert httpx.post(service.url + path).status_code == 405
    for path in ("/board/", "/board/../worker.py", "/board/%2e%2e/board.py", "/board/board.py"):
        assert httpx.get(service.url + path).status_code == 404


def test_every_file_of_the_page_is_served_and_none_refers_elsewhere_or_writes_markup() -> None:
    assert {name for name, _ in PATHS.values()} == {file.name for file in FILES.iterdir()}
    for file in FILES.iterdir():
        text = file.read_text("utf-8").replace('"http://www.w3.org/2000/svg"', "")
        assert not any(found in text for found in ("http://", "https://", "innerHTML", "outerHTML", "insertAdjacent"))
        assert not any(found in text for found in ("<script>", "<style", " style=", " onclick=", "eval("))


class Slow:
    """A client whose connection takes nothing any more after the first event."""

    def __init__(self, service: BoardService) -> None:
        self.front = Front(None, service.worker)  # type: ignore[arg-type]
        self.sent: list[dict[str, Any]] = []

    async def look(self) -> None:
        scope = {"type": "http", "path": "/board/events", "method": "GET", "headers": [], "query_string": b""}
        await self.front(scope, self._receive, self._send)  # type: ignore[arg-type]

    async def _receive(self) -> dict[str, Any]:
        await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if len(self.sent) > 1:
            await asyncio.sleep(3600)


def test_a_client_that_takes_nothing_is_dropped(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "SLOW", 0.2)
    service = BoardService(database)
    slow = Slow(service)

    async def scenario() -> None:
        try:
            await asyncio.wait_for(slow.look(), 60)
        finally:
            service.board.close()

    asyncio.run(scenario())
    assert [message["type"] for message in slow.sent] == ["http.response.start", "http.response.body"]
    assert slow.sent[-1]["more_body"] is True
    assert service.board.clients == 0


def test_a_client_behind_all_kept_changes_is_cut_and_nothing_was_kept_for_it(
    database: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_module, "KEPT", 2)
    monkeypatch.setattr(reader_module, "POLL", 0.01)
    service, log = BoardService(database), Log(conn)

    async def scenario() -> None:
        first, second = service.board.events(), service.board.events()
        await anext(first)
        await anext(second)
        for number in range(5):
            log.land("a", market_probabilities=[number / 10, 0.5, 0.5 - number / 10])
            heard = await anext(second)
            assert f'"market_probabilities":[{number / 10},'.encode() in heard
        with pytest.raises(StopAsyncIteration):
            await anext(first)
        await second.aclose()
        service.board.close()

    asyncio.run(scenario())


def test_a_service_that_stops_ends_its_streams(database: str) -> None:
    ends: list[str] = []

    def watch(service: BoardService) -> None:
        with events(service) as stream:
            for kind, _ in stream:
                ends.append(kind)
        ends.append("ended")

    with BoardService(database) as service:
        thread = threading.Thread(target=watch, args=(service,))
        thread.start()
        until(lambda: ends, "the stream began")
    thread.join(30)
    assert ends == ["board", "ended"]


def test_a_board_of_many_matches_is_read_as_a_whole(service: BoardService, database: str) -> None:
    ids = plant_match_days(database, matches=24)
    told = data(service)
    assert {match.match_id for match in told.matches} == set(ids)
    assert len(told.markets) == 48
    assert any(market.withheld == "suspended_market" for market in told.markets)
    assert any(market.excluded for market in told.markets)
