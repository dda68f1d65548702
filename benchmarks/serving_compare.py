"""The service beside its peers, each under the same load in turn: server CPU a request, and latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from serving_generator import HTTP
from serving_load import Cpu, Load, Measured, Target, run
from serving_peers import fastapi, ray_is_installed, ray_serve
from serving_speed import targets
from serving_stack import Stack, check, predict_target, say

from betting_assets.embedded.ports import HOST

REST = 3.0
"""Seconds for which a server is watched right after a load. Its matches are still kept fresh then, as under load: the
feature cache forgets them after five seconds; and Ray's processes are never idle.
"""


@dataclass(frozen=True)
class Compared:
    """One server at one rate. Medians over the rounds; CPU in µs a request, of the whole tree of the server's
    processes, PostgreSQL apart.

    Attributes:
        net: without what the server uses at rest, keeping features fresh included: what one more request costs.
    """

    name: str
    rate: float
    cpu: float
    net: float
    postgres: float
    p50: float
    p95: float
    p99: float
    failed: int
    rounds: list[Measured]


@dataclass(frozen=True)
class _Server:
    target: Target
    pid: int


@dataclass(frozen=True)
class _Round:
    """`rest`: CPUs used right after the load."""

    load: Measured
    rest: float


def with_fastapi(stack: Stack, load: Load, rounds: int) -> list[Compared]:
    """HTTP, gRPC and FastAPI, all up at once and loaded in turn, in rounds."""
    with stack.bento(follow=True) as running, fastapi(stack) as (port, pid):
        assert running.pid is not None
        servers = {target.protocol: _Server(target, running.pid) for target in targets(stack, running)}
        servers["FastAPI"] = _Server(_peer(stack, "FastAPI", port), pid)
        return _in_turn(stack, servers, load, rounds)


def with_ray(stack: Stack, load: Load, rounds: int) -> list[Compared]:
    """HTTP, gRPC and Ray Serve; empty where Ray is not installed."""
    if not ray_is_installed():
        say("Ray Serve is left out: ray is not installed")
        return []
    with stack.bento(follow=True) as running, ray_serve(stack) as (port, pid):
        assert running.pid is not None
        servers = {target.protocol: _Server(target, running.pid) for target in targets(stack, running)}
        servers["Ray Serve"] = _Server(_peer(stack, "Ray Serve", port), pid)
        return _in_turn(stack, servers, load, rounds)


def cpu_ratio(found: Sequence[Compared], ours: str, other: str) -> tuple[float, float]:
    """Ours / the other's: of all CPU, and of what one more request costs."""
    by_name = {one.name: one for one in found}
    a, b = by_name[ours], by_name[other]
    return a.cpu / b.cpu, a.net / b.net


def _peer(stack: Stack, name: str, port: int) -> Target:
    check(f"http://{HOST}:{port}", stack.expected())
    return predict_target(name, HTTP, port, stack.matches.ids)


def _in_turn(stack: Stack, servers: Mapping[str, _Server], load: Load, rounds: int) -> list[Compared]:
    found: dict[str, list[_Round]] = {name: [] for name in servers}
    order = list(servers)
    for number in range(rounds):
        for name in order:
            found[name].append(_round(stack, name, servers[name], load))
        order.append(order.pop(0))  # nobody always follows the same server
        say(f"round {number + 1} of {rounds}")
    return [_median(name, found[name]) for name in servers]


def _round(stack: Stack, name: str, server: _Server, load: Load) -> _Round:
    watched = {"service": server.pid, "PostgreSQL": stack.postgres_pid}
    measured = run(replace(server.target, name=name), load, watched)
    time.sleep(0.7)  # what was answered last is being logged
    cpu = Cpu({"rest": server.pid})
    time.sleep(REST)
    return _Round(measured, cpu.used()["rest"].total)


def _median(name: str, rounds: list[_Round]) -> Compared:
    def middle(value: Callable[[Measured], float]) -> float:
        return float(np.median([value(one.load) for one in rounds]))

    rate = rounds[0].load.wanted_rate
    net = [one.load.server_cpu["service"] - 1e6 * one.rest / rate for one in rounds]
    return Compared(
        name=name,
        rate=rate,
        cpu=middle(lambda one: one.server_cpu["service"]),
        net=float(np.median(net)),
        postgres=middle(lambda one: one.server_cpu["PostgreSQL"]),
        p50=middle(lambda one: one.p50),
        p95=middle(lambda one: one.p95),
        p99=middle(lambda one: one.p99),
        failed=sum(one.load.failed for one in rounds),
        rounds=[one.load for one in rounds],
    )
