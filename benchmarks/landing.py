"""How fast ticks on Kafka are landed in PostgreSQL, against the usual way to do it.

python benchmarks/landing.py [--quick] [--json FILE] [--servers HOST:PORT]

Ticks of 300 matches and 20 bookmakers, one in a hundred of them poison, are on Apache Kafka (one node, 4 partitions)
before the clock starts. Then, in turn, each in a process of its own and into an empty table of an embedded PostgreSQL
with fsync on: `lander`, our own, and `peer`, a confluent-kafka consumer with Pydantic and psycopg's executemany upserts
that commits its offsets after each batch (so it lands at least once; it keeps dead letters too). The clock runs from
the first batch that is landed to the last. --servers names a broker that runs already.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
from _common import arguments, print_machine, write_json
from confluent_kafka import Consumer, Producer, TopicPartition
from pydantic import ValidationError

from betting_assets.embedded.apache_kafka import ApacheKafka
from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.settings import Settings
from betting_assets.streaming.landing.lander import Lander
from betting_assets.streaming.messages import OddsTick
from betting_assets.streaming.topics import ODDS_TICKS, create_topics
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.migrate import migrate

MATCHES, BOOKMAKERS, PARTITIONS = 300, 20, 4
POISON_EVERY = 100
BATCH = 5_000
TABLES = "stream.odds_tick, stream.dead_letter, stream.position, stream.topic_log, stream.reader"
WAYS = ("lander", "peer")

UPSERT = """INSERT INTO stream.odds_tick (epoch, partition, "offset", match_id, bookmaker, market, line, prices, lay,
    trading, in_play, taken_at, sequence, source, fixture, produced_at)
    VALUES (1, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, to_timestamp(%s))
    ON CONFLICT (epoch, partition, "offset") DO UPDATE SET prices = excluded.prices"""
UPSERT_LETTER = """INSERT INTO stream.dead_letter
    (topic, epoch, partition, "offset", reason, detail, key, payload, headers, produced_at)
    VALUES (%s, 1, %s, %s, %s, %s, %s, %s, '[]', to_timestamp(%s)) ON CONFLICT DO NOTHING"""


def produce(settings: Settings, number: int) -> None:
    create_topics(settings)
    client = Producer(
        {"bootstrap.servers": settings.kafka_servers, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}
    )
    chance = random.Random(1)
    began = dt.datetime.now(dt.UTC) - dt.timedelta(hours=6)
    for place in range(number):
        match = chance.randrange(MATCHES)
        content: dict[str, Any] = {
            "match_id": f"e0_2026-11-{match % 28 + 1:02d}_team-{match:03d}_rival-{match * 7 % MATCHES:03d}",
            "bookmaker": f"book{chance.randrange(BOOKMAKERS)}",
            "market": "1x2",
            "line": 0.0,
            "prices": [round(chance.uniform(1.1, 9), 2) for _ in range(3)],
            "lay": None,
            "trading": "open",
            "in_play": False,
            "taken_at": (began + dt.timedelta(milliseconds=5 * place)).isoformat(),
            "sequence": place,
            "source": "benchmark",
            "fixture": None,
            "schema_version": 1,
        }
        if place % POISON_EVERY == 0:
            content["prices"][0] = 0.5
        value = json.dumps(content, separators=(",", ":"))
        client.produce(ODDS_TICKS.name(settings), value, content["match_id"])
        if place % BATCH == 0:
            client.poll(0)
    client.flush()


class Clock:
    """Seconds, processor time and memory of this process between the first landed batch and the last."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._process = psutil.Process()
        self._first: tuple[int, float, float] | None = None
        self._early = 0

    def landed(self, done: int) -> bool:
        """Call it when so many are landed; returns whether they are all, and then prints the numbers as JSON."""
        now = (done, time.perf_counter(), time.process_time())
        if self._first is None:
            self._first = now
        if not self._early and done >= self._number / 5:
            self._early = self._process.memory_info().rss
        if done < self._number:
            return False
        rows, seconds, processor = (last - first for last, first in zip(now, self._first, strict=True))
        result = {
            "rows_per_second": rows / seconds,
            "processor_us_per_row": processor / rows * 1e6,
            "early_mb": self._early / 2**20,
            "end_mb": self._process.memory_info().rss / 2**20,
        }
        print(json.dumps(result), flush=True)
        return True


def land(settings: Settings, url: str, number: int) -> None:
    """Our own way, as a child."""
    stop, clock = threading.Event(), Clock(number)
    lander = Lander(settings, url, lambda line: print(line, file=sys.stderr))
    told = lander.tally.works

    def works(rows: int) -> None:
        told(rows)
        if rows and clock.landed(lander.tally.done):
            stop.set()

    lander.tally.works = works
    lander.run(stop)


