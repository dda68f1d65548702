"""The clients of hot_path.py: ticks of all books at a steady rate, and how long each waited for its prediction."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from betting_assets.modelling.markets import MARKETS

BOOKMAKERS = ("pinnacle", "bet365", "betvictor", "bwin", "ladbrokes", "unibet", "williamhill", "zeturf")
FILL_RATE = 400
PAUSE = 0.001
"""Shortest sleep of the producer: ticks that are due within it go out together."""


class Meter:
    """Consumes predictions, and works out how long each tick waited for one."""

    def __init__(self, servers: str, topic: str) -> None:
        from confluent_kafka import Consumer, TopicPartition

        self._consumer = Consumer(
            {"bootstrap.servers": servers, "group.id": "meter", "fetch.wait.max.ms": 100, "enable.auto.commit": False}
        )
        partitions = self._consumer.list_topics(topic, timeout=30).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
        self._ahead: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
        self.latencies: list[float] = []
        self.predictions = self.withheld = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def sent(self, key: tuple[str, str], offset: int, at: float) -> None:
        """A tick was produced at `at`; its prediction may have come before this was told."""
        with self._lock:
            for spoken, seen in self._ahead[key]:
                if spoken >= offset:
                    self.latencies.append(seen - at)
                    return
            self._waiting[key].append((offset, at))

    @property
    def unspoken(self) -> int:
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def begin(self) -> None:
        with self._lock:
            self._ahead.clear()
            self.latencies, self.predictions, self.withheld = [], 0, 0

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._ends.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self._take(json.loads(message.value()), time.monotonic())

    def _take(self, told: dict[str, Any], now: float) -> None:
        key, offset = (told["match_id"], told["market"]), told["tick_offset"]
        with self._lock:
            self.predictions += 1
            self.withheld += told["withheld"] is not None
            self._ahead[key].append((offset, now))
            left = []
            for waiting, at in self._waiting[key]:
                if waiting <= offset:
                    self.latencies.append(now - at)
                else:
                    left.append((waiting, at))
            self._waiting[key] = left


@dataclass(frozen=True)
class _Due:
    """A tick that is ready but for its time."""

    key: tuple[str, str]
    seconds: float
    head: bytes


class Ticker:
    """Produces ticks of all books of all matches, prices walking a little. They are made beforehand: it shares the
    machine with what it measures.
    """

    def __init__(self, servers: str, topic: str, ids: Sequence[str], meter: Meter) -> None:
        from confluent_kafka import Producer

        self._producer = Producer(
            {"bootstrap.servers": servers, "linger.ms": 2, "acks": "all", "partitioner": "murmur2_random"}
        )
        self._topic, self._ids, self._meter = topic, ids, meter
        self._rng = np.random.default_rng(7)
        self._fair = {
            (match_id, market): self._rng.dirichlet(np.full(len(spec.selections), 12.0))
            for match_id in ids
            for market, spec in MARKETS.items()
        }
        self._sequence = 0

    def every_book(self) -> None:
        """Each book once, at a rate that is easily kept."""
        books = [(m, market, maker) for m in self._ids for market in MARKETS for maker in BOOKMAKERS]
        self._send_all(self._made(books, FILL_RATE))

    def run(self, rate: int, seconds: float) -> tuple[int, float]:
        """Ticks of random books; returns how many, and their rate."""
        count = int(rate * seconds)
        picks = self._rng.integers(0, [len(self._ids), len(MARKETS), len(BOOKMAKERS)], (count, 3)).tolist()
        markets = list(MARKETS)
        ticks = self._made([(self._ids[m], markets[k], BOOKMAKERS[b]) for m, k, b in picks], rate)
        began = time.monotonic()
        self._send_all(ticks)
        return count, count / (time.monotonic() - began)

    def _made(self, books: Sequence[tuple[str, str, str]], rate: int) -> list[_Due]:
        return [_Due((m, market), i / rate, self._head(m, market, maker)) for i, (m, market, maker) in enumerate(books)]

    def _head(self, match_id: str, market: str, maker: str) -> bytes:
        """A message up to its time, which comes last."""
        self._sequence += 1
        chances = self._fair[match_id, market] * np.exp(
            self._rng.normal(scale=0.02, size=len(MARKETS[market].selections))
        )
        tick = {
            "schema_version": 1,
            "match_id": match_id,
            "bookmaker": maker,
            "market": market,
            "line": MARKETS[market].line,
            "prices": (0.95 / (chances / chances.sum())).round(3).clip(1.01, 500.0).tolist(),
            "sequence": self._sequence,
            "source": "benchmark",
        }
        return json.dumps(tick).encode()[:-1]

    def _send_all(self, ticks: Sequence[_Due]) -> None:
        start = time.monotonic()
        for tick in ticks:
            while (early := start + tick.seconds - time.monotonic()) > 0:
                self._producer.poll(0)
                time.sleep(max(PAUSE, early if early < 0.005 else 0.005))
            self._send(tick)
        self._producer.flush(60)

    def _send(self, tick: _Due) -> None:
        at = time.monotonic()
        value = tick.head + f', "taken_at": "{dt.datetime.now(dt.UTC).isoformat()}"}}'.encode()

        def acknowledged(error: Any, message: Any) -> None:
            if error is not None:
                raise RuntimeError(f"Kafka took no tick: {error}")
            self._meter.sent(tick.key, message.offset(), at)

        self._producer.produce(self._topic, key=tick.key[0].encode(), value=value, on_delivery=acknowledged)
