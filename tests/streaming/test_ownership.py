"""Ownership: every partition has exactly one owner while somebody lives, and shares are fair."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from kafka import TopicPartition

from betting_assets.streaming import ownership as module
from betting_assets.streaming.ownership import Heartbeat, Ownership, OwnershipLostError, connect_writing
from betting_assets.warehouse.database import connect

pytestmark = pytest.mark.services

TOPICS = {"ticks": range(4), "results": range(3)}
EVERY = {TopicPartition(topic, number) for topic, numbers in TOPICS.items() for number in numbers}


class Readers:
    """Readers of one database, by name."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.by_name: dict[str, Ownership] = {}

    def start(self, name: str, reader: str = "lander") -> Ownership:
        self.by_name[name] = Ownership(self.url, reader, name)
        return self.by_name[name]

    def rounds(self, number: int = 3) -> None:
        """Everybody renews, in turn, as they do every two seconds."""
        for _ in range(number):
            for one in self.by_name.values():
                one.renew(TOPICS)

    def kill(self, name: str) -> None:
        """The process dies: PostgreSQL ends its session, its row stays and grows old."""
        gone = self.by_name.pop(name)
        pid = gone._conn.info.backend_pid
        gone._conn.close()
        with connect(self.url, autocommit=True) as conn:
            conn.execute("UPDATE stream.reader SET seen_at = seen_at - interval '1 minute' WHERE worker = %s", [name])
            while conn.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone():
                time.sleep(0.01)


@pytest.fixture
def readers(database: str) -> Iterator[Readers]:
    some = Readers(database)
    yield some
    for one in some.by_name.values():
        one.close()


def sizes(readers: Readers) -> dict[str, int]:
    return {name: len(one.owned) for name, one in readers.by_name.items()}


def test_a_lone_reader_owns_everything_at_once(readers: Readers) -> None:
    assert readers.start("a").renew(TOPICS) == EVERY


def test_a_newcomer_gets_its_share_and_nothing_is_owned_twice_or_by_nobody(readers: Readers) -> None:
    readers.start("a").renew(TOPICS)
    newcomer = readers.start("b")
    assert newcomer.renew(TOPICS) == frozenset()  # what the other one has, it keeps until it renews
    readers.rounds()
    owned = [one.owned for one in readers.by_name.values()]
    assert owned[0] | owned[1] == EVERY
    assert not owned[0] & owned[1]
    assert {len([p for p in mine if p.topic == "ticks"]) for mine in owned} == {2}


def test_what_a_dead_reader_owned_is_taken_over(readers: Readers) -> None:
    for name in "abc":
        readers.start(name)
    readers.rounds()
    readers.kill("b")
    readers.rounds()
    assert frozenset().union(*(one.owned for one in readers.by_name.values())) == EVERY


def test_a_reader_that_ends_politely_is_forgotten_at_once(readers: Readers, database: str) -> None:
    readers.start("a")
    readers.start("b")
    readers.rounds()
    readers.by_name.pop("a").close()
    assert readers.by_name["b"].renew(TOPICS) == EVERY
    with connect(database) as conn:
        assert conn.execute("SELECT worker FROM stream.reader").fetchall() == [("b",)]


def test_readers_of_another_name_do_not_share(readers: Readers) -> None:
    lander, scorer = readers.start("a", "lander"), readers.start("a2", "scorer")
    readers.rounds()
    assert lander.owned == scorer.owned == EVERY


def test_without_its_connection_a_reader_owns_nothing(readers: Readers, database: str) -> None:
    one = readers.start("a")
    one.renew(TOPICS)
    with connect(database, autocommit=True) as conn:
        conn.execute("SELECT pg_terminate_backend(%s)", [one._conn.info.backend_pid])
    with pytest.raises(OwnershipLostError, match="lost the database"):
        one.renew(TOPICS)
    assert one.owned == frozenset()


