"""How fast, how steadily and at what cost the Bento answers, over HTTP and gRPC, beside FastAPI and Ray Serve.

python benchmarks/serving.py [--quick] [--only SECTIONS] [--poisson] [--json FILE]

The real Bento of two workers on an embedded PostgreSQL (fsync on) with 300 upcoming matches of 60 features, models of
300 trees; every answer goes to the prediction log. Load is open-loop: requests are due at times fixed beforehand, and
latency counts from then, whoever is late (serving_generator.py, a process of its own). Server CPU is that of the whole
tree of the server's processes; the client's and PostgreSQL's are told apart. Client, server and database share the
machine, so the latencies are those of a machine that is fuller than a server's would be.

latency: one rate for long. ladder: rising rates. batch: 64 matches a request. swap: hot swaps and rollbacks under load.
kill: kill -9 of workers behind HAProxy, seen by the platform's own clients. soak: memory over time. peers: fastapi
(async handler, uvicorn with uvloop and httptools, two workers) and ray (@serve.batch, two replicas) with the same
models, feature cache, prediction log and shape of answer; the servers of one table are all up and loaded in turn.
"""

from __future__ import annotations

import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import feature_repo  # noqa: F401  imports Feast without its run-time checks of types

# isort: split
import serving_aims as aims
from _common import arguments, print_machine, write_json
from serving_aims import Aim
from serving_compare import Compared, with_fastapi, with_ray
from serving_kill import kill_workers
from serving_load import Load, Measured
from serving_soak import soak
from serving_speed import as_numbers, highest, is_kept, ladder, sustained
from serving_stack import Stack, say, stack
from serving_swaps import swaps

BATCH = 64


@dataclass(frozen=True)
class Size:
    """Rates are requests a second, times seconds."""

    latency: Load
    ladder: Load
    rates: tuple[float, ...]
    batch: Load
    swap_rate: float
    swaps: int
    gap: float
    kill_rate: float
    kills: int
    soak_rate: float
    soak_seconds: float
    fastapi: Load
    ray: Load
    rounds: int


FULL = Size(
    latency=Load(1000, 30),
    ladder=Load(1000, 10, warm=2.0, connections=64),
    rates=tuple(range(1000, 4001, 500)),
    batch=Load(50, 20, connections=16),
    swap_rate=1000,
    swaps=10,
    gap=2.0,
    kill_rate=200,
    kills=5,
    soak_rate=500,
    soak_seconds=600,
    fastapi=Load(1000, 12, warm=2.0),
    ray=Load(100, 12, warm=4.0),
    rounds=3,
)
QUICK = Size(
    latency=Load(300, 4, warm=1.0),
    ladder=Load(300, 3, warm=1.0),
    rates=(500, 1000),
    batch=Load(20, 4, warm=1.0, connections=16),
    swap_rate=300,
    swaps=2,
    gap=1.5,
    kill_rate=50,
    kills=1,
    soak_rate=200,
    soak_seconds=10,
    fastapi=Load(300, 4, warm=1.0),
    ray=Load(50, 4, warm=3.0),
    rounds=1,
)


@dataclass(frozen=True)
class Section:
    """What a section found: its aims and its numbers for the file. The rest it has printed itself."""

    aims: list[Aim]
    numbers: Any


def latency_section(up: Stack, size: Size) -> Section:
    found, logged = sustained(up, size.latency)
    print_measured(found)
    print(f"prediction log: {logged.rows:,} rows of {logged.answered:,} answers")
    return Section([*aims.latency(found, logged)], [one.numbers() for one in found])


def ladder_section(up: Stack, size: Size) -> Section:
    climbed = ladder(up, size.ladder, size.rates)
    for protocol, steps in climbed.items():
        print_measured(steps)
        print(f"{protocol}: highest rate kept {highest(steps):,.0f}/s; kept: {[is_kept(step) for step in steps]}")
    return Section([*aims.ladder(climbed)], as_numbers(climbed))


def batch_section(up: Stack, size: Size) -> Section:
    found, _ = sustained(up, size.batch, BATCH)
    print_measured(found)
    return Section([*aims.batch(found, BATCH)], [one.numbers() for one in found])


def swap_section(up: Stack, size: Size) -> Section:
    moves = swaps(up, size.swap_rate, size.swaps, size.gap)
    print_measured(moves.loads)
    times = sorted(moves.confirmed)
    if times:
        print(f"pointer to all workers confirmed: median {times[len(times) // 2]:.2f} s, longest {times[-1]:.2f} s")
    print(f"answers by model version: {moves.answers}")
    numbers = {name: value for name, value in moves.__dict__.items() if name != "loads"}
    return Section([*aims.swap(moves)], numbers | {"loads": [one.numbers() for one in moves.loads]})


def kill_section(up: Stack, size: Size) -> Section:
    killed = kill_workers(up, size.kill_rate, size.kills)
    print(f"calls, retries included, ms: p50 {killed.p50:.1f}, p99 {killed.p99:.1f}, longest {killed.longest:.0f}")
    print(f"failed: {killed.failed}")
    return Section([*aims.kill(killed)], asdict(killed))


