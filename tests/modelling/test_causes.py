"""When a market is trained again: once for each cause, never within the cooldown, and no cause is lost."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from betting_assets.modelling.causes import (
    ASKED_FOR,
    LONGEST_TAG,
    Attempt,
    Before,
    CauseName,
    Finding,
    Seen,
    age,
    handled,
    is_due,
    results_since,
    told,
)

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
MINUTE = 60.0


def drifted(about: str = "v1", holds: bool = True) -> Finding:
    return Finding(CauseName.DRIFT, holds, about, "3 of 3 columns of match_market drifted")


def finished(at: float, **about: str) -> Attempt:
    return Attempt(at, about, finished=True)


def test_what_was_never_trained_is_due_without_a_cause_or_a_wait() -> None:
    assert is_due([], None, 0.0, 360)


def test_without_a_cause_nothing_is_due() -> None:
    assert not is_due([], finished(0), 1e9, 0)
    assert not is_due([Seen(drifted(holds=False), 10)], finished(0), 1e9, 0)


def test_a_cause_met_during_the_cooldown_waits_for_its_end() -> None:
    seen = [Seen(drifted(), 10 * MINUTE)]
    assert not is_due(seen, finished(0), 359 * MINUTE, 360)
    assert is_due(seen, finished(0), 360 * MINUTE, 360)


def test_without_a_cooldown_a_cause_is_due_at_once() -> None:
    assert is_due([Seen(drifted(), 1)], finished(0), 2, 0)


def test_what_was_found_before_the_training_is_no_cause_after_it() -> None:
    assert not is_due([Seen(drifted(), 5)], finished(10), 1e9, 0)


def test_a_check_that_keeps_failing_about_the_same_thing_is_one_cause() -> None:
    """The challenger was refused, so the same champion still meets a changed world."""
    assert not is_due([Seen(drifted("v1"), 20)], finished(10, drift="v1"), 1e9, 0)
    assert is_due([Seen(drifted("v2"), 20)], finished(10, drift="v1"), 1e9, 0)


def test_another_cause_is_news_though_one_was_dealt_with() -> None:
    worse = Finding(CauseName.PERFORMANCE, True, "v1", "worse")
    assert is_due([Seen(drifted("v1"), 20), Seen(worse, 20)], finished(10, drift="v1"), 1e9, 0)


def test_a_training_that_did_not_finish_is_tried_again_ever_more_rarely() -> None:
    hours = []
    for failures in range(8):
        last = Attempt(0.0, {}, finished=False, failures=failures)
        hours.append(next(h for h in range(1, 100) if is_due([], last, h * 60 * MINUTE, 0)))
    assert hours == [1, 2, 4, 8, 16, 24, 24, 24]
    assert not is_due([], Attempt(0.0, {}, finished=False), 359 * MINUTE, 360)


def test_a_training_that_is_slow_is_not_asked_for_a_second_time() -> None:
    """An hour after it had begun there was a second one beside it, or right behind it."""
    assert not is_due([], Attempt(0.0, {}, finished=False, moved=math.inf), 1e9, 0)
    between_two_runs = Attempt(0.0, {}, finished=False, moved=100 * MINUTE)
    assert not is_due([], between_two_runs, 159 * MINUTE, 0)
    assert is_due([], between_two_runs, 160 * MINUTE, 0)


def test_results_are_a_cause_from_the_number_on_and_are_about_the_training_before() -> None:
    assert not results_since(199, NOW, 200).holds
    found = results_since(200, NOW, 200)
    assert found.holds
    assert found.about == "2026-03-01T12:00:00+00:00"
    assert found.told == "200 results since the training of 2026-03-01T12:00:00+00:00, 200 are a cause"
    assert not results_since(500, None, 200).holds


def test_a_model_is_old_after_the_days_and_not_on_them() -> None:
    assert not age(NOW - dt.timedelta(days=30), NOW, 30).holds
    assert age(NOW - dt.timedelta(days=30, seconds=1), NOW, 30).holds
    assert not age(None, NOW, 30).holds


def test_a_training_deals_with_what_holds_and_with_all_that_was_counted_so_far() -> None:
    """Results that come while it reads are counted from the same training as those before: no second cause."""
    findings = [drifted(holds=False), results_since(3, NOW, 200), age(NOW, NOW, 30)]
    about = NOW.isoformat(timespec="seconds")
    assert handled(findings) == {"new_results": about, "model_age": about}
    assert handled([drifted("v7")]) == {"drift": "v7"}


def test_the_causes_are_told_in_one_line_that_fits_a_tag() -> None:
    assert told([drifted()], Before.FINISHED) == "drift: 3 of 3 columns of match_market drifted"
    both = told([drifted(), results_since(210, NOW, 200)], Before.FINISHED)
    assert both.startswith("drift: 3 of 3 columns of match_market drifted; new_results: 210 results")
    long = told(
        [drifted(), drifted(), results_since(210, NOW, 200), age(NOW - dt.timedelta(40), NOW, 30)], Before.FINISHED
    )
    assert len(long) == LONGEST_TAG
    assert long.endswith("…")
    assert told([drifted(holds=False)], Before.FINISHED) == ASKED_FOR
    assert told([], Before.NONE) == "first training"
    assert told([], Before.UNFINISHED) == "again: the training before did not finish"


@dataclass
class World:
    """A market whose check is evaluated now and then, and a daemon that asks `is_due` every minute."""

    cooldown: float
    last: Attempt = field(default_factory=lambda: finished(0))
    seen: list[Seen] = field(default_factory=list)
    trained: list[tuple[float, str]] = field(default_factory=list)
    dealt_with: set[str] = field(default_factory=set)

    def minute(self, now: float, about: str | None) -> None:
        if about is not None:
            self.seen = [Seen(drifted(about), now)]
        if is_due(self.seen, self.last, now, self.cooldown):
            cause = self.seen[0].finding.about
            self.trained.append((now, cause))
            self.last = finished(now, drift=cause)


@given(
    cooldown=st.sampled_from([0, 5, 30]),
    checks=st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["v1", "v2", "v3"])), max_size=30),
)
def test_trainings_keep_their_distance_and_the_last_cause_is_always_dealt_with(
    cooldown: int, checks: list[tuple[int, str]]
) -> None:
    world, now = World(cooldown), 0
    for gap, about in checks:
        for _ in range(gap):
            now += 1
            world.minute(now * MINUTE, None)
        world.minute(now * MINUTE, about)
    for _ in range(cooldown + 1):
        now += 1
        world.minute(now * MINUTE, None)
    times = [0.0, *(at for at, _ in world.trained)]
    assert all(after - before >= cooldown * MINUTE for before, after in itertools.pairwise(times))
    assert all(one[1] != other[1] for one, other in itertools.pairwise(world.trained))
    if checks:
        assert world.trained
        assert world.last.handled == {"drift": checks[-1][1]}
