"""How many books a second lose their margin: every method here, and penaltyblog on the same books in the same run.

python benchmarks/margin_removal.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from betting_assets.betting.odds import MarginMethod, remove_margin

Floats = NDArray[np.float64]


def books(n: int, k: int, seed: int = 0) -> Floats:
    """Prices (n, k) as bookmakers quote them: margin of 2 to 8 %, two decimals, 1.01 to 101."""
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet([4.0, 2.5, 3.0, 2.0, 2.0, 2.0][:k], n)
    prices = 1.0 / (truth * rng.uniform(1.02, 1.08, (n, 1)))
    return np.round(np.clip(prices, 1.01, 101.0), 2)


def rate(work: Callable[[], Any], items: int, repeats: int) -> float:
    """Items a second, the best of several runs: the machine's other work is not what is measured."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return items / best


def penaltyblog_rate(prices: Floats, method: MarginMethod, repeats: int) -> tuple[float, float]:
    """Books a second of penaltyblog, and the largest difference between its probabilities and ours."""
    from penaltyblog.implied import calculate_implied

    rows = prices.tolist()
    theirs = np.array([calculate_implied(row, method=method.value).probabilities for row in rows])
    ours = remove_margin(prices, method)
    same = ~ours.fell_back
    difference = float(np.abs(theirs - ours.probabilities)[same].max())
    return rate(lambda: [calculate_implied(row, method=method.value) for row in rows], len(rows), repeats), difference


def measure(quick: bool) -> list[dict[str, Any]]:
    n, sample, repeats = (300_000, 1_000, 3) if quick else (2_000_000, 10_000, 5)
    rows = []
    for k in (3, 2):
        for method in MarginMethod:
            prices = books(n, k)
            ours = rate(lambda prices=prices, method=method: remove_margin(prices, method), n, repeats)
            theirs, difference = penaltyblog_rate(prices[:sample], method, repeats)
            rows.append(
                {
                    "selections": k,
                    "method": method.value,
                    "books_per_s": round(ours),
                    "penaltyblog_books_per_s": round(theirs),
                    "times": round(ours / theirs, 1),
                    "largest_difference": difference,
                }
            )
    return rows


def machine() -> dict[str, Any]:
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer books, under a minute")
    parser.add_argument("--json", type=Path, help="write the numbers to this file as well")
    arguments = parser.parse_args()
    where, rows = machine(), measure(arguments.quick)
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    print(f"{'selections':>10}  {'method':<15} {'books/s':>12} {'penaltyblog/s':>14} {'times':>8} {'difference':>11}")
    for row in rows:
        print(
            f"{row['selections']:>10}  {row['method']:<15} {row['books_per_s']:>12,} "
            f"{row['penaltyblog_books_per_s']:>14,} {row['times']:>8,.0f} {row['largest_difference']:>11.1e}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": where, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
