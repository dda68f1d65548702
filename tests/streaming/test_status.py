"""What `betting status` says of the streams, and when a worker's container is healthy."""

from __future__ import annotations

import datetime as dt
import io
import platform
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from betting_assets.settings import Settings
from betting_assets.streaming import health
from betting_assets.streaming.kafka import admin_client, producer
from betting_assets.streaming.ownership import Heartbeat, Ownership
from betting_assets.streaming.positions import SCORER
from betting_assets.streaming.status import stream_state
from betting_assets.streaming.topics import ODDS_TICKS, PREDICTIONS, create_topics
from betting_assets.warehouse.database import connect

pytestmark = pytest.mark.services
TAKEN = dt.datetime(2021, 8, 7, 14, 59, tzinfo=dt.UTC)


def do(url: str, statement: str, *values: Any) -> None:
    with connect(url) as connection:
        connection.execute(statement, values)


def plant_position(url: str, reader: str, topic: str, partition: int, offset: int) -> None:
    do(url, "INSERT INTO stream.position VALUES (%s, %s, %s, 1, %s)", reader, topic, partition, offset)


def plant_reader(url: str, worker: str, reader: str, topic: str, message: str | None = None, silent: str = "0") -> None:
    do(
        url,
        """INSERT INTO stream.reader (worker, reader, topics, partitions, done, lag, message, seen_at)
           VALUES (%s, %s, ARRAY[%s], jsonb_build_object(%s::text, '[0, 1]'::jsonb), 1500, 7, %s,
                   now() - %s::interval)""",
        *(worker, reader, topic, topic, message, silent),
    )


def plant_tick(url: str, partition: int, offset: int, landed: str) -> None:
    do(
        url,
        """INSERT INTO stream.odds_tick (epoch, partition, "offset", match_id, bookmaker, market, line, prices,
               trading, in_play, taken_at, sequence, source, produced_at, landed_at)
           VALUES (1, %s, %s, 'm', 'pinnacle', '1x2', 0, '{2,3,4}', 'open', false, %s, 1, 'test', now(),
                   now() - %s::interval)""",
        *(partition, offset, TAKEN, landed),
    )


def plant_dead_letter(url: str, topic: str, offset: int, reason: str, landed: str = "0") -> None:
    do(
        url,
        """INSERT INTO stream.dead_letter (topic, epoch, partition, "offset", reason, detail, headers, produced_at,
                                           landed_at)
           VALUES (%s, 1, 0, %s, %s, 'd', '[]', now(), now() - %s::interval)""",
        *(topic, offset, reason, landed),
    )


@pytest.fixture
def ticks(stream_settings: Settings, database: str) -> Iterator[str]:
    """The topic of ticks: created, 5 messages in partition 0, and registered."""
    created = create_topics(stream_settings)
    name = ODDS_TICKS.name(stream_settings)
    sender = producer(stream_settings)
    for _ in range(5):
        sender.send(name, b"x", partition=0).get(timeout=30)
    sender.close()
    do(database, "INSERT INTO stream.topic_log (topic, epoch, cluster_id, topic_id) VALUES (%s, 1, 'c', 't')", name)
    yield name
    with admin_client(stream_settings) as admin:
        admin.delete_topics(created)


def test_a_platform_without_streams_says_so_in_one_line_and_asks_no_broker(database: str, unused: int) -> None:
    told = stream_state(database, Settings(database_url=database, kafka_servers=f"127.0.0.1:{unused}"))
    assert list(told) == ["streams"]


def test_what_waits_is_told_for_each_reader(stream_settings: Settings, database: str, ticks: str) -> None:
    plant_position(database, "lander", ticks, 0, 5)
    plant_position(database, "lander", ticks, 1, 0)
    plant_position(database, "scorer", ticks, 0, 2)
    told = stream_state(database, stream_settings)
    assert told[f"topic {ticks}"] == "ends at 5 in 2 partitions; lander at 5, 0 behind; scorer at 2, 3 behind"
    assert told[f"topic {PREDICTIONS.name(stream_settings)}"] == "ends at 0 in 2 partitions"
    assert "broker" not in told


def test_a_topic_that_is_missing_is_called_missing(stream_settings: Settings, database: str) -> None:
    name = ODDS_TICKS.name(stream_settings)
    do(database, "INSERT INTO stream.topic_log (topic, epoch, cluster_id, topic_id) VALUES (%s, 1, 'c', 't')", name)
    assert stream_state(database, stream_settings)[f"topic {name}"] == "does not exist on the broker"


def test_a_broker_that_is_away_is_one_line_and_the_rest_is_told(database: str, unused: int) -> None:
    away = Settings(database_url=database, kafka_servers=f"127.0.0.1:{unused}")
    name = ODDS_TICKS.name(away)
    do(database, "INSERT INTO stream.topic_log (topic, epoch, cluster_id, topic_id) VALUES (%s, 1, 'c', 't')", name)
    plant_position(database, "lander", name, 0, 5)
    told = stream_state(database, away)
    assert f"127.0.0.1:{unused}" in told["broker"]
    assert "\n" not in told["broker"]
    assert told[f"topic {name}"] == "lander at 5"


