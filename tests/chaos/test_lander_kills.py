"""Whatever is killed under load: what the broker acknowledged is landed, once each, with no gap."""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from tick_feed import Feed, LanderProcess, check_all_landed, count, url, wait_until

from betting_assets.embedded.apache_kafka import ApacheKafka, fetched
from betting_assets.embedded.broker_process import BrokerProcess
from betting_assets.embedded.kafka import EmbeddedKafka
from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.settings import Settings
from betting_assets.streaming.landing.lander import Lander
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.migrate import migrate

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]
CHANCE = random.Random(5)
APACHE = [
    pytest.mark.apache_kafka,
    pytest.mark.skipif(not fetched(), reason="Apache Kafka is not fetched: run `make kafka`"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can walk to, unlike pytest's own, and that is short."""
    path = Path(tempfile.mkdtemp(prefix="betting-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def lander(settings: Settings) -> Iterator[list[str]]:
    """A lander in a thread, for tests that kill what it depends on; yields what it says."""
    said: list[str] = []
    errors: list[BaseException] = []
    stop = threading.Event()

    def run() -> None:
        try:
            Lander(settings, url(settings), said.append, "test").run(stop)
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield said
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def progress(settings: Settings, rows: int = 200) -> None:
    """Wait until so many more are landed."""
    before = count(settings)
    wait_until(lambda: count(settings) >= before + rows)


def owners(settings: Settings) -> dict[str, int]:
    """Partitions of the ticks by the process that owns them."""
    with connect(url(settings)) as conn:
        rows = conn.execute(
            "SELECT worker, partitions FROM stream.reader WHERE seen_at > clock_timestamp() - interval '6 s'"
        ).fetchall()
    return {worker: sum(map(len, partitions.values())) for worker, partitions in rows}


def test_landers_are_killed_again_and_again(stream_settings: Settings, tmp_path: Path) -> None:
    processes = [LanderProcess(stream_settings, tmp_path / "lander.log") for _ in range(2)]
    try:
        with Feed(stream_settings) as feed:
            for _ in range(6):
                progress(stream_settings)
                time.sleep(CHANCE.uniform(0, 0.3))
                processes.pop(CHANCE.randrange(2)).kill()
                processes.append(LanderProcess(stream_settings, tmp_path / "lander.log"))
            progress(stream_settings)
        check_all_landed(feed)
    finally:
        codes = [one.stop() for one in processes]
    assert codes == [0, 0]
    assert "Traceback" not in (tmp_path / "lander.log").read_text()


def test_a_lander_that_hangs_is_replaced_and_does_no_harm_when_it_wakes(
    stream_settings: Settings, tmp_path: Path
) -> None:
    hung, other = (LanderProcess(stream_settings, tmp_path / f"lander-{n}.log") for n in range(2))
    try:
        with Feed(stream_settings) as feed:
            wait_until(lambda: len(owners(stream_settings)) == 2 and set(owners(stream_settings).values()) == {3})
            hung.signal(signal.SIGSTOP)
            wait_until(lambda: list(owners(stream_settings).values()) == [6])
            progress(stream_settings, 1000)
            hung.signal(signal.SIGCONT)
            wait_until(lambda: len(owners(stream_settings)) == 2 and set(owners(stream_settings).values()) == {3})
            progress(stream_settings, 1000)
        check_all_landed(feed)
    finally:
        hung.signal(signal.SIGCONT)
        codes = [hung.stop(), other.stop()]
    assert codes == [0, 0]


def test_a_lander_that_is_asked_to_end_finishes_and_leaves_everything_to_the_others(
    stream_settings: Settings, tmp_path: Path
) -> None:
    first = LanderProcess(stream_settings, tmp_path / "first.log")
    with Feed(stream_settings) as feed:
        progress(stream_settings)
        second = LanderProcess(stream_settings, tmp_path / "second.log")
        try:
            wait_until(lambda: len(owners(stream_settings)) == 2)
            assert first.stop() == 0
            wait_until(lambda: list(owners(stream_settings).values()) == [6])
            progress(stream_settings)
        except BaseException:
            second.kill()
            raise
    check_all_landed(feed)
    assert second.stop() == 0
    assert owners(stream_settings) == {}


@pytest.mark.parametrize(
    "kind", [pytest.param(EmbeddedKafka, id="embedded"), pytest.param(ApacheKafka, id="apache", marks=APACHE)]
)
def test_the_broker_is_killed_again_and_again(kind: type[BrokerProcess], database: str, folder: Path) -> None:
    with kind(folder / "kafka") as broker:
        settings = Settings(
            home=folder / "home", database_url=database, kafka_servers=broker.servers, topic_partitions=2
        )
        with lander(settings) as said:
            with Feed(settings) as feed:
                for _ in range(3):
                    progress(settings)
                    broker.kill()
                    time.sleep(CHANCE.uniform(0, 1))
                    broker.start()
                progress(settings)
            check_all_landed(feed)
    assert all("\n" not in line for line in said)


def test_postgresql_is_killed_again_and_again(kafka_servers: str, stream_settings: Settings, folder: Path) -> None:
    server = EmbeddedPostgres(folder / "postgres")
    try:
        migrate(server.start())
        settings = stream_settings.model_copy(
            update={"database_url": Settings(database_url=server.url).database_url}  # type: ignore[arg-type]
        )
        with lander(settings) as said:
            with Feed(settings) as feed:
                for _ in range(4):
                    progress(settings)
                    pid = server.pid
                    assert pid is not None
                    psutil.Process(pid).kill()
                    server.start()
                progress(settings)
            check_all_landed(feed)
        assert all("\n" not in line for line in said)
    finally:
        server.delete()


def test_a_broker_that_stays_away_is_said_once_and_the_lander_is_seen_to_wait(database: str, folder: Path) -> None:
    with EmbeddedKafka(folder / "kafka") as broker:
        settings = Settings(
            home=folder / "home", database_url=database, kafka_servers=broker.servers, topic_partitions=2
        )
        with lander(settings) as said:
            with Feed(settings) as feed:
                progress(settings)
            broker.kill()
            wait_until(lambda: any("waiting for it" in line for line in said))
            with connect(database, autocommit=True) as conn:
                waiting = "SELECT count(*) FROM stream.reader WHERE message LIKE '%waiting for it%'"
                wait_until(lambda: conn.execute(waiting).fetchone() == (1,))
            time.sleep(3)
            assert len([line for line in said if "waiting" in line]) == 1
            broker.start()
            wait_until(lambda: said[-1] == "landing again")
            check_all_landed(feed)
