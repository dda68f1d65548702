"""The load generator, a process of its own: sends by a schedule that is fixed beforehand, whatever the server does.

python benchmarks/serving_generator.py PLAN RESULT; both are pickles, see `Plan` and `Result`; serving_load.py calls it.

Open loop: request i is due at schedule[i], and its latency counts from then, also when it had to wait for a free
connection or for this process (no coordinated omission). One thread, epoll and a timer of the kernel (an event loop's
timers have a resolution of a millisecond), so Linux only.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import pickle
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving_wire import (
    CONNECTION_LOST,
    EMPTY,
    NOT_ANSWERED,
    Broken,
    Channel,
    GrpcChannel,
    Http1Channel,
    Statuses,
    grpc_head,
    grpc_requests,
    http_requests,
)

RECONNECT = 0.05
"""Seconds between two attempts to connect anew."""

HTTP, GRPC = "http", "grpc"


@dataclass(frozen=True)
class Plan:
    """What one generator process does.

    Attributes:
        path: of the URL, or of the gRPC method.
        bodies: JSON texts or messages; request i sends bodies[i % len(bodies)].
        schedule: seconds after `start`, rising.
        start: by time.monotonic(), which all processes of the machine share.
        warm: seconds of the schedule that do not count; CPU is counted from there to the last time in the schedule.
        patience: seconds after the last request at which those that wait are given up.
        sign, signs: bytes that a whole answer holds, and how often at least.
        keep: whether the bodies of all good answers are kept.
    """

    protocol: str
    host: str
    port: int
    path: str
    bodies: list[bytes]
    schedule: list[float]
    start: float
    connections: int
    warm: float
    patience: float = 10.0
    sign: bytes = b""
    signs: int = 0
    keep: bool = False


@dataclass(frozen=True)
class Result:
    """By request: seconds from its time in the schedule until it was sent and answered (NaN: never), and its status,
    HTTP's or gRPC's, or a negative one of serving_wire.

    cpu: seconds of this process within the counted time.
    kept: request, body.
    """

    late: list[float]
    latency: list[float]
    status: list[int]
    cpu: float
    kept: list[tuple[int, bytes]]


class Timer:
    """Linux's timerfd: wakes epoll at a moment of time.monotonic(), to the microsecond."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self.fd: int = library.timerfd_create(time.CLOCK_MONOTONIC, 0o4000)  # not blocking
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._set_time = library.timerfd_settime
        self._set_for = 0.0

    def set(self, moment: float) -> None:
        if moment != self._set_for:
            self._set_for = moment
            seconds = int(moment)
            self._set_time(self.fd, 1, struct.pack("qqqq", 0, 0, seconds, int((moment - seconds) * 1e9)), None)


