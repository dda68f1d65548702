"""How long from a tick to the prediction that speaks for it, through the real scorer and the real Bento.

python benchmarks/hot_path.py [--quick] [--rates N ...] [--servers HOST:PORT] [--json FILE]

300 matches with two markets of eight bookmakers, full-size models (300 trees, 60 features), Apache Kafka and PostgreSQL
with fsync on, `betting stream score` and a Bento of two workers as processes of their own. Ticks are due at times fixed
beforehand; latency counts from when a tick is produced until a prediction of its match and market with an offset at
least as high is consumed. Before each rate every book is told once, and that is not measured. Producer and consumer
share the machine with all of it, and are librdkafka's (confluent-kafka), which costs little.

--servers: a broker that runs already, instead of an Apache Kafka of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import feature_repo  # noqa: F401  imports Feast without its run-time checks of types

# isort: split
import numpy as np
from _common import arguments, print_machine, write_json
from hot_path_load import Meter, Ticker
from serving_load import Cpu
from serving_stack import Stack, say, stack

from betting_assets.settings import Settings
from betting_assets.streaming.topics import ODDS_TICKS, PREDICTIONS, create_topics

RATES = (100, 500, 2_000)
TARGETS_MS = {500: 50.0, 2_000: 150.0}
"""Highest 99th percentile that is allowed at a rate."""

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


def measured(ticker: Ticker, meter: Meter, rate: int, seconds: float, roots: dict[str, int]) -> Row:
    ticker.every_book()
    wait_for(lambda: meter.unspoken == 0)
    meter.begin()
    cpu = Cpu(roots)
    ticks, achieved = ticker.run(rate, seconds)
    used = {name: one.total for name, one in cpu.used().items()}
    used["clients"] -= used["scorer"] + used["bento"]  # they are this process's children
    wait_for(lambda: meter.unspoken == 0, fail=False)
    latencies = np.array(meter.latencies) * 1000
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99]).round(1).tolist()
    return Row(
        rate, round(achieved, 1), ticks, p50, p95, p99, round(float(latencies.max()), 1), meter.unspoken,
        meter.predictions, meter.withheld, {name: round(cost, 2) for name, cost in used.items()},
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
    parser.add_argument("--rates", type=int, nargs="+", default=RATES, help="ticks a second")
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
            for rate in options.rates:
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