def soak_section(up: Stack, size: Size) -> Section:
    found = soak(up, size.soak_rate, size.soak_seconds)
    print_measured(found.loads)
    every = max(1, len(found.memory) // 10)
    print("workers' resident memory, MB: " + ", ".join(f"{mb:.0f} at {at:.0f} s" for at, mb in found.memory[::every]))
    numbers = {"loads": [one.numbers() for one in found.loads], "memory": found.memory, "growth": found.growth}
    return Section([*aims.soak(found)], numbers)


def fastapi_section(up: Stack, size: Size) -> Section:
    table = with_fastapi(up, size.fastapi, size.rounds)
    print_compared(table)
    return Section([*aims.fastapi(table)], [asdict(replace(one, rounds=[])) for one in table])


def ray_section(up: Stack, size: Size) -> Section:
    table = with_ray(up, size.ray, size.rounds)
    print_compared(table)
    return Section([*aims.ray(table)], [asdict(replace(one, rounds=[])) for one in table])


SECTIONS: dict[str, Callable[[Stack, Size], Section]] = {
    "latency": latency_section,
    "ladder": ladder_section,
    "batch": batch_section,
    "swap": swap_section,
    "kill": kill_section,
    "soak": soak_section,
    "fastapi": fastapi_section,
    "ray": ray_section,
}
PEERS = ("fastapi", "ray")


def print_measured(found: Sequence[Measured]) -> None:
    print("\n| load | /s wanted | /s | p50 ms | p95 | p99 | max | sent late, p99 | ended | CPU µs a request |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---|---|")
    for one in found:
        times = " | ".join(f"{ms:.1f}" for ms in (one.p50, one.p95, one.p99, one.most, one.late_p99))
        ended = ", ".join(f"{name}: {count:,}" for name, count in one.status.items())
        cpu = ", ".join(f"{name} {cost:.0f}" for name, cost in (*one.server_cpu.items(), ("client", one.client_cpu)))
        print(f"| {one.target} | {one.wanted_rate:,.0f} | {one.rate:,.0f} | {times} | {ended} | {cpu} |")
    for one in found:
        if "service" in one.server_share:
            shares = ", ".join(f"{share:.2f}" for share in one.server_share["service"][:3])
            print(f"{one.target}: CPUs used by the service's busiest processes: {shares}")


def print_compared(table: Sequence[Compared]) -> None:
    if not table:
        return
    print("\n| server | /s | CPU µs a request | one more request | PostgreSQL | p50 ms | p95 | p99 | failed |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for one in table:
        times = " | ".join(f"{ms:.1f}" for ms in (one.p50, one.p95, one.p99))
        costs = f"{one.cpu:.0f} | {one.net:.0f} | {one.postgres:.0f}"
        print(f"| {one.name} | {one.rate:,.0f} | {costs} | {times} | {one.failed} |")


def print_aims(found: Sequence[Aim]) -> None:
    print("\n| aim | target | measured | reached |\n|---|---:|---:|---|")
    for aim in found:
        print(f"| {aim.what} | {aim.wanted} | {aim.shown} | {'yes' if aim.reached else '**no**'} |")


def chosen(text: str | None) -> list[str]:
    """Names of sections in their order; `peers` stands for all of them."""
    names = text.split(",") if text else list(SECTIONS)
    if "peers" in names:
        names = [*(name for name in names if name != "peers"), *PEERS]
    if unknown := set(names) - set(SECTIONS):
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: there are {', '.join(SECTIONS)}")
    return [name for name in SECTIONS if name in names]


def sized(quick: bool, poisson: bool) -> Size:
    size = QUICK if quick else FULL
    loads: dict[str, Any] = {name: value for name, value in size.__dict__.items() if isinstance(value, Load)}
    return replace(size, **{name: replace(load, poisson=poisson) for name, load in loads.items()})


def run(names: Sequence[str], size: Size) -> dict[str, Section]:
    with stack() as up:
        found = {}
        for name in names:
            say(name)
            try:
                found[name] = SECTIONS[name](up, size)
            except Exception as error:  # noqa: BLE001  told, and counted as not reached; what the others find in half an hour is not to be lost with it
                traceback.print_exc()
                found[name] = Section([Aim(f"{name}: ran to its end", "yes", f"{type(error).__name__}", False)], None)
        return found


def main() -> None:
    parser = arguments(__doc__, "small loads, three minutes in all; its numbers say little")
    parser.add_argument("--only", metavar="SECTIONS", help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--poisson", action="store_true", help="arrivals at random times instead of even ones")
    options = parser.parse_args()
    names = chosen(options.only)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that was started is ended
    warnings.filterwarnings("ignore")
    logging.getLogger("feast").setLevel(logging.ERROR)
    where = print_machine()
    found = run(names, sized(options.quick, options.poisson))
    print_aims([aim for section in found.values() for aim in section.aims])
    if options.quick:
        print("\nThe targets are for the full size: a quick run reaches or misses none of them.")
    sections = {name: {"aims": [asdict(a) for a in one.aims], "numbers": one.numbers} for name, one in found.items()}
    write_json(options.json, {"machine": where, "quick": options.quick, "sections": sections})


if __name__ == "__main__":
    main()