class Line:
    """A channel and its socket."""

    def __init__(self, channel: Channel, host: str, port: int) -> None:
        self.channel = channel
        self.alive = True
        self.socket = socket.create_connection((host, port), timeout=1.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def flush(self) -> bool:
        """Send what is to be sent; whether all of it went."""
        out = self.channel.out
        while out:
            try:
                sent = self.socket.send(out)
            except BlockingIOError:
                return False
            del out[:sent]
        return True

    def receive(self) -> bytes:
        return self.socket.recv(32_768)  # larger pieces are mapped anew by malloc each time


class Generator:
    """Does what a plan says; `run` once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._make = _channels(plan)
        self._due = [plan.start + seconds for seconds in plan.schedule]
        count = len(self._due)
        self._late = [float("nan")] * count
        self._latency = [float("nan")] * count
        self._status = [NOT_ANSWERED] * count
        self._kept: list[tuple[int, bytes]] = []
        self._open = count
        self._poll = select.epoll()
        self._lines: dict[int, Line] = {}
        self._free: deque[Line] = deque()
        self._waiting: deque[int] = deque()
        self._missing = plan.connections
        self._try_at = 0.0

    def run(self) -> Result:
        plan, due = self._plan, self._due
        self._connect_all()
        timer = Timer()
        self._poll.register(timer.fd, select.EPOLLIN)
        gc.collect()
        gc.disable()
        counted_from, counted_to = plan.start + plan.warm, due[-1]
        cpu_from = cpu_to = None
        position, count = 0, len(due)
        give_up = due[-1] + plan.patience
        while self._open:
            now = time.monotonic()
            while position < count and due[position] <= now:
                self._dispatch(position)
                position += 1
            if cpu_from is None and now >= counted_from:
                cpu_from = time.process_time()
            if cpu_to is None and now >= counted_to:
                cpu_to = time.process_time()
            if now >= give_up:
                break
            if self._missing and now >= self._try_at:
                self._reconnect(now)
            timer.set(due[position] if position < count else give_up)
            for fd, event in self._poll.poll(0.1):
                if fd != timer.fd:
                    self._attend(fd, event)
        cpu = (cpu_to or time.process_time()) - (cpu_from or 0.0)
        for line in self._lines.values():
            line.socket.close()
        return Result(self._late, self._latency, self._status, cpu, self._kept)

    def _dispatch(self, number: int) -> None:
        free = self._free
        while free:
            line = free.popleft()
            if line.alive and not line.channel.closing:
                self._send(line, number)
                return
        if self._lines:
            self._waiting.append(number)
        else:
            self._finish(number, CONNECTION_LOST)

    def _send(self, line: Line, number: int) -> None:
        self._late[number] = time.monotonic() - self._due[number]
        line.channel.request(number, number % len(self._plan.bodies))
        try:
            self._flush(line)
        except OSError:
            self._drop(line)

    def _flush(self, line: Line) -> None:
        wanted = select.EPOLLIN if line.flush() else select.EPOLLIN | select.EPOLLOUT
        if wanted != select.EPOLLIN:
            self._poll.modify(line.socket.fileno(), wanted)

    def _attend(self, fd: int, event: int) -> None:
        line = self._lines.get(fd)
        if line is None:
            return
        try:
            if event & select.EPOLLOUT and line.flush():
                self._poll.modify(fd, select.EPOLLIN)
            if not event & ~select.EPOLLOUT:
                return
            data = line.receive()
            if not data:
                raise Broken("the server closed the connection")
            done = line.channel.feed(data)
            for number, status, body in done:
                self._answered(number, status, body)
                self._next(line)
            if line.channel.out:
                self._flush(line)
            if line.channel.closing and not line.channel.lost():
                self._drop(line)
        except BlockingIOError:
            return
        except OSError:
            self._drop(line)

    def _next(self, line: Line) -> None:
        """Its place is free: for who waits longest, else for who comes next."""
        if line.channel.closing:
            return
        if self._waiting:
            number = self._waiting.popleft()
            self._late[number] = time.monotonic() - self._due[number]
            line.channel.request(number, number % len(self._plan.bodies))
        else:
            self._free.append(line)

    def _answered(self, number: int, status: int, body: bytes) -> None:
        plan = self._plan
        self._latency[number] = time.monotonic() - self._due[number]
        good = status == (200 if plan.protocol == HTTP else 0)
        if good and body.count(plan.sign) < plan.signs:
            status = EMPTY
        elif good and plan.keep:
            self._kept.append((number, body))
        self._finish(number, status)

    def _finish(self, number: int, status: int) -> None:
        self._status[number] = status
        self._open -= 1

    def _drop(self, line: Line) -> None:
        if not line.alive:
            return
        line.alive = False
        del self._lines[line.socket.fileno()]
        line.socket.close()
        self._missing += 1
        for number in line.channel.lost():
            self._finish(number, CONNECTION_LOST)
        if not self._lines:
            while self._waiting:
                self._finish(self._waiting.popleft(), CONNECTION_LOST)

    def _connect_all(self) -> None:
        """One after the other: workers that share a listening socket then share the connections more evenly."""
        for _ in range(self._plan.connections):
            self._connect()
            time.sleep(0.002)
        self._missing = 0
        lines = list(self._lines.values())
        self._free = deque(line for place in range(lines[0].channel.capacity) for line in lines)

    def _connect(self) -> Line:
        line = Line(self._make(), self._plan.host, self._plan.port)
        self._lines[line.socket.fileno()] = line
        self._poll.register(line.socket.fileno(), select.EPOLLIN)
        self._flush(line)
        return line

    def _reconnect(self, now: float) -> None:
        self._try_at = now + RECONNECT
        try:
            while self._missing:
                line = self._connect()
                self._missing -= 1
                for _ in range(line.channel.capacity):
                    self._next(line)
                self._flush(line)
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EPIPE, None):
                raise


def _channels(plan: Plan) -> Callable[[], Channel]:
    authority = f"{plan.host}:{plan.port}"
    if plan.protocol == HTTP:
        requests = http_requests(authority, plan.path, plan.bodies)
        return lambda: Http1Channel(requests)
    framed, head, statuses = grpc_requests(plan.bodies), grpc_head(authority, plan.path), Statuses()
    return lambda: GrpcChannel(framed, head, statuses)


def main() -> None:
    plan: Plan = pickle.loads(Path(sys.argv[1]).read_bytes())
    Path(sys.argv[2]).write_bytes(pickle.dumps(Generator(plan).run()))


if __name__ == "__main__":
    # The classes of a pickle are found by their module's name, which is not __main__ for the other process.
    import serving_generator

    serving_generator.main()
