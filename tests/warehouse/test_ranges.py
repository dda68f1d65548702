"""Every landed offset is planned once, and given to one run at a time until it is done."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from landed import Landed

from betting_assets.warehouse import tables
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.ranges import OffsetRange, Plan, hand_out_again, mark_done, plan, unfinished

TOPIC = "match.results.v1"
PARTITIONS = 2


@pytest.fixture
def landed(database: str) -> Iterator[Landed]:
    with connect(database, autocommit=True) as conn:
        yield Landed(conn)


def planned(conn: psycopg.Connection) -> Plan:
    found = plan(conn, TOPIC, tables.match_result)
    assert found is not None
    return found


def test_a_plan_covers_what_was_landed_since_the_one_before(landed: Landed) -> None:
    landed.result()
    landed.result(partition=1)
    first = planned(landed.conn)
    assert first.ranges == (OffsetRange(TOPIC, 1, 0, 0, 1), OffsetRange(TOPIC, 1, 1, 0, 1))
    assert plan(landed.conn, TOPIC, tables.match_result) is None
    landed.result()
    assert planned(landed.conn).ranges == (OffsetRange(TOPIC, 1, 0, 1, 2),)
    assert unfinished(landed.conn, TOPIC)[0] == first


def test_offsets_without_a_row_are_planned_too(landed: Landed) -> None:
    """Dead letters and gaps: the position moves, no row comes."""
    landed.position(TOPIC, 0, 1, 7)
    assert planned(landed.conn).ranges == (OffsetRange(TOPIC, 1, 0, 0, 7),)


def test_what_was_left_of_a_replaced_log_is_planned(landed: Landed) -> None:
    landed.result()
    planned(landed.conn)
    landed.result()
    landed.result(partition=1)
    landed.result(epoch=2)
    found = planned(landed.conn).ranges
    assert found == (OffsetRange(TOPIC, 1, 0, 1, 2), OffsetRange(TOPIC, 1, 1, 0, 1), OffsetRange(TOPIC, 2, 0, 0, 1))
    assert plan(landed.conn, TOPIC, tables.match_result) is None


def test_a_plan_that_is_rolled_back_never_was(landed: Landed, database: str) -> None:
    landed.result()
    with connect(database) as conn, conn.transaction(force_rollback=True):
        planned(conn)
    assert planned(landed.conn).ranges == (OffsetRange(TOPIC, 1, 0, 0, 1),)


def test_a_failed_runs_ranges_go_to_one_other_run(landed: Landed) -> None:
    landed.result()
    first = planned(landed.conn)
    again = hand_out_again(landed.conn, first)
    assert again is not None
    assert (again.ranges, again.attempt) == (first.ranges, 2)
    assert again.run_key != first.run_key
    assert hand_out_again(landed.conn, first) is None
    assert unfinished(landed.conn, TOPIC) == [again]


def test_a_late_run_of_the_first_attempt_finishes_the_second(landed: Landed) -> None:
    landed.result()
    first = planned(landed.conn)
    hand_out_again(landed.conn, first)
    assert mark_done(landed.conn, first.ranges) == 1
    assert unfinished(landed.conn, TOPIC) == []
    assert mark_done(landed.conn, first.ranges) == 0


def test_a_replay_marks_only_the_ranges_that_it_covers_whole(landed: Landed) -> None:
    for _ in range(4):
        landed.result()
    planned(landed.conn)
    assert mark_done(landed.conn, [OffsetRange(TOPIC, 1, 0, 0, 3)]) == 0
    assert mark_done(landed.conn, [OffsetRange("another", 1, 0, 0, 9)]) == 0
    assert mark_done(landed.conn, [OffsetRange(TOPIC, 1, 0, 0, 9)]) == 1


def test_planners_at_once_give_no_offset_twice(landed: Landed, database: str) -> None:
    rounds, plans = 15, []
    gate = threading.Barrier(4)

    def planner() -> None:
        with connect(database, autocommit=True) as conn:
            for _ in range(rounds):
                gate.wait(30)
                found = plan(conn, TOPIC, tables.match_result)
                if found is not None:
                    plans.append(found)

    threads = [threading.Thread(target=planner) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        landed.result()
        gate.wait(30)
    for thread in threads:
        thread.join(30)
    rest = plan(landed.conn, TOPIC, tables.match_result)
    ranges = [one for found in [*plans, *([rest] if rest else [])] for one in found.ranges]
    offsets = Counter(offset for one in ranges for offset in range(one.from_offset, one.to_offset))
    assert offsets == Counter(range(rounds))


def test_planning_reads_no_rows_of_the_log_that_is_current(landed: Landed) -> None:
    """The sensor plans every few seconds; the table keeps results for ever."""
    landed.conn.execute(
        """INSERT INTO stream.match_result (epoch, partition, "offset", match_id, status, home_score, away_score,
                                            statistics, finished_at, sequence, source, produced_at)
           SELECT 1, 0, n, 'm', 'final', 1, 0, '{}', now(), 0, 'test', now() FROM generate_series(0, 20000) n"""
    )
    landed.conn.execute("ANALYZE stream.match_result")
    landed.position(TOPIC, 0, 1, 20001)
    read = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'match_result'"
    with landed.conn.transaction():
        planned(landed.conn)
        rows = landed.conn.execute(read).fetchone()
    assert rows is not None
    assert rows[0] < 100


class Planning(RuleBasedStateMachine):
    """Landing, replaced logs, planning, runs that end well, fail or come late, in any order."""

    conn: psycopg.Connection

    @initialize()
    def empty(self) -> None:
        self.conn.execute("TRUNCATE stream.planned_range, stream.position, stream.match_result")
        self.landed = Landed(self.conn)
        self.epoch = 1
        self.dealt_with: Counter[OffsetRange] = Counter()

    @rule(partition=st.integers(0, PARTITIONS - 1), n=st.integers(1, 3))
    def land(self, partition: int, n: int) -> None:
        for _ in range(n):
            self.landed.result(partition=partition, epoch=self.epoch)

    @rule()
    def replace_the_log(self) -> None:
        self.epoch = min(self.epoch + 1, 4)

    @rule()
    def plan(self) -> None:
        plan(self.conn, TOPIC, tables.match_result)
        assert self.planned() == Counter(self.rows())

    @rule()
    def be_killed_while_planning(self) -> None:
        before = self.planned()
        with self.conn.transaction(force_rollback=True):
            plan(self.conn, TOPIC, tables.match_result)
        assert self.planned() == before

    @precondition(lambda self: unfinished(self.conn, TOPIC))
    @rule(data=st.data())
    def a_run_ends_well(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(unfinished(self.conn, TOPIC)))
        assert mark_done(self.conn, run.ranges) == len(run.ranges)
        self.dealt_with.update(run.ranges)

    @precondition(lambda self: unfinished(self.conn, TOPIC))
    @rule(data=st.data(), late=st.booleans())
    def a_run_fails(self, data: st.DataObject, late: bool) -> None:
        run = data.draw(st.sampled_from(unfinished(self.conn, TOPIC)))
        again = hand_out_again(self.conn, run)
        assert again is not None
        assert again.ranges == run.ranges
        if late:
            mark_done(self.conn, run.ranges)
            self.dealt_with.update(run.ranges)
            assert again not in unfinished(self.conn, TOPIC)

    @invariant()
    def nothing_is_given_twice(self) -> None:
        if not hasattr(self, "dealt_with"):
            return
        assert max(self.planned().values(), default=1) == 1
        open_ranges = [one for run in unfinished(self.conn, TOPIC) for one in run.ranges]
        assert len(set(open_ranges)) == len(open_ranges)
        assert not set(open_ranges) & set(self.dealt_with)
        assert max(self.dealt_with.values(), default=1) == 1

    def planned(self) -> Counter[tuple[int, int, int]]:
        rows = self.conn.execute("SELECT epoch, partition, from_offset, to_offset FROM stream.planned_range").fetchall()
        return Counter((epoch, part, offset) for epoch, part, first, end in rows for offset in range(first, end))

    def rows(self) -> list[tuple[int, int, int]]:
        return list(self.conn.execute('SELECT epoch, partition, "offset" FROM stream.match_result'))


def test_whatever_happens_every_landed_offset_is_planned_once(database: str) -> None:
    with connect(database, autocommit=True) as conn:
        machine = type("OnThisDatabase", (Planning,), {"conn": conn})
        run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=25, deadline=None))
