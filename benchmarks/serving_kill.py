"""kill -9 of one of two workers behind HAProxy: what the platform's own clients, with their retries, see of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
from serving_stack import MARKET, WORKERS, Stack, say, wait_for_workers

from bentos.match_odds.client import AsyncMatchOddsClient, MatchOddsError
from bentos.match_odds.deploying.haproxy import HAProxy, Slot
from bentos.match_odds.deploying.runner import RunningBento
from betting_assets.embedded.ports import HOST, free_port

REST = 1.5
"""Seconds before a kill, and after a killed worker is back."""

CHANNELS = 8


@dataclass(frozen=True)
class Killed:
    """Attributes:
    kills: workers killed.
    calls: made by both clients.
    failed: that ended in an error for the caller, by error.
    p50, p99, longest: ms, retries included, from the time in the schedule.
    """

    kills: int
    calls: int
    failed: dict[str, int]
    p50: float
    p99: float
    longest: float


def kill_workers(stack: Stack, rate: float, kills: int) -> Killed:
    """Half of the rate over each protocol, for as long as the kills take."""
    with stack.bento(name="blue") as running:
        slots = (Slot("blue", running.port, running.grpc_port), Slot("green", free_port(), free_port()))
        port, grpc_port = free_port(), free_port()
        proxy = HAProxy(stack.home, HOST, port, grpc_port, slots)
        proxy.start(let_in="blue")
        try:
            proxy.let_in("blue")
            urls = (f"http://{HOST}:{port}", f"grpc://{HOST}:{grpc_port}")
            return asyncio.run(_calls_and_kills(stack, running, urls, rate, kills))
        finally:
            proxy.stop()


async def _calls_and_kills(
    stack: Stack, running: RunningBento, urls: tuple[str, ...], rate: float, kills: int
) -> Killed:
    clients = [AsyncMatchOddsClient(url, channels=CHANNELS) for url in urls]
    killing = asyncio.create_task(_kill(running, kills))
    loads = [_load(client, stack.matches.ids, rate / len(clients), killing) for client in clients]
    try:
        outcomes = [one for load in await asyncio.gather(*loads) for one in load]
        await killing
    finally:
        killing.cancel()
        for client in clients:
            await client.close()
    taken = np.array([latency for latency, _ in outcomes]) * 1000
    failed = Counter(error for _, error in outcomes if error is not None)
    p50, p99, longest = np.percentile(taken, (50, 99, 100)).tolist()
    return Killed(kills, len(outcomes), dict(failed), p50, p99, longest)


async def _load(
    client: AsyncMatchOddsClient, ids: list[str], rate: float, killing: asyncio.Task[None]
) -> list[tuple[float, str | None]]:
    """Until the killing is over. Of every call, seconds since its time in the schedule, and its error."""
    start = time.monotonic() + 0.2
    calls: list[asyncio.Task[tuple[float, str | None]]] = []
    while not killing.done():
        number = len(calls)
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        calls.append(asyncio.create_task(_call(client, ids[number % len(ids)], due)))
    return list(await asyncio.gather(*calls))


async def _call(client: AsyncMatchOddsClient, match_id: str, due: float) -> tuple[float, str | None]:
    error = None
    try:
        answer = await client.predict(MARKET, [match_id])
        if answer.predictions[0].match_id != match_id or not answer.predictions[0].probabilities:
            error = "answered without contents"
    except MatchOddsError as refusal:
        error = str(refusal)[:120]
    return time.monotonic() - due, error


async def _kill(running: RunningBento, kills: int) -> None:
    """One after another, each when the one before is back."""
    for number in range(kills):
        await asyncio.sleep(REST)
        began = time.monotonic()
        victim = running.worker_pids()[number % WORKERS]
        os.kill(victim, signal.SIGKILL)
        await asyncio.to_thread(_back, running, victim)
        say(f"worker killed {number + 1} of {kills}; {WORKERS} workers again after {time.monotonic() - began:.1f} s")
    await asyncio.sleep(REST)


def _back(running: RunningBento, victim: int) -> None:
    """Wait until the victim is gone and all workers listen; a process that is starting does not yet."""
    while victim in running.worker_pids():
        time.sleep(0.02)
    wait_for_workers(running)
