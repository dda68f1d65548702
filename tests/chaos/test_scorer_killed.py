"""kill -9 of scorers and of the Bento under load: afterwards there is a prediction for the last tick of every match."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "streaming"))
from scoring_world import MATCHES, World, bento_of, eventually, fill_store, folder, tick, world_settings

from bentos.match_odds.deploying.runner import RunningBento
from betting_assets.embedded.ports import is_free
from betting_assets.modelling.markets import MARKETS
from betting_assets.sources.records import Trading
from betting_assets.streaming.messages import OddsTick
from betting_assets.warehouse.database import connect, with_database

pytestmark = pytest.mark.services
MAKERS = ("pinnacle", "bet365", "bwin", "ladbrokes")
KILLS = 4


@pytest.fixture
def url(postgres_url: str, _migrated_template: str) -> Iterator[str]:
    from feature_repo.store import forget

    with connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE killed TEMPLATE {_migrated_template}")
    made = with_database(postgres_url, "killed")
    fill_store(made)
    yield made
    forget()
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE killed WITH (FORCE)")


@pytest.fixture
def bento(url: str) -> Iterator[RunningBento]:
    with folder() as home, bento_of(home, url) as running:
        yield running


class Process:
    """`betting stream score`, started again after every kill."""

    def __init__(self, world: World, log: Path) -> None:
        self._environment = {**os.environ, **world.settings.as_environment()}
        self._log = log
        self._start()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._start()

    def stop(self) -> int:
        """SIGTERM; the code that it ends with."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def _start(self) -> None:
        command = [str(Path(sys.executable).parent / "betting"), "stream", "score"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)


class Load:
    """Ticks at a steady rate in a thread: late ones, suspensions and palpable errors among them."""

    def __init__(self, world: World) -> None:
        self._world, self._random, self._stop = world, random.Random(5), threading.Event()
        self.sent: list[OddsTick] = []
        self._sequence = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            ticks = [self._tick() for _ in range(4)]
            self._world.send(*ticks)
            self.sent += ticks

    def _tick(self) -> OddsTick:
        chance, market = self._random.random(), self._random.choice(list(MARKETS))
        self._sequence += 1
        fair = (2.5, 3.3, 3.0) if market == "1x2" else (1.95, 1.95)
        prices = tuple(round(price * self._random.uniform(0.97, 0.99), 3) for price in fair)
        changes: dict[str, object] = {"prices": prices, "sequence": self._sequence}
        if chance < 0.1:
            changes["taken_at"] = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=self._random.uniform(1, 60))
        elif chance < 0.2:
            changes["trading"] = Trading.SUSPENDED
        elif chance < 0.3:
            changes["prices"] = (19.0, *prices[1:])
        return tick(self._random.choice(MATCHES), self._random.choice(MAKERS), market=market, **changes)


def newest_books(sent: list[OddsTick]) -> dict[tuple[str, str], dict[str, OddsTick]]:
    """What the books are, worked out from all ticks by the order rule alone."""
    books: dict[tuple[str, str], dict[str, OddsTick]] = {}
    for one in sent:
        line = books.setdefault((one.match_id, one.market.value), {})
        known = line.get(one.bookmaker)
        if known is None or (one.taken_at, one.sequence) > (known.taken_at, known.sequence):
            line[one.bookmaker] = one
    return books


def check(world: World, sent: list[OddsTick]) -> None:
    newest, books = world.all_spoken_for(), newest_books(sent)
    world.saved()
    assert newest.keys() == books.keys()
    for key, line in books.items():
        told = newest[key]
        open_books = {name: one for name, one in line.items() if one.trading is Trading.OPEN}
        assert told.taken_at == max(one.taken_at for one in line.values())
        if not open_books or line.get("pinnacle", tick("x")).trading is not Trading.OPEN:
            assert told.withheld == "suspended_market"
        left_out = {book.bookmaker for book in told.excluded}
        assert line.keys() - open_books.keys() <= left_out
        for best, name in zip(told.best_prices, told.best_bookmakers, strict=True):
            assert best in line[name].prices
            assert name not in left_out
    for one in world.predictions():
        assert one.withheld is None or one.best_prices == one.edges == ()
        assert all(price < 19.0 for price in one.best_prices)
    with psycopg.connect(world.url) as connection:
        rows = connection.execute(
            "SELECT match_id, market, bookmaker, prices, taken_at, sequence FROM stream.current_book"
        ).fetchall()
    assert {(m, k, b): (tuple(prices), at, n) for m, k, b, prices, at, n in rows} == {
        (*key, name): (one.prices, one.taken_at, one.sequence)
        for key, line in books.items()
        for name, one in line.items()
    }
    check_features(world)


def check_features(world: World) -> None:
    """The online row of each match is the newest of the offline ones: no feature was moved back."""
    from feature_repo.operations import read_features
    from feature_repo.store import feature_store

    store = feature_store(world.url, "wall")
    online = read_features(store, {"match_market": ["market_home", "market_over"]}, MATCHES)
    with psycopg.connect(world.url) as connection:
        rows = connection.execute(
            """SELECT DISTINCT ON (match_id) match_id, event_timestamp, market_home, market_over
               FROM features.match_market ORDER BY match_id, event_timestamp DESC"""
        ).fetchall()
    offline = {match_id: (at, home, over) for match_id, at, home, over in rows}
    for place, match_id in enumerate(MATCHES):
        if match_id in offline:
            at, *numbers = offline[match_id]
            told = online.event_times["match_market"][place].astype("datetime64[us]").item().replace(tzinfo=dt.UTC)
            assert told == at
            known = [None if value != value else value for value in online.numbers[place].tolist()]
            assert known == numbers


@pytest.fixture
def world(kafka_servers: str, url: str, bento: RunningBento, tmp_path: Path) -> Iterator[World]:
    made = World(world_settings(kafka_servers, url, tmp_path, bento.grpc_port, 0), url, [])
    yield made
    made.close()


@contextlib.contextmanager
def scoring(world: World, log: Path) -> Iterator[Process]:
    process = Process(world, log)
    try:
        yield process
        assert process.stop() == 0, log.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process._process.kill()


def progress(world: World) -> int:
    with psycopg.connect(world.url) as connection:
        row = connection.execute("SELECT coalesce(sum(next_offset), 0) FROM stream.position").fetchone()
    return int(row[0]) if row else 0


def test_kill_9_of_the_scorer_again_and_again_loses_no_last_tick(world: World, tmp_path: Path) -> None:
    with scoring(world, tmp_path / "score.log") as process:
        load = Load(world)
        try:
            for number in range(KILLS):
                before = progress(world)
                eventually(lambda before=before: progress(world) > before)
                time.sleep(0.13 * number)  # somewhere else between two checkpoints
                process.kill()
        finally:
            load.end()
        check(world, load.sent)


def test_kill_9_of_the_bento_again_and_again_loses_no_last_tick(
    world: World, bento: RunningBento, tmp_path: Path
) -> None:
    with scoring(world, tmp_path / "score.log"):
        load = Load(world)
        try:
            for _ in range(2):
                before = progress(world)
                eventually(lambda before=before: progress(world) > before)
                assert bento.pid is not None
                tree = [psutil.Process(bento.pid), *psutil.Process(bento.pid).children(recursive=True)]
                for one in tree:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.kill()
                bento.stop(0.1)
                # A client that looks for it may have got its very port as its own, for a moment.
                eventually(lambda: is_free(bento.grpc_port))
                bento.start()
        finally:
            load.end()
        check(world, load.sent)
