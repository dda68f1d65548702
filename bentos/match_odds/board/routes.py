"""/board over HTTP: the page to everybody, what it shows to whoever may ask."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from bentos.match_odds.board.page import HEADERS, PATHS, page_file
from bentos.match_odds.front.http_messages import ClientGone, header, respond, until_disconnect

if TYPE_CHECKING:
    from bentos.match_odds.board.board import Board
    from bentos.match_odds.front.http_front import Exchange

SLOW = 15.0
"""Seconds that a client may take to receive what is sent, before it is dropped."""

NOT_STORED = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


async def send_page(exchange: Exchange) -> None:
    """One of the page's files, or 304 for a browser that has it."""
    file = page_file(exchange.scope["path"])
    more = (*HEADERS, (b"etag", file.etag))
    if file.is_known(header(exchange.scope, b"if-none-match")):
        exchange.status = 304
        await exchange.send({"type": "http.response.start", "status": 304, "headers": list(more)})
        await exchange.send({"type": "http.response.body", "body": b""})
    else:
        await respond(exchange.send, 200, file.content, exchange.request_id, file.kind, more)


def is_page(path: str) -> bool:
    return path in PATHS


async def send_data(board: Board, exchange: Exchange) -> None:
    body = await until_disconnect(board.data(), exchange.receive)
    await respond(exchange.send, 200, body, exchange.request_id, more=NOT_STORED)


async def send_events(board: Board, exchange: Exchange) -> None:
    await until_disconnect(_stream(board, exchange), exchange.receive)


async def _stream(board: Board, exchange: Exchange) -> None:
    """What is wrong is said before the stream begins."""
    async with aclosing(board.events()) as events:
        first = await anext(events)
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"x-request-id", exchange.request_id.encode("latin-1", "replace")),
            (b"x-accel-buffering", b"no"),
            *NOT_STORED,
        ]
        await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
        exchange.is_stream = True
        try:
            await _send(exchange, first)
            async for event in events:
                await _send(exchange, event)
        except TimeoutError as error:
            raise ClientGone from error  # it is too slow: its connection is cut, and it may come again
        await exchange.send({"type": "http.response.body", "body": b""})


async def _send(exchange: Exchange, event: bytes) -> None:
    await asyncio.wait_for(exchange.send({"type": "http.response.body", "body": event, "more_body": True}), SLOW)
