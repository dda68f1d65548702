"""Answers of the last second. Most ticks are of a book that no model reads: they change prices and edges alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from betting_assets.streaming.scoring.asking import Scored
from betting_assets.streaming.scoring.questions import Question
from betting_assets.streaming.scoring.state import Touched

LASTS_SECONDS = 1.0
"""So soon another model is heard, also of matches whose odds stand still."""

MOST = 40_000
"""Answers that are remembered; beyond that all are let go."""


@dataclass(frozen=True)
class _Known:
    asked: Question
    scored: Scored
    until: float


class Recent:
    """Args:
    clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Touched, _Known] = {}

    def find(self, asked: Question) -> Scored | None:
        """What was answered to the same question. None for one whose answer is to be logged: the service does that."""
        known = self._known.get((asked.match_id, asked.market))
        if known is None or asked.logged_time is not None or self._clock() >= known.until:
            return None
        same = asked.steady is known.asked.steady and asked.odds == known.asked.odds
        return known.scored if same else None

    def note(self, asked: Question, scored: Scored) -> None:
        """Remember an answer; one that has a fault is asked for again."""
        if scored.fault is not None:
            return
        if len(self._known) >= MOST:
            self._known = {}
        self._known[asked.match_id, asked.market] = _Known(asked, scored, self._clock() + LASTS_SECONDS)
