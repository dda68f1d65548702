"""The bytes of a load generator: HTTP/1.1 and gRPC over HTTP/2, without sockets and as cheap as Python allows.

A channel turns the number of a request into bytes, and bytes from the server into what became of numbers. gRPC's own
client and hyper's h2 cost the client 150 to 400 µs a call, as much as the server: on one machine they would measure
themselves. This is only as much HTTP/2 as a gRPC server asks of an honest client: settings, pings, flow control in both
directions, continuation and padding, resets and goodbyes. It holds no state of header compression (it allows a table of
size 0 and uses none), so equal blocks of headers mean the same and are decoded once.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

Done = tuple[int, int, bytes]
"""Number of the request, HTTP status or grpc-status, body or message."""

CONNECTION_LOST, NOT_ANSWERED, NO_STATUS, EMPTY = -1, -2, -3, -4
"""What became of a request that got no status, or an answer without its contents."""

NO_ERROR = 0
MOST_STREAMS = 64


class Broken(ConnectionError):
    """The server said something that this channel cannot go on from."""


class Channel(Protocol):
    """One connection. `out` is what is to be sent; `capacity` how many requests it takes at once; `closing` that the
    server wants no further ones."""

    capacity: int
    out: bytearray
    closing: bool

    def request(self, number: int, which: int) -> None: ...

    def feed(self, data: bytes) -> list[Done]: ...

    def lost(self) -> list[int]:
        """Numbers that are without an answer when the connection ends."""
        ...


class Http1Channel:
    """HTTP/1.1 with keep-alive and without pipelining: one request at a time.

    Args:
        requests: whole requests, see `http_requests`.
    """

    capacity = 1

    def __init__(self, requests: Sequence[bytes]) -> None:
        self._requests = requests
        self._number = -1
        self._buffer = b""
        self.out = bytearray()
        self.closing = False

    def request(self, number: int, which: int) -> None:
        self._number = number
        self.out += self._requests[which]

    def feed(self, data: bytes) -> list[Done]:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n") + 4
        if end < 4:
            return []
        head = buffer[:end].lower()
        if (place := head.find(b"\r\ncontent-length:")) >= 0:
            size = int(head[place + 17 : head.index(b"\r", place + 2)])
            if len(buffer) < end + size:
                return []
            body = buffer[end:]
        elif b"\r\ntransfer-encoding: chunked" in head:
            if not buffer.endswith(b"\r\n0\r\n\r\n"):
                return []
            body = _chunks(buffer[end:])
        else:
            raise Broken("an answer of unknown length")
        number, self._number, self._buffer = self._number, -1, b""
        if number < 0:
            raise Broken("an answer that nobody asked for")
        self.closing = b"\r\nconnection: close" in head
        return [(number, int(head[9:12]), body)]

    def lost(self) -> list[int]:
        return [self._number] if self._number >= 0 else []


def http_requests(host: str, path: str, bodies: Sequence[bytes]) -> list[bytes]:
    """Whole requests: POST of JSON."""
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return [(head % len(body)).encode() + body for body in bodies]


def _chunks(text: bytes) -> bytes:
    parts = []
    while text:
        size, _, text = text.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        parts.append(text[:length])
        text = text[length + 2 :]
    return b"".join(parts)


DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
LARGEST_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65_535
RETURN_WINDOW = 1024 * 1024
"""Bytes received after which the server is told that they were taken."""


class GrpcChannel:
    """Unary calls of one method over one HTTP/2 connection.

    Args:
        requests: messages of the calls, see `grpc_requests`.
        head: the compressed headers of every call.
        status_of: grpc-status in a block of headers, None where there is none.
    """

    capacity = MOST_STREAMS

    def __init__(self, requests: Sequence[bytes], head: bytes, status_of: Callable[[bytes], int | None]) -> None:
        self._head = struct.pack(">I", len(head))[1:] + bytes((HEADERS, END_HEADERS))
        self._head_block = head
        self._requests = requests
        self._status_of = status_of
        self._stream = 1
        self._calls: dict[int, int] = {}
        self._messages: dict[int, bytes] = {}
        self._statuses: dict[int, int] = {}
        self._window = DEFAULT_WINDOW
        self._held: deque[tuple[int, int]] = deque()
        self._taken = 0
        self._buffer = b""
        self._fragment: tuple[int, int, bytes] | None = None
        self.closing = False
        settings = struct.pack(">HIHIHI", 1, 0, 2, 0, 4, LARGEST_WINDOW)  # no header table, no push, large streams
        self.out = bytearray(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, settings))
        self.out += _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - DEFAULT_WINDOW))

    def request(self, number: int, which: int) -> None:
        if len(self._requests[which]) > self._window or self._held:
            self._held.append((number, which))
        else:
            self._send(number, which)

    def _send(self, number: int, which: int) -> None:
        stream, self._stream = self._stream, self._stream + 2
        message = self._requests[which]
        self._window -= len(message)
        self._calls[stream] = number
        name = struct.pack(">I", stream)
        size = struct.pack(">I", len(message))[1:]
        self.out += b"".join((self._head, name, self._head_block, size, b"\x00\x01", name, message))

    def feed(self, data: bytes) -> list[Done]:
        buffer = self._buffer + data if self._buffer else data
        done: list[Done] = []
        place, total = 0, len(buffer)
        while total - place >= 9:
            size = int.from_bytes(buffer[place : place + 3], "big")
            if total - place < 9 + size:
                break
            kind, flags = buffer[place + 3], buffer[place + 4]
            stream = int.from_bytes(buffer[place + 5 : place + 9], "big") & LARGEST_WINDOW
            self._take(kind, flags, stream, buffer[place + 9 : place + 9 + size], done)
            place += 9 + size
        self._buffer = buffer[place:]
        return done

    def lost(self) -> list[int]:
        return [*self._calls.values(), *(number for number, _ in self._held)]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes, done: list[Done]) -> None:
        if kind == DATA:
            self._data(flags, stream, payload, done)
        elif kind == HEADERS:
            payload = _unpadded(flags, payload)
            self._headers(flags, stream, payload[5:] if flags & PRIORITY else payload, flags & END_STREAM, done)
        elif kind == CONTINUATION and self._fragment is not None:
            _, ends, begun = self._fragment
            self._headers(flags, stream, begun + payload, ends, done)
        elif kind == WINDOW_UPDATE:
            self._widen(stream, int.from_bytes(payload, "big"))
        elif kind == PING and not flags & ACK:
            self.out += _frame(PING, ACK, 0, payload)
        elif kind == SETTINGS and not flags & ACK:
            self.out += _frame(SETTINGS, ACK, 0, b"")
        elif kind == RST_STREAM and stream in self._calls:
            self._end(stream, done)
        elif kind == GOAWAY:
            self.closing = True

    def _data(self, flags: int, stream: int, payload: bytes, done: list[Done]) -> None:
        self._taken += len(payload)
        if self._taken >= RETURN_WINDOW:
            self.out += _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._taken))
            self._taken = 0
        self._messages[stream] = self._messages.get(stream, b"") + _unpadded(flags, payload)
        if flags & END_STREAM:
            self._end(stream, done)

    def _headers(self, flags: int, stream: int, block: bytes, ends: int, done: list[Done]) -> None:
        if not flags & END_HEADERS:
            self._fragment = (stream, ends, block)
            return
        self._fragment = None
        if (status := self._status_of(block)) is not None:
            self._statuses[stream] = status
        if ends:
            self._end(stream, done)

    def _widen(self, stream: int, more: int) -> None:
        if stream == 0:
            self._window += more
        while self._held and len(self._requests[self._held[0][1]]) <= self._window:
            self._send(*self._held.popleft())

    def _end(self, stream: int, done: list[Done]) -> None:
        number = self._calls.pop(stream, None)
        message = self._messages.pop(stream, b"")
        status = self._statuses.pop(stream, NO_STATUS)
        if number is not None:
            done.append((number, status, message[5:]))


def grpc_requests(messages: Sequence[bytes]) -> list[bytes]:
    """Messages with gRPC's prefix: not compressed, and the length."""
    framed = [b"\x00" + struct.pack(">I", len(message)) + message for message in messages]
    if max(map(len, framed)) > 16_384:
        raise ValueError("a message does not fit into one frame of HTTP/2")
    return framed


def grpc_head(authority: str, path: str) -> bytes:
    """The headers of a call, each as HPACK's literal without indexing."""
    pairs = [("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "benchmark")]
    named = b"".join(b"\x00" + _text(name) + _text(value) for name, value in pairs)
    return b"\x83\x86\x04" + _text(path) + b"\x01" + _text(authority) + named  # 83: POST, 86: http, of the fixed table


class Statuses:
    """grpc-status in blocks of headers, each block decoded once."""

    def __init__(self) -> None:
        self._known: dict[bytes, int | None] = {}

    def __call__(self, block: bytes) -> int | None:
        if block not in self._known:
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[block] = self._decode(block)
        return self._known[block]

    def _decode(self, block: bytes) -> int | None:
        from hpack import Decoder

        for name, value in Decoder().decode(block, raw=True):
            if name == b"grpc-status":
                return int(value)
        return None


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _unpadded(flags: int, payload: bytes) -> bytes:
    return payload[1 : len(payload) - payload[0]] if flags & PADDED else payload


def _text(text: str) -> bytes:
    if len(text) > 126:
        raise ValueError(f"{text}: longer than this encoder takes")
    return bytes((len(text),)) + text.encode()
