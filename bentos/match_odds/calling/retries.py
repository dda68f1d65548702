"""When a client asks again: a few times, after random waits, never beyond the time that its caller gave it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from bentos.match_odds.calling.client_errors import MatchOddsError

LEAST = 0.001
"""Seconds that an attempt gets although its wait ended late."""

Reply = TypeVar("Reply")


@dataclass(frozen=True)
class Retries:
    """Waits are drawn between zero and a bound that doubles ("full jitter"), so that clients that were refused together
    do not come back together. Where the service says how long to wait, that comes on top.

    Every method of the service only reads, so that asking twice does no harm.

    Attributes:
        attempts: the most that are made, the first included; 1: no retries.
        first, longest: the bounds of the first and of any wait, in seconds.
    """

    attempts: int = 5
    first: float = 0.05
    longest: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0.0 <= self.first <= self.longest:
            raise ValueError("attempts must be at least 1, and 0 <= first <= longest")

    def call(self, ask: Callable[[float], Reply], seconds: float) -> Reply:
        """What `ask`, which gets the seconds left, returns or at last raises."""
        deadline, failures = time.monotonic() + seconds, 0
        while True:
            try:
                return ask(max(LEAST, deadline - time.monotonic()))
            except MatchOddsError as error:
                failures += 1
                wait = self.wait(failures, error, deadline - time.monotonic())
                if wait is None:
                    raise
            time.sleep(wait)

    async def call_async(self, ask: Callable[[float], Awaitable[Reply]], seconds: float) -> Reply:
        """As `call`."""
        deadline, failures = time.monotonic() + seconds, 0
        while True:
            try:
                return await ask(max(LEAST, deadline - time.monotonic()))
            except MatchOddsError as error:
                failures += 1
                wait = self.wait(failures, error, deadline - time.monotonic())
                if wait is None:
                    raise
            await asyncio.sleep(wait)

    def wait(self, failures: int, error: MatchOddsError, left: float) -> float | None:
        """Seconds before the next attempt; None: there is none, as it could not begin within the seconds left."""
        if not error.retryable or failures >= self.attempts:
            return None
        doublings = min(failures - 1, 60)  # beyond that `longest` rules, and a float would overflow in the end
        bound = min(self.longest, self.first * 2.0**doublings)
        drawn = (error.retry_after or 0.0) + random.uniform(0.0, bound)
        return drawn if drawn < left else None
