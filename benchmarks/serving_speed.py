"""How fast the service answers: a sustained rate, the highest one, and batches; over HTTP and over gRPC."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serving_generator import GRPC, HTTP
from serving_load import Load, Measured, Target, run
from serving_stack import Stack, check, predict_target, say

from bentos.match_odds.deploying.runner import RunningBento
from betting_assets.warehouse.database import connect

PROTOCOLS = (HTTP, GRPC)
LADDER_P99 = 50.0
"""Milliseconds: a rate above which the p99 is larger is too high."""

LOG_FLUSH = 3.0
"""Seconds within which the prediction log has written what was answered."""


@dataclass(frozen=True)
class Logged:
    """Answers about matches, and rows of the prediction log that they left."""

    answered: int
    rows: int


def targets(stack: Stack, running: RunningBento, size: int = 1) -> list[Target]:
    """Both protocols, after a look at every answer."""
    for url in (running.url, running.grpc_url):
        check(url, stack.expected())
    ports = {HTTP: running.port, GRPC: running.grpc_port}
    return [
        predict_target(f"{protocol}, {size} a request", protocol, port, stack.matches.ids, size)
        for protocol, port in ports.items()
    ]


def watched(stack: Stack, pid: int | None) -> dict[str, int]:
    assert pid is not None
    return {"service": pid, "PostgreSQL": stack.postgres_pid}


def sustained(stack: Stack, load: Load, size: int = 1) -> tuple[list[Measured], Logged]:
    """One rate over each protocol in turn; and whether the log lost something of it."""
    with stack.bento(follow=True) as running:
        known = targets(stack, running, size)
        time.sleep(LOG_FLUSH)
        before = _rows(stack.url)
        found = [run(target, load, watched(stack, running.pid)) for target in known]
        time.sleep(LOG_FLUSH)
        answered = 2 * len(load.schedule()) * size - sum(one.failed for one in found) * size
        return found, Logged(answered, _rows(stack.url) - before)


def ladder(stack: Stack, load: Load, rates: Sequence[float]) -> dict[str, list[Measured]]:
    """By protocol, rising rates until two of them in a row are too high."""
    with stack.bento(follow=True) as running:
        climbed: dict[str, list[Measured]] = {}
        for target in targets(stack, running):
            steps = climbed[target.protocol] = []
            for rate in rates:
                steps.append(run(target, replace(load, rate=rate), watched(stack, running.pid)))
                say(f"{target.protocol} {rate:,.0f}/s: p99 {steps[-1].p99:.1f} ms, failed {steps[-1].failed}")
                if len(steps) > 1 and not any(map(is_kept, steps[-2:])):
                    break
        return climbed


def is_kept(step: Measured) -> bool:
    """Whether the service keeps up: nothing fails, the p99 is bounded, and answers come as fast as requests."""
    return not step.failed and step.p99 < LADDER_P99 and step.rate > 0.98 * step.wanted_rate


def highest(steps: Sequence[Measured]) -> float:
    return max((step.wanted_rate for step in steps if is_kept(step)), default=0.0)


def _rows(url: str) -> int:
    with connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM serving.prediction_log").fetchone()
    assert row is not None
    return int(row[0])


def as_numbers(found: Mapping[str, Sequence[Measured]]) -> dict[str, Any]:
    return {name: [one.numbers() for one in steps] for name, steps in found.items()}
