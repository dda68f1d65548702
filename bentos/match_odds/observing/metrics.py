"""Every metric of the service, for both protocols. docs/serving-operations.md tells what each one is for.

Several processes count into the files of one folder (PROMETHEUS_MULTIPROC_DIR, which BentoML sets), so that /metrics of
any of them tells the sum. Writing to these files would be a good part of an answer's cost, so requests are counted in
memory first.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Histogram

    from bentos.match_odds.features.feature_cache import StoreState
    from bentos.match_odds.model.served import Served

STREAMS = frozenset({"watch", "board"})
"""Methods that last as long as their client likes: they are counted, but say nothing about latency."""

PROTOCOLS = ("http", "grpc")
LOG_FATES = ("written", "dropped", "refused")
SHADOW_FATES = ("scored", "dropped", "failed")
"""Time series that begin at 0: Prometheus does not see the first event of one that begins with it."""

LATENCY = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Seconds."""

QUEUE_WAIT = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
"""Seconds."""

BATCH_SIZE = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Rows."""


class Tally:
    """A histogram's newest observations, in memory. Its own `observe` writes to mapped memory twice, each time."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def flush_to(self, histogram: Histogram) -> None:
        """Hand over what was observed; goes by the buckets, which prometheus_client keeps to itself."""
        for place, count in enumerate(self._counts):
            if count:
                histogram._buckets[place].inc(count)
                self._counts[place] = 0
        if self._sum:
            histogram._sum.inc(self._sum)
            self._sum = 0.0


