"""The as-of machine: what a read may have seen."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from betting_assets.betting.timeline import NEVER, timeline

days = st.lists(st.tuples(st.integers(0, 8) | st.just(NEVER), st.integers(0, 8) | st.just(NEVER)), max_size=30)


def seen_by_read(decision, result):
    learned, seen = set(), {}
    for day in timeline(np.array(decision, dtype=np.int64), np.array(result, dtype=np.int64)):
        seen |= {int(row): frozenset(learned) for row in day.reads}
        learned |= {int(row) for row in day.updates}
    return seen, learned


@given(days)
def test_a_read_sees_exactly_the_results_of_earlier_days(events):
    decision, result = [d for d, _ in events], [r for _, r in events]
    seen, learned = seen_by_read(decision, result)
    assert seen == {
        i: frozenset(j for j, r in enumerate(result) if r != NEVER and r < d)
        for i, d in enumerate(decision)
        if d != NEVER
    }
    assert learned == {j for j, r in enumerate(result) if r != NEVER}


@given(days)
def test_days_come_in_order_and_once(events):
    decision, result = (np.array([e[i] for e in events], dtype=np.int64) for i in (0, 1))
    order = [day.day for day in timeline(decision, result)]
    assert order == sorted(set(order))
