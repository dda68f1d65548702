"""What keeps a reader of topics from its work: told once, then once a minute while it lasts, and when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

import psycopg

from betting_assets.warehouse.database import without_password

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

    def met_database(self, error: BaseException, url: str, patience: float) -> str | None:
        """A database is away or refuses; returns the line when it has refused for `patience` seconds."""
        where, refusal = without_password(url), _refusal(error)
        if refusal is None:
            self.met(Kind.AWAY, f"database {where}: {gist(error)}; waiting for it")
            return None
        line = f"database {where} refuses: {gist(refusal)} (SQLSTATE {refusal.sqlstate}); nothing is lost"
        self.met(Kind.REFUSED, f"{line}, trying again for {patience:.0f} s")
        return line if self.seconds(Kind.REFUSED) >= patience else None

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


def gist(error: BaseException) -> str:
    """What an error says, in one line."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or " ".join(str(error).split()) or type(error).__name__


def _refusal(error: BaseException | None) -> psycopg.Error | None:
    """The error behind `error` by which a living database refuses; None when it is away."""
    while error is not None:
        if isinstance(error, psycopg.Error) and error.sqlstate and not error.sqlstate.startswith(AWAY):
            return error
        error = error.__cause__
    return None