class Metrics:
    """What this process counts. Every method returns at once.

    Requests, batches and reads of the cache are counted in memory and told by `flush`, which the worker calls several
    times a second, before it shows its metrics, and at its end. They and `flush` are for one thread.

    Args:
        registry: where they are registered; once for a name.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self._requests = Counter(
            "betting_requests",
            "Requests by protocol, method and code (HTTP status or name of the grpc-status).",
            ["protocol", "method", "code"],
            registry=registry,
        )
        self._latency = Histogram(
            "betting_request_seconds",
            "Seconds from a request's arrival to its answer; streams are left out.",
            ["protocol", "method"],
            buckets=LATENCY,
            registry=registry,
        )
        self._batch_rows = Histogram(
            "betting_batch_rows", "Rows that were scored together.", buckets=BATCH_SIZE, registry=registry
        )
        self._queue_wait = Histogram(
            "betting_queue_wait_seconds",
            "Seconds that the first request of a batch waited; the others waited for less.",
            buckets=QUEUE_WAIT,
            registry=registry,
        )
        self._shed = Counter(
            "betting_shed", "Requests refused because too much work waited.", ["protocol"], registry=registry
        )
        self._cancelled = Counter(
            "betting_cancelled", "Requests whose client did not wait for the answer.", ["protocol"], registry=registry
        )
        cache_reads = Counter(
            "betting_cache_reads",
            "Requests by match id that found all (hit) or not all (miss) of their matches in the feature cache.",
            ["result"],
            registry=registry,
        )
        self._cache_counters = cache_reads.labels("miss"), cache_reads.labels("hit")
        self._cache_reads = [0, 0]
        self._logged = Counter(
            "betting_prediction_log_rows", "Rows of the prediction log by fate.", ["fate"], registry=registry
        )
        self._shadowed = Counter(
            "betting_shadow_rows", "Rows offered to the challenger by fate.", ["fate"], registry=registry
        )
        self._cache_age = Gauge(
            "betting_cache_age_seconds",
            "Age of the oldest cached features, of all processes.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._cache_entries = Gauge(
            "betting_cache_entries",
            "Matches in the feature cache, of all processes together.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._store_up = Gauge(
            "betting_store_up",
            "1 where every process can reach the online store.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        self._degraded = Gauge(
            "betting_degraded",
            "1 where a process answers less than it should, or not at all.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._watchers = Gauge(
            "betting_watchers", "Open watch streams.", multiprocess_mode="livesum", registry=registry
        )
        self._models = Gauge(
            "betting_model_info",
            "Processes that serve this model now; 0 for one that was replaced.",
            ["market", "version", "role", "bento"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        for protocol in PROTOCOLS:
            self._shed.labels(protocol)
            self._cancelled.labels(protocol)
        for counter, fates in ((self._logged, LOG_FATES), (self._shadowed, SHADOW_FATES)):
            for fate in fates:
                counter.labels(fate)
        self._ended: dict[tuple[str, str, str], int] = {}
        self._seconds: dict[tuple[str, str], Tally] = {}
        self._rows, self._waits = Tally(BATCH_SIZE), Tally(QUEUE_WAIT)
        self._served: set[tuple[str, str, str, str]] = set()

    def request(self, protocol: str, method: str, code: str, seconds: float) -> None:
        """One request has ended. `code` is an HTTP status or the name of a grpc-status."""
        self._ended[protocol, method, code] = self._ended.get((protocol, method, code), 0) + 1
        if method in STREAMS:
            return
        tally = self._seconds.get((protocol, method))
        if tally is None:
            tally = self._seconds[protocol, method] = Tally(LATENCY)
        tally.observe(seconds)

    def batch(self, rows: int, waits: Sequence[float]) -> None:
        """One batch is about to be scored, whose requests waited for so many seconds each."""
        self._rows.observe(rows)
        self._waits.observe(max(waits))

    def shed(self, protocol: str) -> None:
        self._shed.labels(protocol).inc()

    def cancelled(self, protocol: str) -> None:
        self._cancelled.labels(protocol).inc()

    def cache_read(self, hit: bool) -> None:
        """A request by match id looked into the feature cache, and found all it needed or not."""
        self._cache_reads[hit] += 1

    def logged(self, fate: str, rows: int) -> None:
        """What became of rows of the prediction log."""
        self._logged.labels(fate).inc(rows)

    def shadowed(self, fate: str, rows: int) -> None:
        """What became of rows that were offered to the challenger."""
        self._shadowed.labels(fate).inc(rows)

    def state(self, store: StoreState, watchers: int, *, degraded: bool) -> None:
        """How this process is now; to be called every second or so, and at the end."""
        self.flush()
        self._store_up.set(store.reachable)
        self._cache_age.set(store.oldest_age or 0.0)
        self._cache_entries.set(store.entries)
        self._watchers.set(watchers)
        self._degraded.set(degraded)

    def flush(self) -> None:
        """Tell of what is only counted in memory."""
        for result, counter in enumerate(self._cache_counters):
            counter.inc(self._cache_reads[result])
            self._cache_reads[result] = 0
        for labels, ended in self._ended.items():
            if ended:
                self._requests.labels(*labels).inc(ended)
                self._ended[labels] = 0
        for place, tally in self._seconds.items():
            tally.flush_to(self._latency.labels(*place))
        self._rows.flush_to(self._batch_rows)
        self._waits.flush_to(self._queue_wait)

    def serves(self, served: Served) -> None:
        """The models of this process from now on. One that was replaced stays with the value 0."""
        now = {
            (market, champion.version, role, served.bento)
            for role, champions in (("champion", served.champions), ("challenger", served.challengers))
            for market, champion in champions.items()
        }
        for labels in self._served - now:
            self._models.labels(*labels).set(0)
        for labels in now:
            self._models.labels(*labels).set(1)
        self._served = now


@cache
def make_metrics() -> Metrics:
    """The metrics of this process. Gauges that a killed worker left behind go with it.

    Raises:
        RuntimeError: prometheus_client was imported before BentoML named the folder, so that nobody would see them.
    """
    from prometheus_client import REGISTRY, values

    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is not None:
        if not values.ValueClass._multiprocess:
            raise RuntimeError("prometheus_client was imported before PROMETHEUS_MULTIPROC_DIR was set")
        forget_the_dead(Path(folder))
    return Metrics(REGISTRY)


def forget_the_dead(folder: Path) -> None:
    """Remove the gauges of processes that are no more: a worker that was killed cannot do it itself."""
    from prometheus_client.multiprocess import mark_process_dead

    for pid in {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*_*.db")}:
        if pid.isdecimal() and not Path("/proc", pid).exists():
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]
