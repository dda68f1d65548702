"""What serving is to reach (issue 4), beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serving_compare import Compared, cpu_ratio
from serving_generator import GRPC, HTTP
from serving_kill import Killed
from serving_load import Measured
from serving_soak import Soak
from serving_speed import Logged, highest
from serving_swaps import Moves


@dataclass(frozen=True)
class Aim:
    """`shown` is the measured value in words."""

    what: str
    wanted: str
    shown: str
    reached: bool


def at_most(what: str, measured: float, limit: float, unit: str = "") -> Aim:
    return Aim(what, f"≤ {limit:g}{unit}", f"{measured:.2f}{unit}", measured <= limit)


def none(what: str, count: int) -> Aim:
    return Aim(what, "0", f"{count:,}", count == 0)


def latency(found: Sequence[Measured], logged: Logged) -> Iterator[Aim]:
    for one in found:
        yield Aim(
            f"{one.protocol}: sustained at {one.wanted_rate:,.0f}/s",
            f"≥ {one.wanted_rate:,.0f}/s",
            f"{one.rate:,.0f}/s",
            one.rate >= 0.99 * one.wanted_rate,
        )
        yield Aim(f"{one.protocol}: p95", "< 10 ms", f"{one.p95:.2f} ms", one.p95 < 10)
        yield Aim(f"{one.protocol}: p99", "< 25 ms", f"{one.p99:.2f} ms", one.p99 < 25)
        yield none(f"{one.protocol}: requests that failed", one.failed)
    yield none("answers missing in the prediction log", max(0, logged.answered - logged.rows))


def ladder(climbed: dict[str, list[Measured]]) -> Iterator[Aim]:
    for protocol, steps in climbed.items():
        rate = highest(steps)
        yield Aim(f"{protocol}: highest rate with p99 < 50 ms", "≥ 2,000/s", f"{rate:,.0f}/s", rate >= 2000)


def batch(found: Sequence[Measured], size: int) -> Iterator[Aim]:
    for one in found:
        what = f"{one.protocol}: {size} matches a request, {one.wanted_rate:,.0f}/s"
        yield Aim(f"{what}: p95", "< 15 ms", f"{one.p95:.2f} ms", one.p95 < 15)
        yield none(f"{what}: requests that failed", one.failed)


def swap(moves: Moves) -> Iterator[Aim]:
    total = len(moves.confirmed) + moves.unconfirmed
    yield none(f"{total} swaps and rollbacks: requests that failed", moves.failed)
    yield none(f"{total} swaps and rollbacks: answers that mix models", moves.mixed)
    yield none(f"{total} swaps and rollbacks: answers of no known version", moves.unnamed)
    yield none(f"{total} swaps and rollbacks: not confirmed by every worker", moves.unconfirmed)
    least = min(moves.answers.values())
    yield Aim("swaps and rollbacks: both models answered", "each", f"{least:,} the rarer", least > 0)


def kill(killed: Killed) -> Iterator[Aim]:
    what = f"{killed.kills} × kill -9 of a worker, {killed.calls:,} calls: failed for the caller"
    yield none(what, sum(killed.failed.values()))


def soak(found: Soak) -> Iterator[Aim]:
    yield at_most("soak: growth of resident memory after warm-up", found.growth, 5, " %")
    yield none("soak: requests that failed", sum(load.failed for load in found.loads))


def fastapi(table: Sequence[Compared]) -> Iterator[Aim]:
    yield from _cpu(table, HTTP, "FastAPI", 0.7)
    yield from _cpu(table, GRPC, "FastAPI", 1.0)


def ray(table: Sequence[Compared]) -> Iterator[Aim]:
    """Nothing where Ray is not installed."""
    for protocol in (HTTP, GRPC) if table else ():
        yield from _cpu(table, protocol, "Ray Serve", 0.125)


def _cpu(table: Sequence[Compared], ours: str, other: str, limit: float) -> Iterator[Aim]:
    everything, net = cpu_ratio(table, ours, other)
    what = f"server CPU a request at {table[0].rate:,.0f}/s, {ours} / {other}"
    yield at_most(what, everything, limit)
    yield at_most(f"{what}, without what runs at rest", net, limit)
