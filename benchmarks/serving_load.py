"""Load from processes of their own, and what it cost: latencies, what became of every request, CPU on both sides."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from serving_generator import GRPC, HTTP, Plan, Result
from serving_wire import CONNECTION_LOST, EMPTY, NO_STATUS, NOT_ANSWERED

GENERATOR = Path(__file__).with_name("serving_generator.py")
LEAD = 1.5
"""Seconds that a generator gets to come up before its first request is due."""

GRPC_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
OTHER_NAMES = {
    CONNECTION_LOST: "connection lost",
    NOT_ANSWERED: "not answered",
    NO_STATUS: "reset",
    EMPTY: "answered without contents",
}


@dataclass(frozen=True)
class Target:
    """Where to, and with what. `bodies` are sent in turn; see `Plan` for the rest."""

    name: str
    protocol: str
    port: int
    path: str
    bodies: Sequence[bytes]
    sign: bytes = b""
    signs: int = 0
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class Load:
    """`rate` requests a second for `seconds` that count, after `warm` seconds that do not.

    Arrivals are evenly spaced, or of a Poisson process (`poisson`), which is what independent clients make.
    """

    rate: float
    seconds: float
    warm: float = 3.0
    connections: int = 32
    processes: int = 1
    poisson: bool = False
    keep: bool = False

    def schedule(self, seed: int = 0) -> np.ndarray:
        """Seconds after the start at which requests are due."""
        total = self.warm + self.seconds
        count = round(self.rate * total)
        if not self.poisson:
            return np.arange(count) / self.rate
        moments = np.random.default_rng(seed).uniform(0, total, count)
        moments.sort()
        return moments


@dataclass(frozen=True)
class Measured:
    """Of the requests that count. Latencies in ms are of good answers, from the time in the schedule.

    Attributes:
        status: how many requests ended how, good or bad.
        failed: that were not answered well, also during the warm-up.
        rate: good answers a second, from the first time in the schedule to the last answer.
        late_p99: ms, how late the generator itself sent, because it was busy or all connections were.
        server_cpu: µs a request of each watched tree of processes, by name.
        server_share: of one CPU that each process of a tree used, the busiest first, by name.
        client_cpu: µs a request of the generator.
        kept: of every good answer the request's number, which sent bodies[number % len(bodies)], and the body; of one
            process only.
    """

    target: str
    protocol: str
    wanted_rate: float
    sent: int
    status: Mapping[str, int]
    failed: int
    rate: float
    p50: float
    p95: float
    p99: float
    most: float
    late_p99: float
    server_cpu: Mapping[str, float]
    server_share: Mapping[str, Sequence[float]]
    client_cpu: float
    kept: list[tuple[int, bytes]] = field(default_factory=list, repr=False)

    def numbers(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "kept"}


@dataclass(frozen=True)
class Used:
    """Shares of one CPU: of a whole tree, and of each of its living processes, the busiest first."""

    total: float
    each: list[float]


class Cpu:
    """CPU seconds of trees of processes, children that ended included.

    Args:
        roots: name → pid at the root of a tree.
    """

    def __init__(self, roots: Mapping[str, int]) -> None:
        self._roots = roots
        self._before = self._now()
        self._began = time.monotonic()

    def used(self) -> dict[str, Used]:
        """By name, since the beginning."""
        elapsed = time.monotonic() - self._began
        found = {}
        for name, after in self._now().items():
            before = self._before[name]
            shares = ((seconds - before.get(pid, 0.0)) / elapsed for pid, seconds in after.items())
            total = sum(after.values()) - sum(before.values())  # a child that ended is in its parent's sum
            found[name] = Used(total / elapsed, sorted((share for share in shares if share > 0.001), reverse=True))
        return found

    def _now(self) -> dict[str, dict[int, float]]:
        return {name: _tree_seconds(root) for name, root in self._roots.items()}


def run(target: Target, load: Load, watched: Mapping[str, int] | None = None) -> Measured:
    """Load `target`.

    Args:
        watched: name → pid at the root of a tree of processes whose CPU is counted.

    Raises:
        RuntimeError: a generator failed.
    """
    start = time.monotonic() + LEAD
    schedule = load.schedule()
    with tempfile.TemporaryDirectory(prefix="betting-load-") as folder, contextlib.ExitStack() as started:
        jobs = [
            _begin(
                Path(folder), number, started, _plan(target, load, schedule[number :: load.processes], number, start)
            )
            for number in range(load.processes)
        ]
        _sleep_until(start + load.warm)
        cpu = Cpu(watched or {})
        _sleep_until(start + load.warm + load.seconds)
        used = cpu.used()
        results = [_end(process, file) for process, file in jobs]
    return _measured(target, load, schedule, results, used)


def _plan(target: Target, load: Load, schedule: np.ndarray, number: int, start: float) -> Plan:
    turn = number * len(target.bodies) // load.processes
    return Plan(
        protocol=target.protocol,
        host=target.host,
        port=target.port,
        path=target.path,
        bodies=[*target.bodies[turn:], *target.bodies[:turn]],
        schedule=schedule.tolist(),
        start=start,
        connections=max(1, load.connections // load.processes),
        warm=load.warm,
        sign=target.sign,
        signs=target.signs,
        keep=load.keep,
    )


def _begin(
    folder: Path, number: int, started: contextlib.ExitStack, plan: Plan
) -> tuple[subprocess.Popen[bytes], Path]:
    given, made = folder / f"plan-{number}", folder / f"result-{number}"
    given.write_bytes(pickle.dumps(plan))
    process = subprocess.Popen([sys.executable, str(GENERATOR), str(given), str(made)], stderr=subprocess.PIPE)
    started.callback(_kill, process)
    return process, made


def _end(process: subprocess.Popen[bytes], file: Path) -> Result:
    _, complaint = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the load generator failed: {complaint.decode(errors='replace').strip()[-500:]}")
    result: Result = pickle.loads(file.read_bytes())
    return result


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _measured(
    target: Target, load: Load, schedule: np.ndarray, results: Sequence[Result], used: Mapping[str, Used]
) -> Measured:
    late, latency = np.empty(len(schedule)), np.empty(len(schedule))
    status = np.empty(len(schedule), dtype=int)
    for number, result in enumerate(results):
        part = slice(number, None, len(results))
        late[part], latency[part], status[part] = result.late, result.latency, result.status
    counts = schedule >= load.warm
    bad = status != (200 if target.protocol == HTTP else 0)
    good = counts & ~bad
    answered = latency[good] * 1000
    percentiles = np.percentile(answered, (50, 95, 99, 100)) if len(answered) else np.full(4, np.nan)
    last = float((schedule[good] + latency[good]).max()) if good.any() else np.inf
    sent = int(counts.sum())
    ends = Counter(_name(target.protocol, code) for code in status[counts].tolist())
    ends.update(f"{_name(target.protocol, code)} in the warm-up" for code in status[~counts & bad].tolist())
    per_request = 1e6 * load.seconds / sent
    return Measured(
        target=target.name,
        protocol=target.protocol,
        wanted_rate=load.rate,
        sent=sent,
        status=dict(sorted(ends.items())),
        failed=int(bad.sum()),
        rate=float(good.sum()) / max(last - load.warm, load.seconds),
        p50=float(percentiles[0]),
        p95=float(percentiles[1]),
        p99=float(percentiles[2]),
        most=float(percentiles[3]),
        late_p99=_percentile(late[counts] * 1000, 99),
        server_cpu={name: one.total * per_request for name, one in used.items()},
        server_share={name: one.each for name, one in used.items()},
        client_cpu=sum(result.cpu for result in results) / sent * 1e6,
        kept=[pair for result in results for pair in result.kept] if len(results) == 1 else [],
    )


def _percentile(values: np.ndarray, which: float) -> float:
    known = values[~np.isnan(values)]
    return float(np.percentile(known, which)) if len(known) else float("nan")


def _name(protocol: str, code: int) -> str:
    if code < 0:
        return OTHER_NAMES[code]
    return GRPC_NAMES.get(code, str(code)) if protocol == GRPC else str(code)


def _tree_seconds(root: int) -> dict[int, float]:
    """CPU seconds by pid: of its own, and of children that it waited for."""
    found = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(root)
        for process in [top, *top.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                found[process.pid] = sum(process.cpu_times()[:4])
    return found
