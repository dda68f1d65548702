"""Positions: a reader starts where it is, notices a log that is not the one it read, and cannot be overtaken."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from betting_assets.streaming import positions
from betting_assets.streaming.positions import LANDER, SCORER, FencedError, accept_gap, advance, load
from betting_assets.streaming.topic_logs import (
    BrokerLog,
    LogGapError,
    LogReplacedError,
    LogTruncatedError,
    accept_new_log,
    current_epoch,
)
from betting_assets.warehouse.database import connect

pytestmark = pytest.mark.services

LOG = BrokerLog("odds.ticks.v1", "cluster-a", "topic-a", begin={0: 0, 1: 5}, end={0: 100, 1: 50})
OTHER = replace(LOG, topic_id="topic-b", begin={0: 0, 1: 0}, end={0: 3, 1: 0})


def read(conn: psycopg.Connection, log: BrokerLog = LOG, reader: str = LANDER) -> dict[int, int]:
    return load(conn, reader, log, current_epoch(conn, log), log.partitions)


def step(conn: psycopg.Connection, old: int, new: int, *, reader: str = LANDER, epoch: int = 1) -> None:
    with conn.transaction():
        advance(conn, reader, LOG.topic, 0, epoch, old, new)


def test_a_topic_is_read_from_its_beginning_and_then_from_where_the_reader_is(database: str) -> None:
    with connect(database, autocommit=True) as conn:
        assert read(conn) == {0: 0, 1: 5}
        step(conn, 0, 7)
        assert read(conn) == {0: 7, 1: 5}
        assert read(conn, reader=SCORER) == {0: 0, 1: 5}


def test_a_partition_that_was_added_later_is_read_from_its_beginning(database: str) -> None:
    grown = replace(LOG, begin={**LOG.begin, 2: 0}, end={**LOG.end, 2: 9})
    with connect(database, autocommit=True) as conn:
        read(conn)
        step(conn, 0, 7)
        assert read(conn, grown) == {0: 7, 1: 5, 2: 0}


def test_a_position_moves_only_from_where_its_mover_believes_it_is(database: str) -> None:
    with connect(database, autocommit=True) as conn:
        read(conn)
        step(conn, 0, 7)
        for old, epoch in ((0, 1), (6, 1), (8, 1), (7, 2)):
            with pytest.raises(FencedError, match="has read on from offset"):
                step(conn, old, 9, epoch=epoch)
        assert read(conn) == {0: 7, 1: 5}


def test_of_two_that_believe_they_own_a_partition_one_lands_and_the_other_writes_nothing(database: str) -> None:
    with connect(database, autocommit=True) as one, connect(database, autocommit=True) as two:
        read(one)
        with one.transaction():
            advance(one, LANDER, LOG.topic, 0, 1, 0, 10)
            two.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable), two.transaction():
                advance(two, LANDER, LOG.topic, 0, 1, 0, 10)
        with pytest.raises(FencedError):
            step(two, 0, 10)


@pytest.mark.parametrize("other", [OTHER, replace(LOG, cluster_id="cluster-b"), replace(LOG, topic_id="")])
def test_another_log_under_the_name_of_the_topic_is_refused_with_the_way_on(database: str, other: BrokerLog) -> None:
    with connect(database, autocommit=True) as conn:
        read(conn)
        with pytest.raises(LogReplacedError, match=r"--accept-new-log odds\.ticks\.v1") as refusal:
            read(conn, other)
    assert "\n" not in str(refusal.value)


def test_an_accepted_log_is_a_new_epoch_that_every_reader_reads_from_its_beginning(database: str) -> None:
    with connect(database, autocommit=True) as conn:
        for reader in (LANDER, SCORER):
            read(conn, reader=reader)
            step(conn, 0, 7, reader=reader)
        assert accept_new_log(conn, OTHER) == 2
        assert read(conn, OTHER) == {0: 0, 1: 0}
        assert read(conn, OTHER, SCORER) == {0: 0, 1: 0}
        with pytest.raises(FencedError):
            step(conn, 7, 9)
        with pytest.raises(LogReplacedError):
            read(conn, LOG)


def test_accepting_again_what_was_accepted_changes_nothing(database: str) -> None:
    with connect(database, autocommit=True) as conn:
        read(conn)
        step(conn, 0, 7)
        assert [accept_new_log(conn, LOG), accept_new_log(conn, LOG)] == [1, 1]
        assert read(conn) == {0: 7, 1: 5}


def test_a_log_that_ends_before_a_position_is_refused_until_it_is_accepted_as_new(database: str) -> None:
    short = replace(LOG, end={0: 6, 1: 50})
    with connect(database, autocommit=True) as conn:
        read(conn)
        step(conn, 0, 7)
        with pytest.raises(LogTruncatedError, match="ends at offset 6, but it was read up to 7"):
            read(conn, short)
        assert accept_new_log(conn, short) == 2
        assert read(conn, short) == {0: 0, 1: 5}


def test_messages_that_retention_removed_unread_are_a_gap_until_it_is_accepted(database: str) -> None:
    late = replace(LOG, begin={0: 20, 1: 5})
    with connect(database, autocommit=True) as conn:
        read(conn)
        step(conn, 0, 7)
        with pytest.raises(LogGapError, match=r"offsets 7 to 19 .* --accept-gap odds\.ticks\.v1"):
            read(conn, late)
        assert accept_gap(conn, LANDER, late, 1, record=True) == 13
        assert accept_gap(conn, LANDER, late, 1, record=True) == 0
        assert read(conn, late) == {0: 20, 1: 5}
        rows = conn.execute('SELECT partition, "offset", reason, detail FROM stream.dead_letter').fetchall()
    assert [row[:3] for row in rows] == [(0, 7, positions.LOST)]
    assert "offsets 7 to 19" in rows[0][3]
