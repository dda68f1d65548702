"""No row between serving and a background thread is lost without being counted, and no more are held than allowed."""

from __future__ import annotations

import threading
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from bentos.match_odds.log.bounded_queue import BoundedQueue

CAPACITY = 20


class Rows(RuleBasedStateMachine):
    """Any order of puts, takes and settlements, then the end."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: BoundedQueue[int] = BoundedQueue(CAPACITY)
        self.put_in = self.turned_away = self.settled = 0
        self.waiting: list[int] = []
        self.hand: list[int] = []
        self.left: int | None = None

    @rule(n=st.integers(0, 30))
    def put(self, n: int) -> None:
        rows = list(range(self.put_in, self.put_in + n))
        away = self.queue.put(rows)
        self.put_in += n
        self.turned_away += away
        if self.left is None:
            self.waiting += rows[: n - away]
            assert len(self.waiting) + len(self.hand) <= CAPACITY
            assert away == 0 or len(self.waiting) + len(self.hand) == CAPACITY
        else:
            assert away == n

    @rule(most=st.integers(1, 30))
    def take(self, most: int) -> None:
        taken = self.queue.take(most)
        assert taken == self.waiting[:most]
        self.waiting = self.waiting[most:]
        self.hand += taken

    @rule(n=st.integers(0, 30))
    def settle(self, n: int) -> None:
        n = min(n, len(self.hand))
        if self.queue.settle(n):
            self.settled += n
            assert self.left is None
        self.hand = self.hand[n:]

    @rule()
    def give_up(self) -> None:
        left = self.queue.give_up()
        assert left == (0 if self.left is not None else len(self.waiting) + len(self.hand))
        self.left = (self.left or 0) + left
        self.waiting = []

    def teardown(self) -> None:
        left = (self.left or 0) + self.queue.give_up()
        assert self.turned_away + self.settled + left == self.put_in


TestRows = Rows.TestCase
TestRows.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@settings(max_examples=5, deadline=None)
@given(writers=st.integers(2, 4))
def test_threads_at_once_lose_nothing_and_keep_the_bound(writers: int) -> None:
    queue: BoundedQueue[int] = BoundedQueue(50)
    counts: Counter[str] = Counter()
    ended = threading.Event()

    def put(number: int) -> None:
        for _ in range(500):
            counts[f"away {number}"] += queue.put([1] * 7)

    def drain() -> None:
        while not (ended.is_set() and not queue):
            taken = queue.take(11)
            assert len(taken) <= 11
            if taken and queue.settle(len(taken)):
                counts["settled"] += len(taken)

    drainer = threading.Thread(target=drain)
    threads = [threading.Thread(target=put, args=(i,)) for i in range(writers)]
    for thread in [drainer, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    drainer.join()
    assert sum(counts.values()) == writers * 500 * 7