def land_as_usual(settings: Settings, url: str, number: int) -> None:
    """The peer's way, as a child."""
    topic = ODDS_TICKS.name(settings)
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka_servers,
            "group.id": f"peer-{os.getpid()}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(topic, n, 0) for n in range(PARTITIONS)])
    done, clock = 0, Clock(number)
    with connect(url) as conn:
        while True:
            messages = consumer.consume(BATCH, timeout=0.5)
            rows, letters = [], []
            for one in messages:
                at = (one.partition(), one.offset())
                produced = one.timestamp()[1] / 1000
                try:
                    tick = OddsTick.model_validate_json(one.value())
                except ValidationError as error:
                    letters.append((topic, *at, "invalid", str(error)[:300], one.key(), one.value(), produced))
                    continue
                rows.append(
                    (
                        *(
                            *at,
                            tick.match_id,
                            tick.bookmaker,
                            tick.market.value,
                            tick.line,
                            list(tick.prices),
                            tick.lay,
                        ),
                        *(tick.trading.value, tick.in_play, tick.taken_at, tick.sequence, tick.source, None, produced),
                    )
                )
            with conn.cursor() as cursor:
                cursor.executemany(UPSERT, rows)
                cursor.executemany(UPSERT_LETTER, letters)
            conn.commit()
            if messages:
                consumer.commit(message=messages[-1], asynchronous=True)
            done += len(messages)
            if messages and clock.landed(done):
                break
    consumer.close()


def measure(settings: Settings, url: str, number: int, way: str) -> dict[str, float]:
    """One round in a process of its own, into empty tables; what was landed is counted."""
    with connect(url, autocommit=True) as conn:
        conn.execute(f"TRUNCATE {TABLES}")
        conn.execute("CHECKPOINT")
    command = [sys.executable, __file__, "--way", way, "--ticks", str(number)]
    done = subprocess.run(
        command, env=os.environ | settings.as_environment(), capture_output=True, text=True, check=True, timeout=1800
    )
    with connect(url) as conn:
        found = conn.execute(
            "SELECT (SELECT count(*) FROM stream.odds_tick), (SELECT count(*) FROM stream.dead_letter)"
        ).fetchone()
    poison = -(-number // POISON_EVERY)
    if found != (number - poison, poison):
        sys.exit(f"{way}: {found} ticks and dead letters were landed, not {number - poison} and {poison}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"  {way:<8}" + "  ".join(f"{name} {value:,.1f}" for name, value in result.items()), flush=True)
    return result


def run(number: int, rounds: int, servers: str) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # for the server's own user, when root runs this
        servers = servers or stack.enter_context(ApacheKafka(folder / "kafka")).servers
        url = stack.enter_context(EmbeddedPostgres(folder / "postgres")).url
        migrate(url)
        settings = Settings(
            home=folder / "home",
            database_url=url,  # type: ignore[arg-type]
            kafka_servers=servers,
            topic_prefix=f"landing-{time.time_ns()}.",
            topic_partitions=PARTITIONS,
        )
        produce(settings, number)
        results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for place in range(rounds):
            print(f"round {place + 1} of {rounds}")
            for way in WAYS:
                results[way].append(measure(settings, url, number, way))
    median = {way: statistics.median(one["rows_per_second"] for one in results[way]) for way in WAYS}
    return {
        "ticks": number,
        "rounds": results,
        "rows_per_second": median,
        "ratio": median["lander"] / median["peer"],
        "growth_mb": max(one["end_mb"] - one["early_mb"] for one in results["lander"]),
    }


def main() -> None:
    parser = arguments(__doc__, "100,000 ticks, one round; about a minute")
    parser.add_argument("--servers", default="", help="host:port of a broker that runs already; default: its own")
    parser.add_argument("--ticks", type=int, help="number of ticks")
    parser.add_argument("--rounds", type=int, help="number of rounds")
    parser.add_argument("--way", choices=WAYS, help="for the children of this script")
    given = parser.parse_args()
    if given.way:
        settings = Settings()
        assert settings.database_url is not None
        child = land if given.way == "lander" else land_as_usual
        child(settings, settings.database_url.get_secret_value(), given.ticks)
        return
    where = print_machine()
    number = given.ticks or (100_000 if given.quick else 400_000)
    result = run(number, given.rounds or (1 if given.quick else 3), given.servers)
    for way, rate in result["rows_per_second"].items():
        print(f"{way:<8} {rate:>10,.0f} rows/s (median)")
    print(f"{result['ratio']:.2f} times the peer; the lander's memory grew by {result['growth_mb']:.1f} MiB")
    write_json(given.json, {"machine": where, **result})


if __name__ == "__main__":
    main()
