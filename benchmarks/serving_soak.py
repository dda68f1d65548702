"""A soak: one rate for long, and whether the workers' resident memory grows."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import psutil
from serving_load import Load, Measured, run
from serving_speed import targets
from serving_stack import Stack

from bentos.match_odds.deploying.runner import RunningBento

EVERY = 2.0
WARM_SHARE = 0.2
"""Of the time, until memory counts; the prediction log's queue and the allocator's arenas have their size by then."""

END_SHARE = 0.1
"""Of the time at either end of what counts, whose median is compared."""


@dataclass(frozen=True)
class Soak:
    """Attributes:
    loads: over HTTP and gRPC at the same time.
    memory: (seconds, MB) of all workers together.
    warm, last: MB after the warm-up and in the end.
    """

    loads: list[Measured]
    memory: list[tuple[float, float]]
    warm: float
    last: float

    @property
    def growth(self) -> float:
        """In percent."""
        return 100 * (self.last / self.warm - 1)


def soak(stack: Stack, rate: float, seconds: float) -> Soak:
    """Half of the rate over each protocol."""
    with stack.bento(follow=True) as running:
        asked = targets(stack, running)
        load = Load(rate / 2, seconds, warm=3.0)
        memory: list[tuple[float, float]] = []
        over = threading.Event()
        watching = threading.Thread(target=_watch, args=(running, memory, over), daemon=True)
        watching.start()
        try:
            with ThreadPoolExecutor(2) as threads:
                jobs = [threads.submit(run, target, load) for target in asked]
                loads = [job.result() for job in jobs]
        finally:
            over.set()
            watching.join()
    return Soak(loads, memory, *_ends(memory))


def _watch(running: RunningBento, memory: list[tuple[float, float]], over: threading.Event) -> None:
    began = time.monotonic()
    while not over.wait(EVERY):
        total = 0.0
        for pid in running.worker_pids():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += psutil.Process(pid).memory_info().rss / 2**20
        memory.append((time.monotonic() - began, total))


def _ends(memory: list[tuple[float, float]]) -> tuple[float, float]:
    sizes = np.array([size for _, size in memory])
    counted = sizes[int(len(sizes) * WARM_SHARE) :]
    few = max(1, int(len(sizes) * END_SHARE))
    return float(np.median(counted[:few])), float(np.median(counted[-few:]))
