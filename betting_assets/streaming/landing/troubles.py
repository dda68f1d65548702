"""What keeps a reader of topics from its work: told once, then once a minute while it lasts, and when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

TELL_SECONDS = 60.0
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
PATIENCE_SECONDS = 60.0
"""How long a database that refuses is tried."""

AWAY = ("08", "57P", "53300", "25P03")
"""SQLSTATEs of a server that is going, coming, full of connections, or has ended an idle session. All others are
refusals."""


class Kind(StrEnum):
    AWAY = "away"
    """Something is not there; it comes back by itself."""
    REFUSED = "refused"
    """The database is there and does not take what is to be written; mostly a person must mend it."""


class Troubles:
    """The trouble that lasts, if any, and how long to wait before the next try.

    Args:
        again: what is told when it is over.
    """

    def __init__(self, tell: Callable[[str], None], again: str) -> None:
        self._tell, self._again = tell, again
        self._told_at: dict[Kind, float] = {}
        self._since: dict[Kind, float] = {}
        self._wait = FIRST_WAIT
        self.line: str | None = None

    def met(self, kind: Kind, line: str) -> None:
        now = time.monotonic()
        self.line = " ".join(line.split())
        self._since.setdefault(kind, now)
        if now - self._told_at.get(kind, -TELL_SECONDS) >= TELL_SECONDS:
            self._told_at[kind] = now
            self._tell(self.line)

    def works(self, rows: int) -> None:
        """Broker and database answered. Only rows that were landed prove that none are refused."""
        for kind in [kind for kind in self._since if rows or kind is Kind.AWAY]:
            del self._since[kind]
            if self._told_at.pop(kind, None) is not None and not self._since:
                self._tell(self._again)
        if not self._since:
            self._wait, self.line = FIRST_WAIT, None

    def seconds(self, kind: Kind) -> float:
        """How long a trouble of this kind has lasted."""
        return time.monotonic() - self._since[kind] if kind in self._since else 0.0

    def pause(self) -> float:
        """Seconds until the next try: more after each."""
        pause, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT)
        return pause
