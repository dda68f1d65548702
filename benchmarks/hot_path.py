"""How long from a tick to the prediction that speaks for it, through the real scorer and the real Bento.

python benchmarks/hot_path.py [--quick] [--servers HOST:PORT] [--json FILE]

300 matches with two markets of eight bookmakers, full-size models (300 trees, 60 features), Apache Kafka and PostgreSQL
with fsync on, `betting stream score` and a Bento of two workers as processes of their own. Ticks are due at times fixed
beforehand; latency counts from when a tick is produced until a prediction of its match and market with an offset at
least as high is consumed. Before each rate every book is told once, and that is not measured. Producer and consumer
share the machine with all of it, and are librdkafka's (confluent-kafka), which costs little.

--servers: a broker that runs already, instead of an Apache Kafka of its own.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import feature_repo  # noqa: F401  imports Feast without its run-time checks of types

# isort: split
import numpy as np
from _common import arguments, print_machine, write_json
from serving_load import Cpu
from serving_stack import Stack, say, stack

from betting_assets.modelling.markets import MARKETS
from betting_assets.settings import Settings
from betting_assets.streaming.topics import ODDS_TICKS, PREDICTIONS, create_topics

RATES = (100, 500, 2_000)
TARGETS_MS = {500: 50.0, 2_000: 150.0}
"""Highest 99th percentile that is allowed at a rate."""

BOOKMAKERS = ("pinnacle", "bet365", "betvictor", "bwin", "ladbrokes", "unibet", "williamhill", "zeturf")
FILL_RATE = 400
PATIENCE = 60.0


@dataclass(frozen=True)
class Row:
    """One rate. Latencies in milliseconds; `cpu`: seconds of CPU a second, by name of the process."""

    rate: int
    achieved: float
    ticks: int
    p50: float
    p95: float
    p99: float
    worst: float
    unspoken: int
    predictions: int
    withheld: int
    cpu: dict[str, float]


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
            messages = self._consumer.consume(500, timeout=0.002)
            now = time.monotonic()
            for message in messages:
                if message.error() is None:
                    self._take(json.loads(message.value()), now)

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


class Ticker:
    """Produces ticks of all books of all matches, prices walking a little."""

    def __init__(self, servers: str, topic: str, ids: Sequence[str], meter: Meter) -> None:
        from confluent_kafka import Producer

        self._producer = Producer(
            {"bootstrap.servers": servers, "linger.ms": 0, "acks": "all", "partitioner": "murmur2_random"}
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
        self._at_rate(books, FILL_RATE)

    def run(self, rate: int, seconds: float) -> tuple[int, float]:
        """Ticks of random books; returns how many, and their rate."""
        count = int(rate * seconds)
        picks = self._rng.integers(0, [len(self._ids), len(MARKETS), len(BOOKMAKERS)], (count, 3)).tolist()
        markets = list(MARKETS)
        began = time.monotonic()
        self._at_rate([(self._ids[m], markets[k], BOOKMAKERS[b]) for m, k, b in picks], rate)
        return count, count / (time.monotonic() - began)

    def _at_rate(self, books: Sequence[tuple[str, str, str]], rate: int) -> None:
        start = time.monotonic()
        for number, (match_id, market, maker) in enumerate(books):
            due = start + number / rate
            while (now := time.monotonic()) < due:
                self._producer.poll(min(due - now, 0.005))
            self._send(match_id, market, maker)
            self._producer.poll(0)
        self._producer.flush(60)

    def _send(self, match_id: str, market: str, maker: str) -> None:
        self._sequence += 1
        chances = self._fair[match_id, market] * np.exp(self._rng.normal(scale=0.02, size=len(MARKETS[market].selections)))
        prices = (0.95 / (chances / chances.sum())).round(3).clip(1.01, 500.0).tolist()
        tick = {
            "schema_version": 1,
            "match_id": match_id,
            "bookmaker": maker,
            "market": market,
            "line": MARKETS[market].line,
            "prices": prices,
            "taken_at": dt.datetime.now(dt.UTC).isoformat(),
            "sequence": self._sequence,
            "source": "benchmark",
        }
        at = time.monotonic()

        def acknowledged(error: Any, message: Any) -> None:
            if error is not None:
                raise RuntimeError(f"Kafka took no tick: {error}")
            self._meter.sent((match_id, market), message.offset(), at)

        self._producer.produce(
            self._topic, key=match_id.encode(), value=json.dumps(tick).encode(), on_delivery=acknowledged
        )


def measured(ticker: Ticker, meter: Meter, rate: int, seconds: float, roots: dict[str, int]) -> Row:
    ticker.every_book()
    wait_for(lambda: meter.unspoken == 0)
    meter.begin()
    cpu = Cpu(roots)
    ticks, achieved = ticker.run(rate, seconds)
    used = {name: round(one.total, 2) for name, one in cpu.used().items()}
    wait_for(lambda: meter.unspoken == 0, fail=False)
    latencies = np.array(meter.latencies) * 1000
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99]).round(1).tolist()
    return Row(
        rate, round(achieved, 1), ticks, p50, p95, p99, round(float(latencies.max()), 1), meter.unspoken,
        meter.predictions, meter.withheld, used,
    )  # fmt: skip


def wait_for(true: Any, fail: bool = True) -> None:
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    if fail and not true():
        raise RuntimeError("the scorer does not speak for all ticks")


@contextlib.contextmanager
def broker(servers: str | None) -> Iterator[tuple[str, int | None]]:
    if servers is not None:
        yield servers, None
        return
    from betting_assets.embedded.apache_kafka import ApacheKafka

    with tempfile.TemporaryDirectory(prefix="betting-benchmark-kafka-") as folder, ApacheKafka(Path(folder)) as kafka:
        yield kafka.servers, kafka.pid


@contextlib.contextmanager
def scorer(settings: Settings) -> Iterator[int]:
    """`betting stream score`; asked to stop at the end."""
    command = [Path(sys.executable).parent / "betting", "stream", "score"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env={**os.environ, **settings.as_environment()}, stdout=log, stderr=log)
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
            log.seek(0)
            text = log.read().decode().strip()
            say(f"scorer ended with {code}: {text}")


def settings_of(world: Stack, servers: str, grpc_port: int) -> Settings:
    return Settings(
        home=world.home,
        database_url=world.url,
        kafka_servers=servers,
        grpc_port=grpc_port,
        hold_back=False,
        topic_prefix=f"hot{os.getpid()}.",
        topic_partitions=4,
    )


def main() -> None:
    parser = arguments(__doc__, "5 seconds a rate instead of 30")
    parser.add_argument("--servers", help="host:port of a broker")
    options = parser.parse_args()
    where, seconds, rows = print_machine(), 5.0 if options.quick else 30.0, []
    with stack(models=1) as world, broker(options.servers) as (servers, kafka_pid), world.bento() as bento:
        settings = settings_of(world, servers, bento.grpc_port)
        create_topics(settings)
        meter = Meter(servers, PREDICTIONS.name(settings))
        ticker = Ticker(servers, ODDS_TICKS.name(settings), world.matches.ids, meter)
        with scorer(settings) as pid:
            assert bento.pid is not None
            roots = {"scorer": pid, "bento": bento.pid, "postgres": world.postgres_pid, "clients": os.getpid()}
            roots |= {"kafka": kafka_pid} if kafka_pid else {}
            for rate in RATES:
                say(f"{rate} ticks/s")
                rows.append(measured(ticker, meter, rate, seconds, roots))
        meter.close()
    print("| ticks/s | achieved | p50 ms | p95 | p99 | worst | without prediction | predictions | withheld | CPU |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        cpu = ", ".join(f"{name} {cost:.2f}" for name, cost in row.cpu.items())
        print(
            f"| {row.rate} | {row.achieved} | {row.p50} | {row.p95} | {row.p99} | {row.worst} | {row.unspoken} |"
            f" {row.predictions} | {row.withheld} | {cpu} |"
        )
    missed = [row.rate for row in rows if row.unspoken or row.p99 > TARGETS_MS.get(row.rate, float("inf"))]
    print(f"targets missed at {missed}" if missed else "targets kept")
    write_json(options.json, {"machine": where, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
