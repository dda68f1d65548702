"""The board of one worker: a reader that works while somebody looks, and any number of streams fed by it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable

from bentos.match_odds.board.contract import Serving
from bentos.match_odds.board.reader import BoardReader
from bentos.match_odds.board.rendering import Rendered
from bentos.match_odds.errors import Unavailable

MOST_CLIENTS = 100
"""Streams of one worker; who comes later is sent away."""

IDLE = 60.0
"""Seconds without anybody looking, after which nothing is read any more."""

FIRST = 15.0
"""Seconds that the first reading may take."""

HEARTBEAT = 10.0
"""Seconds without a change, after which a stream shows that it lives."""

KEPT = 64
"""Changes that are kept for those who have not sent them yet; a client behind all of them is dropped."""


class Board:
    """For one event loop. Nothing is kept for a client: all streams send from one list of changes.

    Args:
        url: None: there is no database, and no board.
        replayed: matches of the past are played as upcoming; time is told by the data.
    """

    def __init__(self, url: str | None, replayed: bool, serving: Callable[[], Serving], idle: float = IDLE) -> None:
        self._url, self._replayed, self._serving, self._idle = url, replayed, serving, idle
        self._reader: BoardReader | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._newest: Rendered | None = None
        self._version = 0
        self._changes: deque[tuple[int, bytes | None]] = deque(maxlen=KEPT)
        self._news = asyncio.Event()
        self._closed = False
        self.clients = 0

    @property
    def is_reading(self) -> bool:
        return self._reader is not None

    async def data(self) -> bytes:
        """All of the board, as JSON. Raises Unavailable."""
        self._wake()
        try:
            return (await self._first()).told_whole()
        finally:
            self._maybe_rest()

    async def events(self) -> AsyncGenerator[bytes]:
        """Server-sent events: the whole board, then changes; a comment where nothing changes. Raises Unavailable."""
        if self.clients >= MOST_CLIENTS:
            raise Unavailable(f"{MOST_CLIENTS} boards are open on this worker already: close one, or ask /board/data")
        self.clients += 1
        try:
            self._wake()
            first = await self._first()
            seen = self._version
            yield _event(b"board", first.told_whole())
            while not self._closed:
                told = await self._after(seen)
                if told is None:
                    return
                seen = self._version
                yield told
        finally:
            self.clients -= 1
            self._maybe_rest()

    def close(self) -> None:
        """End every stream, and read no more."""
        self._closed = True
        self._stop()
        self._tell()

    async def _after(self, seen: int) -> bytes | None:
        """What was published after `seen`; None: too much, or the end."""
        if self._version == seen:
            try:
                await asyncio.wait_for(self._news.wait(), HEARTBEAT)
            except TimeoutError:
                return b": nothing new\n\n"
        if self._closed or self._version - seen > len(self._changes):
            return None
        new = [change for version, change in self._changes if version > seen]
        if None in new and self._newest is not None:
            return _event(b"board", self._newest.told_whole())
        return b"".join(_event(b"change", change) for change in new if change is not None)

    async def _first(self) -> Rendered:
        if self._newest is None:
            try:
                await asyncio.wait_for(self._news.wait(), FIRST)
            except TimeoutError as error:
                raise Unavailable("the board could not be read in time: try again") from error
        if self._closed or self._newest is None:
            raise Unavailable("this process is about to stop: try again")
        return self._newest

    def _wake(self) -> None:
        """Somebody looks: read, if nobody did."""
        if self._url is None:
            raise Unavailable("this service has no database, so there is no board: set BETTING_DATABASE_URL")
        if self._closed:
            raise Unavailable("this process is about to stop: try again")
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._reader is None:
            loop = asyncio.get_running_loop()

            def publish(rendered: Rendered) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended, and the process is about to
                    loop.call_soon_threadsafe(self._published, reader, rendered)

            reader = self._reader = BoardReader(self._url, self._replayed, self._serving, publish)
            reader.start()

    def _published(self, reader: BoardReader, rendered: Rendered) -> None:
        if reader is not self._reader:
            return
        self._version += 1
        self._newest = rendered
        self._changes.append((self._version, rendered.told_change()))
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _maybe_rest(self) -> None:
        """Stop reading after a while in which nobody looks."""
        if self.clients == 0 and self._reader is not None and not self._closed:
            if self._rest is not None:
                self._rest.cancel()
            self._rest = asyncio.get_running_loop().call_later(self._idle, self._stop)

    def _stop(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._reader is not None:
            self._reader.stop()
        self._reader = self._newest = None


def _event(kind: bytes, data: bytes) -> bytes:
    return b"event: " + kind + b"\ndata: " + data + b"\n\n"
