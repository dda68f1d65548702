"""An answer is used again only for the very same question, and never for longer than a second."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from bentos.match_odds.proto.messages import Steady
from betting_assets.streaming.scoring import recent
from betting_assets.streaming.scoring.asking import Scored
from betting_assets.streaming.scoring.questions import Question
from betting_assets.streaming.scoring.recent import Recent

SCORED = Scored((0.5, 0.3, 0.2), (2.0, 3.3, 5.0), "champion", "7", "match_odds:1")
STEADY = Steady({"elo": 1500.0})
ASKED = Question("m1", "1x2", 0, STEADY, [0.5, 0.3, 0.2])


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def known(clock: Clock) -> Recent:
    made = Recent(clock)
    made.note(ASKED, SCORED)
    return made


def test_the_same_question_has_the_same_answer_wherever_its_match_stands_in_the_views(known: Recent) -> None:
    assert known.find(replace(ASKED, place=5, odds=[0.5, 0.3, 0.2])) == SCORED


@pytest.mark.parametrize(
    "changes",
    [
        {"odds": [0.5, 0.31, 0.19]},
        {"odds": [None, None, None]},
        {"steady": Steady({"elo": 1500.0})},  # read anew, or of another version of the model
        {"match_id": "m2"},
        {"market": "over_under"},
        {"logged_time": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)},  # the service keeps the log
    ],
)
def test_another_question_is_asked(known: Recent, changes: dict) -> None:
    assert known.find(replace(ASKED, **changes)) is None


def test_a_model_that_was_swapped_is_heard_after_a_second(known: Recent, clock: Clock) -> None:
    clock.now += 0.999
    assert known.find(ASKED) == SCORED
    clock.now += 0.001
    assert known.find(ASKED) is None


def test_using_an_answer_again_does_not_make_it_last_longer(known: Recent, clock: Clock) -> None:
    for _ in range(4):
        clock.now += 0.3
        found = known.find(ASKED)
    assert found is None


def test_a_refusal_is_not_remembered(clock: Clock) -> None:
    known = Recent(clock)
    known.note(ASKED, Scored(fault="'elo' is missing"))
    assert known.find(ASKED) is None


def test_memory_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MOST", 3)
    known = Recent(clock)
    for number in range(4):
        known.note(replace(ASKED, match_id=f"m{number}"), SCORED)
    assert [known.find(replace(ASKED, match_id=f"m{number}")) is None for number in range(4)] == [True] * 3 + [False]
