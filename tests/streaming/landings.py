"""A lander in a thread, messages for it, and what it has landed."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from messages_by_hand import MATCH, encoded

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import producer
from betting_assets.streaming.landing.lander import Lander
from betting_assets.streaming.topics import ODDS_TICKS, Topic, create_topics
from betting_assets.warehouse.database import connect

Where = tuple[int, int]
"""Partition and offset of a message."""


class Landing:
    """A running lander, and what it said."""

    def __init__(self, settings: Settings, worker: str, patience: float) -> None:
        self.said: list[str] = []
        self.error: BaseException | None = None
        self.stop = threading.Event()
        self.lander = Lander(settings, url(settings), self.said.append, worker, patience)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(60)
        assert not self.thread.is_alive()

    def _run(self) -> None:
        try:
            self.lander.run(self.stop)
        except BaseException as error:  # noqa: BLE001 - kept for the test, which looks at it
            self.error = error


@contextmanager
def landing(settings: Settings, worker: str = "test", patience: float = 60.0) -> Iterator[Landing]:
    one = Landing(settings, worker, patience)
    try:
        yield one
    finally:
        one.end()


def land(settings: Settings, until: Callable[[], bool]) -> None:
    """Land until the condition holds; an error of the lander is the test's."""
    with landing(settings) as one:
        wait_until(lambda: until() or one.error is not None)
    if one.error:
        raise one.error


def url(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


def send(
    settings: Settings,
    contents: Iterable[Any],
    topic: Topic = ODDS_TICKS,
    *,
    key: bytes | None = MATCH.encode(),
    partition: int | None = None,
    **more: Any,
) -> list[Where]:
    """Send messages (dictionaries, bytes or None) to a topic, which is made if need be; returns where they are."""
    create_topics(settings)
    client = producer(settings, linger_ms=5)
    name = topic.name(settings)
    try:
        sent = [
            client.send(name, None if one is None else encoded(one), key, partition=partition, **more)
            for one in contents
        ]
        return [(one.partition, one.offset) for one in (future.get(timeout=30) for future in sent)]
    finally:
        client.close()


def query(settings: Settings, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with connect(url(settings)) as conn:
        return conn.execute(statement, values or None).fetchall()


def execute(settings: Settings, *statements: str) -> None:
    with connect(url(settings), autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement)


def landed(settings: Settings, table: str = "stream.odds_tick") -> list[Where]:
    """Where the landed messages stood, with repetitions if there are any."""
    return sorted(query(settings, f'SELECT partition, "offset" FROM {table}'))  # noqa: S608


def dead(settings: Settings) -> dict[Where, str]:
    """Reasons of the dead letters."""
    return {
        (p, o): reason for p, o, reason in query(settings, 'SELECT partition, "offset", reason FROM stream.dead_letter')
    }


def dealt_with(settings: Settings, number: int) -> Callable[[], bool]:
    """Whether so many messages, or more, are landed or dead."""

    def enough() -> bool:
        tables = ("odds_tick", "match_result", "prediction", "dead_letter")
        return sum(len(landed(settings, f"stream.{table}")) for table in tables) >= number

    return enough


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def just_now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()