def test_live_readers_are_told_with_what_is_wrong_and_dead_ones_are_not(
    stream_settings: Settings, database: str, ticks: str
) -> None:
    plant_reader(database, "a:1", "lander", ticks)
    plant_reader(database, "b:2", "lander", ticks, "the broker is away")
    plant_reader(database, "c:3", "lander", ticks, silent="5 min")
    plant_reader(database, "d:4", "scorer", ticks, silent="5 min")
    plant_reader(database, "e:5", "lander", "of.another.platform")
    told = stream_state(database, stream_settings)
    assert told["lander"] == (
        "2 live: a:1 has 2 partitions, 1,500 done, 7 behind; "
        "b:2 has 2 partitions, 1,500 done, 7 behind (the broker is away)"
    )
    assert told["scorer"].startswith("none is live; the last spoke at 20")


def test_a_reader_that_waits_and_has_no_topic_yet_is_live(database: str, unused: int) -> None:
    settings = Settings(database_url=database, kafka_servers=f"127.0.0.1:{unused}")
    with Ownership(database, SCORER, "f:6") as waiting:
        waiting.renew({}, Heartbeat(message="no features yet; waiting for it"))
        told = stream_state(database, settings)
    assert told["scorer"] == "1 live: f:6 has 0 partitions, 0 done, 0 behind (no features yet; waiting for it)"


def test_dead_letters_of_the_last_day_are_counted_by_reason(
    stream_settings: Settings, database: str, ticks: str
) -> None:
    for offset, (reason, landed) in enumerate([("not_json", "1 h"), ("nul", "1 h"), ("nul", "0"), ("old", "2 days")]):
        plant_dead_letter(database, ticks, offset, reason, landed)
    plant_dead_letter(database, "of.another.platform", 0, "not_json")
    assert stream_state(database, stream_settings)["dead letters, last day"] == "2 nul, 1 not_json"


def test_the_newest_tick_is_the_one_that_landed_last(stream_settings: Settings, database: str, ticks: str) -> None:
    for partition, offset, landed in [(0, 3, "3 h"), (0, 4, "10 min"), (1, 9, "5 h")]:
        plant_tick(database, partition, offset, landed)
    for partition in (0, 1):
        plant_position(database, "lander", ticks, partition, 10)
    told = stream_state(database, stream_settings)
    assert told[f"newest in {ticks}"] == "taken 2021-08-07 14:59:00 UTC, landed 10 min ago"
    assert told[f"newest in {PREDICTIONS.name(stream_settings)}"] == "none"


@pytest.fixture
def unused() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


HERE = platform.node()


def test_a_worker_that_speaks_and_names_no_trouble_is_healthy(database: str) -> None:
    plant_reader(database, f"{HERE}:7", "lander", "t")
    assert health.trouble(database, "lander") is None


@pytest.mark.parametrize(
    ("worker", "reader", "silent"),
    [(f"{HERE}:7", "lander", "1 min"), ("elsewhere:7", "lander", "0"), (f"{HERE}:7", "scorer", "0")],
    ids=["silent", "of another host", "of another name"],
)
def test_a_worker_that_is_not_heard_of_is_unhealthy(database: str, worker: str, reader: str, silent: str) -> None:
    plant_reader(database, worker, reader, "t", silent=silent)
    assert health.trouble(database, "lander") == f"no lander on {HERE} has spoken in the last 30 s"


def test_a_worker_in_trouble_is_unhealthy_and_says_why(database: str) -> None:
    plant_reader(database, f"{HERE}:7", "lander", "t")
    plant_reader(database, f"{HERE}:8", "lander", "t", "the disk is full")
    assert health.trouble(database, "lander") == f"lander {HERE}:8: the disk is full"


def test_health_answers_by_exit_code_in_one_line(
    database: str, monkeypatch: pytest.MonkeyPatch, unused: int, tmp_path: Path
) -> None:
    def ask(*arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        return health.main(list(arguments), out), out.getvalue()

    monkeypatch.setattr(health, "settings", lambda: Settings(database_url=database))
    assert ask("lander")[0] == 1
    plant_reader(database, f"{HERE}:7", "lander", "t")
    assert ask("lander") == (0, "")
    assert ask("reader")[0] == 2
    away = f"postgresql://betting:secret@127.0.0.1:{unused}/betting"
    monkeypatch.setattr(health, "settings", lambda: Settings(database_url=away))
    code, line = ask("lander")
    assert (code, line.count("\n")) == (1, 1)
    assert "secret" not in line
    monkeypatch.setattr(health, "settings", lambda: Settings(database_url=None, home=tmp_path / "home"))
    assert ask("lander") == (1, "the embedded PostgreSQL is not running\n")
    assert not (tmp_path / "home").exists(), "asking starts nothing"
