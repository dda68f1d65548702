"""The challenger answers the same requests as the champion, off the path of the answer; the log keeps both."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bentos.match_odds.log.bounded_queue import BoundedQueue
from bentos.match_odds.log.prediction_log import LoggedAnswer, PredictionLog
from bentos.match_odds.model.champions import Champion
from bentos.match_odds.model.rows import CachedRow, ModelRow, RowAnswer, StoredRow
from bentos.match_odds.model.scoring import model_row

if TYPE_CHECKING:
    from bentos.match_odds.model.served import Served

CAPACITY = 512
BATCH = 64
PAUSE = 0.05
"""Seconds between two looks at the queue."""

REST = 0.005
"""Seconds between two batches, in which the thread leaves the interpreter to the answers."""

REMEMBERED = 4096
"""Answers that are kept: a stored row stays the same object as long as nothing in it changes."""

Score = Callable[[Sequence[ModelRow]], list[RowAnswer]]
logger = logging.getLogger(__name__)


class ShadowFate(StrEnum):
    """What became of an answered row: the challenger scored it, there was no time for it, or the challenger failed."""

    SCORED = "scored"
    DROPPED = "dropped"
    FAILED = "failed"


@dataclass(frozen=True)
class _Offered:
    challenger: Champion
    stored: StoredRow
    logged: LoggedAnswer


@dataclass(frozen=True)
class _Known:
    """An answer, and what was asked: as long as it is held, no other object can have the same id."""

    challenger: Champion
    stored: StoredRow
    answer: RowAnswer


class Shadow:
    """A bounded queue and one scoring thread. SCORED + DROPPED + FAILED is the number of rows offered.

    Under load it is the first to go: nothing is taken in while requests wait to be scored, nor beyond `capacity`.
    Whatever a challenger does, the answers are given; the first failure of each version is logged, all are counted.

    Args:
        score: answers rows of one model.
        log: keeps the challenger's answers; None: they are only computed.
        count: told of every row's fate.
        busy: whether requests wait to be scored.
        capacity: rows held at once.
    """

    def __init__(
        self,
        score: Score,
        log: PredictionLog | None,
        count: Callable[[ShadowFate, int], None],
        busy: Callable[[], bool],
        capacity: int = CAPACITY,
    ) -> None:
        self._score = score
        self._log = log
        self._count = count
        self._busy = busy
        self._queue: BoundedQueue[_Offered] = BoundedQueue(capacity)
        self._known: dict[tuple[int, int], _Known] = {}
        self._told: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, served: Served, answered: Sequence[tuple[CachedRow, LoggedAnswer]]) -> None:
        """Hand over what was answered. Returns at once; without a challenger for the market nothing happens."""
        if not answered:
            return
        challenger = served.challengers.get(answered[0][1].market)
        if challenger is None:
            return
        dropped = len(answered)
        if not self._busy():
            rows = [_Offered(challenger, cached.stored, logged) for cached, logged in answered]
            dropped = self._queue.put(rows)
        if dropped:
            self._count(ShadowFate.DROPPED, dropped)

    def close(self, seconds: float = 2.0) -> None:
        """End after the batch in hand, within so many seconds; what was not scored is counted as dropped."""
        self._closing.set()
        self._thread.join(seconds)
        if left := self._queue.give_up():
            self._count(ShadowFate.DROPPED, left)

    def _run(self) -> None:
        while not self._closing.wait(REST if self._queue else PAUSE):
            batch = self._queue.take(BATCH)
            for rows in _by_challenger(batch):
                self._answer(rows)

    def _answer(self, rows: Sequence[_Offered]) -> None:
        """Rows of one challenger."""
        version = rows[0].challenger.version
        try:
            known = self._scored(rows)
        except Exception as error:  # noqa: BLE001 - a challenger may do anything but harm
            self._failed(version, len(rows), f"{type(error).__name__}: {error}")
            return
        good = [(offered, one) for offered, one in zip(rows, known, strict=True) if one.answer.error is None]
        if len(good) < len(rows):
            reason = next(one.answer.error for one in known if one.answer.error is not None)
            self._failed(version, len(rows) - len(good), reason)
        if good and self._queue.settle(len(good)):
            self._count(ShadowFate.SCORED, len(good))
            if self._log is not None:
                self._log.put([_logged(offered, one) for offered, one in good])

    def _scored(self, rows: Sequence[_Offered]) -> list[_Known]:
        """The answer to each row; a stored row is scored once, however often the match is asked for."""
        new = {place: offered for offered in rows if (place := _place(offered)) not in self._known}
        models = [_model_row(offered) for offered in new.values()]
        answers = self._score(models) if models else []
        if len(self._known) + len(new) > REMEMBERED:
            self._known = {_place(offered): one for offered in rows if (one := self._known.get(_place(offered)))}
        for (place, offered), answer in zip(new.items(), answers, strict=True):
            self._known[place] = _Known(offered.challenger, offered.stored, answer)
        return [self._known[_place(offered)] for offered in rows]

    def _failed(self, version: str, rows: int, reason: str) -> None:
        if version not in self._told:
            self._told.add(version)
            logger.error("shadow: challenger %s fails, from now on without a word: %s", version, reason)
        if self._queue.settle(rows):
            self._count(ShadowFate.FAILED, rows)


def _by_challenger(batch: Sequence[_Offered]) -> list[list[_Offered]]:
    groups: dict[int, list[_Offered]] = {}
    for offered in batch:
        groups.setdefault(id(offered.challenger), []).append(offered)
    return list(groups.values())


def _place(offered: _Offered) -> tuple[int, int]:
    return id(offered.challenger), id(offered.stored)


def _model_row(offered: _Offered) -> ModelRow:
    """What the challenger reads of what the champion read. Where it reads more, `fault` names what is missing."""
    features = offered.stored.model.features()
    wanted = offered.challenger.bundle.features
    return model_row(offered.challenger, {name: features[name] for name in wanted if name in features})


def _logged(offered: _Offered, known: _Known) -> LoggedAnswer:
    """Beside the champion's row: request, match and times are the same, and so join the two."""
    return offered.logged._replace(
        variant=known.answer.variant,
        model_version=offered.challenger.version,
        probabilities=known.answer.probabilities,
        role="challenger",
    )
