"""The online store as the service reads it: blocking, for one thread, and back at once after an outage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feature_repo.online_rows import OnlineRows

Read = Callable[[Sequence[str]], "OnlineRows"]

NO_STORE = "no online store: the service was started without BETTING_DATABASE_URL"
CONNECT_TIMEOUT = 2
"""Seconds to wait for PostgreSQL when it is asked whether it is there again."""


class OnlineReader:
    """Reads every feature of the service `serving` for matches; loads Feast at the first read.

    Args:
        url: PostgreSQL that holds the store.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._read: Read | None = None
        self._failed = False

    def __call__(self, match_ids: Sequence[str]) -> OnlineRows:
        """One row an id, in order; without ids, only whether the store answers."""
        if self._failed:
            self._connect_anew()
        self._failed = True
        rows = self._reader()(match_ids)
        self._failed = False
        return rows

    def _reader(self) -> Read:
        if self._read is None:
            from feature_repo.operations import online_reader
            from feature_repo.services import serving_service
            from feature_repo.store import feature_store

            self._read = online_reader(feature_store(self._url), serving_service())
        return self._read

    def _connect_anew(self) -> None:
        """Fail now if PostgreSQL is away. If it is back, drop the pool, whose next try may be a minute ahead."""
        import psycopg

        psycopg.connect(self._url, connect_timeout=CONNECT_TIMEOUT).close()
        if self._read is not None:
            from feature_repo.store import feature_store, online_store

            online_store(feature_store(self._url)).close_pool()


def reason(error: BaseException) -> str:
    """Why a read failed, in one line for the client: nothing of the server's address or the query."""
    if isinstance(error, LookupError):
        return f"the online store is not set up: {one_line(error)}"
    if isinstance(error, ValueError):
        return f"the online store does not fit this service: {one_line(error)}"
    return f"the online store cannot be reached ({type(error).__name__}): try again"


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