def test_a_reader_that_hangs_loses_its_partitions(
    readers: Readers, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SESSION", module.SESSION.replace(f"'{module.IDLE_SECONDS}s'", "'300ms'"))
    readers.start("hung").renew(TOPICS)
    monkeypatch.undo()
    with connect(database, autocommit=True) as conn:
        wait_until(lambda: not conn.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'").fetchall())
        conn.execute("UPDATE stream.reader SET seen_at = seen_at - interval '1 minute'")
    assert readers.start("b").renew(TOPICS) == EVERY
    with pytest.raises(OwnershipLostError):
        readers.by_name.pop("hung").renew(TOPICS)


@pytest.mark.parametrize(("reader", "ended"), [("lander", True), ("scorer", False)])
def test_a_reader_that_hangs_in_a_transaction_is_ended_by_who_took_over_and_nobody_else_is(
    readers: Readers, database: str, reader: str, ended: bool
) -> None:
    with connect(database, autocommit=True) as conn:
        conn.execute("CREATE TABLE held AS SELECT 1 AS one")
    new = readers.start("new")
    hung, writing = connect_writing(database, reader), connect_writing(database, "lander")
    hung.execute("BEGIN")
    hung.execute("UPDATE held SET one = 2")
    writer = threading.Thread(target=lambda: writing.execute("UPDATE held SET one = 3"))
    writer.start()
    with connect(database, autocommit=True) as conn:
        pid = [writing.info.backend_pid]
        wait_until(lambda: conn.execute("SELECT cardinality(pg_blocking_pids(%s))", pid).fetchone() == (1,))
        new.stay(TOPICS, Heartbeat(done=4), writing)
        assert conn.execute("SELECT done FROM stream.reader").fetchone() == (4,)
    if ended:
        with pytest.raises(psycopg.OperationalError):
            hung.execute("COMMIT")
    else:
        hung.execute("COMMIT")
    writer.join(30)
    assert writing.execute("SELECT one FROM held").fetchone() == (3,)
    hung.close()
    writing.close()


def test_a_reader_says_what_it_owns_and_how_far_it_is(readers: Readers, database: str) -> None:
    readers.start("a").renew({"ticks": [0, 1]}, Heartbeat(done=12, lag=3, message="the broker is away"))
    with connect(database) as conn:
        row = conn.execute(
            "SELECT worker, reader, topics, partitions, done, lag, message FROM stream.reader"
        ).fetchone()
    assert row == ("a", "lander", ["ticks"], {"ticks": [0, 1]}, 12, 3, "the broker is away")


def test_a_topic_that_is_no_longer_wanted_is_given_up(readers: Readers) -> None:
    one = readers.start("a")
    one.renew(TOPICS)
    assert {p.topic for p in one.renew({"ticks": [0]})} == {"ticks"}
    assert readers.start("b").renew({"results": [0]}) == {TopicPartition("results", 0)}


@hypothesis_settings(max_examples=15, stateful_step_count=12, deadline=None)
class Crowd(RuleBasedStateMachine):
    """Readers come, die, and renew in any order."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        with connect(self.url, autocommit=True) as conn:
            conn.execute("TRUNCATE stream.reader")
        self.readers = Readers(self.url)
        self.numbers = iter(range(1000))

    @precondition(lambda self: len(self.readers.by_name) < 5)
    @rule()
    def start(self) -> None:
        self.readers.start(f"r{next(self.numbers)}")

    @precondition(lambda self: self.readers.by_name)
    @rule(place=st.integers(0, 4), politely=st.booleans())
    def end(self, place: int, politely: bool) -> None:
        name = sorted(self.readers.by_name)[place % len(self.readers.by_name)]
        if politely:
            self.readers.by_name.pop(name).close()
        else:
            self.readers.kill(name)

    @precondition(lambda self: self.readers.by_name)
    @rule(place=st.integers(0, 4))
    def renew(self, place: int) -> None:
        self.readers.by_name[sorted(self.readers.by_name)[place % len(self.readers.by_name)]].renew(TOPICS)

    @precondition(lambda self: self.readers.by_name)
    @rule()
    def settle(self) -> None:
        self.readers.rounds()
        assert sum(sizes(self.readers).values()) == len(EVERY)
        live = len(self.readers.by_name)
        for topic, numbers in TOPICS.items():
            for one in self.readers.by_name.values():
                assert len([p for p in one.owned if p.topic == topic]) <= -(-len(numbers) // live)

    @invariant()
    def nothing_is_owned_twice(self) -> None:
        owned = [partition for one in self.readers.by_name.values() for partition in one.owned]
        assert len(owned) == len(set(owned))

    def teardown(self) -> None:
        for one in self.readers.by_name.values():
            one.close()


def test_whoever_comes_and_goes_no_partition_has_two_owners_or_none_for_long(database: str) -> None:
    Crowd.url = database
    run_state_machine_as_test(Crowd)


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_read_only_database_is_said(readers: Readers, database: str) -> None:
    one = readers.start("a")
    one._conn.execute("SET default_transaction_read_only = on")
    with pytest.raises(OwnershipLostError, match="read-only") as lost:
        one.renew(TOPICS)
    assert isinstance(lost.value.__cause__, psycopg.errors.ReadOnlySqlTransaction)
