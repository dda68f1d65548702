"""Which requests are worth a line in the log: those that the service failed, and the slow ones."""

from __future__ import annotations

import logging
from collections.abc import Callable

from bentos.match_odds.errors import Overloaded, ServingError

SLOW = 0.5
"""Seconds."""

logger = logging.getLogger(__name__)


class Refusals:
    """Counts and logs. What is the client's fault is the client's to log: it may quote what was sent.

    Args:
        shed: told the protocol of every request that was refused because too much work waits.
    """

    def __init__(self, shed: Callable[[str], None]) -> None:
        self._shed = shed

    def refused(self, protocol: str, error: ServingError) -> None:
        """A request is about to be answered with `error`."""
        if isinstance(error, Overloaded):
            self._shed(protocol)
        if error.status >= 500:
            logger.warning("refused: %s", error, extra={"protocol": protocol, "status": error.status})


def note_slow(protocol: str, method: str, seconds: float) -> None:
    """Log a request if it took long. Not for streams."""
    if seconds >= SLOW:
        took = round(seconds * 1000)
        logger.warning("slow: %d ms", took, extra={"protocol": protocol, "method": method})
