"""Why a market's model is trained again: four causes with their numbers, and the rule that says when one is due.

A cause is *about* something: drift is about a champion, new results are about the training that they came after. Once a
training was finished for a cause, the same cause about the same thing is no news, whatever became of the challenger.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

LONGEST_TAG = 200
"""Characters: run storages break on long tags."""

FIRST_RETRY_MINUTES = 60.0
LONGEST_RETRY_MINUTES = 24 * 60.0
"""A training that stopped before its end is tried again after an hour, then after two, four, …, at most a day."""

ASKED_FOR = "asked for, no cause holds"

NEVER = "never"


class CauseName(StrEnum):
    DRIFT = "drift"
    NEW_RESULTS = "new_results"
    MODEL_AGE = "model_age"
    PERFORMANCE = "performance"


@dataclass(frozen=True)
class Finding:
    """What was found out about one cause for one market.

    Attributes:
        holds: whether it asks for a training.
        about: the thing that it is about, see above.
        told: the numbers in one line.
    """

    cause: CauseName
    holds: bool
    about: str
    told: str


@dataclass(frozen=True)
class Attempt:
    """The newest training of a market, as far as it came.

    Attributes:
        at: when it was asked for, or began (seconds since 1970).
        handled: by cause, what it was about; empty if it did not get so far.
        finished: the gate has judged what came of it.
        moved: when the market's newest run ended (seconds since 1970), infinity while one is under way.
        failures: trainings without an end before it, in a row.
    """

    at: float
    handled: Mapping[str, str]
    finished: bool
    moved: float = 0.0
    failures: int = 0


@dataclass(frozen=True)
class Seen:
    """A finding, and when it was made (seconds since 1970)."""

    finding: Finding
    at: float


def results_since(count: int, since: dt.datetime | None, least: int) -> Finding:
    """Results that are new or were corrected since the newest training set."""
    told = f"{count} results since the training of {_moment(since)}, {least} are a cause"
    return Finding(CauseName.NEW_RESULTS, since is not None and count >= least, _moment(since), told)


def age(since: dt.datetime | None, now: dt.datetime, most_days: float) -> Finding:
    """Age of the newest training set, by the wall clock."""
    if since is None:
        return Finding(CauseName.MODEL_AGE, False, NEVER, "never trained")
    days = (now - since) / dt.timedelta(days=1)
    told = f"trained {days:.1f} days ago, more than {most_days:g} are a cause"
    return Finding(CauseName.MODEL_AGE, days > most_days, _moment(since), told)


def is_due(seen: Sequence[Seen], last: Attempt | None, now: float, cooldown_minutes: float) -> bool:
    """Whether a market is to be trained now.

    A market that was never tried is due at once. Nothing is due before the cooldown is over; what was found meanwhile
    waits for its end. A training that stopped before its end is tried again, ever more rarely; one that is slow is not.
    """
    if last is None:
        return True
    if now < last.at + 60 * cooldown_minutes:
        return False
    if last.finished:
        return any(_is_news(one, last) for one in seen)
    return now >= max(last.at, last.moved) + 60 * _retry_minutes(last.failures)


def handled(findings: Sequence[Finding]) -> dict[str, str]:
    """What a training that sees `findings` deals with: what holds, and all that was counted up to now."""
    always = (CauseName.NEW_RESULTS, CauseName.MODEL_AGE)
    return {one.cause.value: one.about for one in findings if one.holds or one.cause in always}


class Before(StrEnum):
    """What became of the training before, and so why there is another where no cause holds."""

    NONE = "first training"
    UNFINISHED = "again: the training before did not finish"
    FINISHED = ASKED_FOR


def told(findings: Sequence[Finding], before: Before) -> str:
    """The causes that hold, in one line that fits into a tag; else why a training is made all the same."""
    held = "; ".join(f"{one.cause}: {one.told}" for one in findings if one.holds) or before.value
    return held if len(held) <= LONGEST_TAG else f"{held[: LONGEST_TAG - 1]}…"


def _is_news(one: Seen, last: Attempt) -> bool:
    finding = one.finding
    return finding.holds and one.at >= last.at and last.handled.get(finding.cause) != finding.about


def _retry_minutes(failures: int) -> float:
    return min(FIRST_RETRY_MINUTES * 2.0 ** min(failures, 10), LONGEST_RETRY_MINUTES)


def _moment(since: dt.datetime | None) -> str:
    return NEVER if since is None else since.astimezone(dt.UTC).isoformat(timespec="seconds")
