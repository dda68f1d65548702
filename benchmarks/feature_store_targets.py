"""What the feature store is to reach, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from feature_store_reads import SIZES


@dataclass(frozen=True)
class Numbers:
    """read: ms by peer, matches and percentile; write: rows/s by writer and batch; materialize: s by store and case;
    disk: bytes a match by PostgreSQL schema."""

    read: dict[str, dict[int, Any]]
    write: dict[str, Any]
    materialize: dict[str, Any]
    disk: dict[str, float]
    peak_rss_mb: float


@dataclass(frozen=True)
class Target:
    aim: str
    text: str
    measured: float
    limit: float
    at_most: bool = True


def reached(target: Target) -> str:
    within = target.measured <= target.limit if target.at_most else target.measured >= target.limit
    return "yes" if within else "**no**"


def targets(numbers: Numbers) -> Iterator[Target]:
    yield from _reads(numbers)
    for writer in ("write_to_online_store", "online_write_batch", "write_frame"):
        other = "online_write_batch" if writer == "write_frame" else writer
        for size in (100, 1000):
            times = numbers.write[f"ours, {writer}"][size] / numbers.write[f"stock, {other}"][size]
            yield Target(f"rows/s, batches of {size:,}: ours, {writer} / stock, {other}", "≥ 10×", times, 10, False)
    yield Target("materialize, new matches, s", "≤ 1.5", numbers.materialize["ours"]["new"], 1.5)


def _reads(numbers: Numbers) -> Iterator[Target]:
    for step in ("SDK", "SDK + to_dict"):
        for size in SIZES:
            limit = 0.5 if size == 1 else 0.25
            yield _ratio(numbers, f"ours, {step}", f"stock, {step}", size, limit)
        if "redis, SDK" in numbers.read:
            for size in SIZES:
                yield _ratio(numbers, f"ours, {step}", f"redis, {step}", size, 1.0)
        yield Target(f"p99 at 64, ours, {step}, ms", "≤ 20", numbers.read[f"ours, {step}"][64]["p99"], 20)
    for plain in ("plain SQL, tuples", "plain SQL, numpy"):
        for size in SIZES:
            yield _ratio(numbers, "ours, reader", plain, size, 2.0)


def _ratio(numbers: Numbers, ours: str, other: str, size: int, limit: float) -> Target:
    measured = numbers.read[ours][size]["p50"] / numbers.read[other][size]["p50"]
    return Target(f"p50 at {size}: {ours} / {other}", f"≤ {limit:g}×", measured, limit)
