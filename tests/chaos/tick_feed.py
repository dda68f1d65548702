"""Load for the kill tests: a feed of numbered ticks that knows what the broker acknowledged."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import options, producer
from betting_assets.streaming.topics import ODDS_TICKS, create_topics
from betting_assets.warehouse.database import DatabaseError, connect

MATCHES = [f"e0_2026-11-21_home-{n}_away-{n}" for n in range(20)]
POISON_EVERY = 97
PAUSE = 0.02
BURST = 20


class Feed:
    """Sends ticks from a thread, about a thousand a second; every 97th is poison. Use as a context manager."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.acknowledged: set[int] = set()
        self._stop = threading.Event()
        create_topics(settings)
        self._client = producer(settings, delivery_timeout_ms=120_000, request_timeout_ms=5_000, linger_ms=5)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(PAUSE):
            for _ in range(BURST):
                try:
                    future = self._client.send(ODDS_TICKS.name(self.settings), tick(number), key_of(number))
                except KafkaError:  # its memory is full, as the broker is away: the feed must wait
                    continue
                future.add_callback(lambda _, number=number: self.acknowledged.add(number))
                number += 1

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(120)
        self._client.close(timeout=120)


def key_of(number: int) -> bytes:
    return MATCHES[number % len(MATCHES)].encode()


def tick(number: int) -> bytes:
    content = {
        "match_id": MATCHES[number % len(MATCHES)],
        "bookmaker": "pinnacle",
        "market": "1x2",
        "line": 0.0,
        "prices": [2.1, 3.4, 0.5 if number % POISON_EVERY == 0 else 3.9],
        "taken_at": dt.datetime.now(dt.UTC).isoformat(),
        "sequence": number,
        "source": "chaos",
    }
    return json.dumps(content).encode()


def log_of(settings: Settings) -> dict[tuple[int, int], int]:
    """What the topic holds, by an independent reading: partition and offset to the tick's number."""
    consumer = KafkaConsumer(**options(settings), enable_auto_commit=False)
    try:
        topic = ODDS_TICKS.name(settings)
        partitions = [TopicPartition(topic, n) for n in range(settings.topic_partitions)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: dict[tuple[int, int], int] = {}

        def read() -> bool:
            for some in consumer.poll(timeout_ms=500).values():
                found.update({(one.partition, one.offset): json.loads(one.value)["sequence"] for one in some})
            return all(consumer.position(one) >= ends[one] for one in partitions)

        wait_until(read)
        return found
    finally:
        consumer.close(autocommit=False)


def landed(settings: Settings) -> list[tuple[int, int, int]]:
    """Partition, offset and number of each landed tick and dead letter, with repetitions if there are any."""
    with connect(url(settings)) as conn:
        good = conn.execute('SELECT partition, "offset", sequence FROM stream.odds_tick').fetchall()
        dead = conn.execute('SELECT partition, "offset", payload FROM stream.dead_letter').fetchall()
    return sorted(good + [(p, o, json.loads(payload)["sequence"]) for p, o, payload in dead])


def check_all_landed(feed: Feed) -> None:
    """The set of landed ticks is the set that the broker holds, which is what it acknowledged; nothing is doubled."""
    log = log_of(feed.settings)
    wait_until(lambda: count(feed.settings) >= len(log))
    assert landed(feed.settings) == sorted((*where, number) for where, number in log.items())
    numbers = list(log.values())
    assert len(numbers) == len(set(numbers))
    assert feed.acknowledged
    assert feed.acknowledged <= set(numbers)
    with connect(url(feed.settings)) as conn:
        wrong = conn.execute("SELECT count(*) FROM stream.dead_letter WHERE reason <> 'price_out_of_range'").fetchone()
        assert wrong == (0,)


def count(settings: Settings) -> int:
    """How many are landed or dead; 0 while the database is away."""
    statement = "SELECT (SELECT count(*) FROM stream.odds_tick) + (SELECT count(*) FROM stream.dead_letter)"
    try:
        with connect(url(settings)) as conn:
            row = conn.execute(statement).fetchone()
    except DatabaseError:
        return 0
    return int(row[0]) if row else 0


def url(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


class LanderProcess:
    """`betting stream land` in a process of its own."""

    def __init__(self, settings: Settings, log: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BETTING_")}
        command = [sys.executable, "-c", "from betting_assets.cli import main; main()", "stream", "land"]
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=inherited | settings.as_environment(), stdout=output, stderr=output
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
