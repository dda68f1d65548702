"""How near forecasts come to the truth, where the truth is known: simulated worlds, last season, walk-forward.

python benchmarks/simulator_recovery.py [--quick] [--json FILE]

Mean absolute error is |p - p_true| over matches and selections; a model learns from all seasons before the last.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from _common import arguments, datasets, print_machine, write_json

from betting_assets.modelling.evaluation import WITH_BASELINE_MODELS, Forecasts, walk_forward
from betting_assets.sources.simulator import SimulatorConfig, simulate

TRUTH = {"1x2": ["p_home", "p_draw", "p_away"], "over_under": ["p_over", "p_under"]}
SEEDS, QUICK_SEEDS = (20_240_817, 1, 2), (20_240_817,)


def errors(forecasts: Forecasts, truth: np.ndarray) -> dict[str, float]:
    """Mean absolute error of every forecaster, where it has a forecast."""
    return {name: float(np.nanmean(np.abs(p - truth))) for name, p in forecasts.probabilities.items()}


def measure(seed: int) -> list[dict[str, Any]]:
    world, rows = simulate(SimulatorConfig(seed=seed)), []
    truth = world.truth.set_index("match_id")
    for market, dataset in datasets(world.batch).items():
        start = time.perf_counter()
        forecasts = walk_forward(dataset, dataset.seasons[-1:], WITH_BASELINE_MODELS)
        seconds = time.perf_counter() - start
        known = truth.loc[forecasts.dataset.frame["match_id"], TRUTH[market]].to_numpy()
        for name, error in errors(forecasts, known).items():
            rows.append(
                {"market": market, "seed": seed, "forecaster": name, "mae": error, "n": len(known), "s": seconds}
            )
    return rows


def print_table(rows: list[dict[str, Any]], seeds: tuple[int, ...]) -> None:
    cells = {(row["market"], row["forecaster"], row["seed"]): row["mae"] for row in rows}
    print(f"{'market':<12} {'forecaster':<20} {'mean':>8}" + "".join(f"{f'seed {seed}':>15}" for seed in seeds))
    for market, name in dict.fromkeys((row["market"], row["forecaster"]) for row in rows):
        values = [cells[market, name, seed] for seed in seeds]
        print(f"{market:<12} {name:<20} {np.mean(values):>8.4f}" + "".join(f"{value:>15.4f}" for value in values))


def main() -> None:
    given = arguments(__doc__, "one world instead of three, under a minute").parse_args()
    where, seeds = print_machine(), QUICK_SEEDS if given.quick else SEEDS
    rows = [row for seed in seeds for row in measure(seed)]
    print_table(rows, seeds)
    write_json(given.json, {"machine": where, "rows": rows})


if __name__ == "__main__":
    main()
