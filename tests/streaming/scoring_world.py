"""What the scorer's tests run on: a real Bento of small models, features of invented matches, ticks, predictions."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
from kafka import TopicPartition

sys.path.insert(0, str(Path(__file__).parent.parent / "bentos"))
from invented_models import VERSIONS, free_port, invented_bundle

from bentos.match_odds.deploying.build import build_bento
from bentos.match_odds.deploying.runner import RunningBento
from bentos.match_odds.model.known_answers import known_answers
from betting_assets.modelling.markets import MARKETS
from betting_assets.settings import Settings
from betting_assets.streaming.kafka import admin_client, consumer, producer
from betting_assets.streaming.messages import OddsTick, Prediction
from betting_assets.streaming.scoring.scorer import Scorer
from betting_assets.streaming.topics import ODDS_TICKS, PREDICTIONS, create_topics
from betting_assets.warehouse.features import write_feature_table

MATCHES = [f"xx_2026-12-01_a{i}_b{i}" for i in range(12)]
STRANGER = "xx_2026-12-01_nobody_knows"
STREAM_TABLES = "stream.topic_log, stream.position, stream.current_book, stream.reader"


@contextlib.contextmanager
def bento_of(folder: Path, url: str) -> Iterator[RunningBento]:
    """A Bento of small models of both markets, with its log in a database."""
    made = {market: invented_bundle(market) for market in MARKETS}
    folders = {market: bundle.save(folder / "champions" / market) for market, (bundle, _) in made.items()}
    known = [answer for bundle, frame in made.values() for answer in known_answers(bundle, frame)]
    with RunningBento(build_bento(folders, VERSIONS, known, folder), free_port(), folder, url) as bento:
        yield bento


def fill_store(url: str, matches: Sequence[str] = MATCHES) -> None:
    """Strength of matches in the online store, and none of their odds."""
    from feature_repo.columns import market_columns, strength_columns, typed
    from feature_repo.operations import apply_definitions
    from feature_repo.store import feature_store, online_store
    from feature_repo.views import match_market, match_strength

    now = pd.Timestamp.now("UTC").floor("s") - pd.Timedelta(days=1)
    keys = {"match_id": list(matches), "event_timestamp": [now] * len(matches)}
    rng = np.random.default_rng(3)
    strength = pd.DataFrame(keys | {name: rng.normal(size=len(matches)) for name in strength_columns()})
    strength = typed(strength.assign(league="XX", last_input_at=now))
    market = typed(pd.DataFrame(keys | {name: [None] * len(matches) for name in market_columns()}))
    write_feature_table(url, "match_strength", strength)
    write_feature_table(url, "match_market", market.head(0))
    store = feature_store(url, "wall")
    apply_definitions(store)
    online_store(store).write_frame(store.config, match_strength, strength)
    online_store(store).write_frame(store.config, match_market, market)


def tick(match_id: str, bookmaker: str = "pinnacle", **changes: Any) -> OddsTick:
    """A valid tick of now, with these fields changed."""
    content = {
        "match_id": match_id,
        "bookmaker": bookmaker,
        "market": MARKETS[str(changes.get("market", "1x2"))].market,
        "line": MARKETS[str(changes.get("market", "1x2"))].line,
        "prices": (2.1, 3.4, 3.9) if changes.get("market", "1x2") == "1x2" else (1.9, 1.95),
        "taken_at": dt.datetime.now(dt.UTC),
        "sequence": 0,
        "source": "by-hand",
    }
    return OddsTick(**(content | {name: value for name, value in changes.items() if name != "market"}))  # type: ignore[arg-type]


@dataclass
class World:
    """Topics of one test, on which a scorer may run."""

    settings: Settings
    url: str
    said: list[str]

    def __post_init__(self) -> None:
        create_topics(self.settings)
        self._producer = producer(self.settings)
        self._offsets: dict[tuple[str, str], tuple[int, int]] = {}

    def send(self, *ticks: OddsTick) -> None:
        """Send ticks and wait for their acknowledgement."""
        topic = ODDS_TICKS.name(self.settings)
        sent = [
            (one, self._producer.send(topic, key=one.match_id.encode(), value=one.model_dump_json().encode()))
            for one in ticks
        ]
        for one, future in sent:
            known = future.get(timeout=30)
            self._offsets[one.match_id, one.market.value] = (known.partition, known.offset)

    def send_bytes(self, key: bytes, value: bytes) -> None:
        self._producer.send(ODDS_TICKS.name(self.settings), key=key, value=value).get(timeout=30)

    def predictions(self) -> list[Prediction]:
        """All that were published so far, in order within a match."""
        topic = PREDICTIONS.name(self.settings)
        reading = consumer(self.settings, fetch_max_wait_ms=50)
        try:
            parts = [TopicPartition(topic, n) for n in sorted(reading.partitions_for_topic(topic) or ())]
            reading.assign(parts)
            ends = reading.end_offsets(parts)
            for part in parts:
                reading.seek(part, 0)
            found: list[Prediction] = []
            while any(reading.position(part) < ends[part] for part in parts):
                for messages in reading.poll(timeout_ms=200).values():
                    found += [Prediction.model_validate_json(message.value) for message in messages]
            return found
        finally:
            reading.close()

    def newest(self) -> dict[tuple[str, str], Prediction]:
        """The prediction of each match and market that speaks for the most ticks."""
        newest: dict[tuple[str, str], Prediction] = {}
        for one in self.predictions():
            key = one.match_id, one.market.value
            if key not in newest or one.tick_offset >= newest[key].tick_offset:
                newest[key] = one
        return newest

    def all_spoken_for(self) -> dict[tuple[str, str], Prediction]:
        """Wait until there is a prediction for the last tick of every match and market; returns those."""
        found: dict[tuple[str, str], Prediction] = {}

        def done() -> bool:
            found.update(self.newest())
            return all(
                key in found and (found[key].tick_partition, found[key].tick_offset) == at
                for key, at in self._offsets.items()
            )

        eventually(done)
        return {key: found[key] for key in self._offsets}

    def saved(self) -> None:
        """Wait until the scorer's position is behind every tick that was sent."""
        topic = ODDS_TICKS.name(self.settings)

        def done() -> bool:
            with psycopg.connect(self.url) as connection:
                rows = connection.execute(
                    "SELECT partition, next_offset FROM stream.position WHERE reader = 'scorer' AND topic = %s", [topic]
                )
                behind = dict(rows.fetchall())
            return all(behind.get(partition, 0) > offset for partition, offset in self._offsets.values())

        eventually(done)

    @contextlib.contextmanager
    def scorer(self, worker: str | None = None) -> Iterator[Scorer]:
        """A scorer in a thread of this process; what ends it ends the test."""
        stop, errors = threading.Event(), []
        running = Scorer(self.settings, self.url, self.said.append, worker)

        def run() -> None:
            try:
                running.run(stop)
            except BaseException as error:  # noqa: BLE001 raised below
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield running
        finally:
            stop.set()
            thread.join(60)
            assert not thread.is_alive(), "the scorer does not stop"
            if errors:
                raise errors[0]

    def close(self) -> None:
        """Delete the topics of the test."""
        self._producer.close()
        with admin_client(self.settings) as admin:
            mine = [name for name in admin.list_topics() if name.startswith(self.settings.topic_prefix)]
            admin.delete_topics(mine)


def eventually(true: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def world_settings(kafka_servers: str, url: str, home: Path, grpc_port: int, number: int, **more: Any) -> Settings:
    return Settings(
        home=home,
        database_url=url,
        kafka_servers=kafka_servers,
        grpc_port=grpc_port,
        hold_back=False,
        topic_prefix=f"c{os.getpid()}-{number}-{time.time_ns() % 10**9}.",
        topic_partitions=2,
        **more,
    )


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="betting-scorer-") as name:
        yield Path(name)
