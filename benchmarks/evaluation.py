"""How good the models are on real football-data.co.uk files, walk-forward, against the market on the same matches.

python benchmarks/evaluation.py [--data FOLDER] [--leagues E0,E1] [--seasons 1718,1819] [--quick] [--json FILE]

Without --data, $BETTING_TEST_DATA/A_football/mmz4281 is read. Differences are log-loss minus the market's, with a 95 %
interval from a bootstrap over dates; CLV is that of paper bets of one unit at 3 % edge, by the same bootstrap.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from _common import arguments, datasets, print_machine, write_json

from betting_assets.modelling.backtest import flat_stakes
from betting_assets.modelling.dataset import Dataset
from betting_assets.modelling.evaluation import WITH_BASELINE_MODELS, score, walk_forward
from betting_assets.sources.source import FootballDataSource

BETTING = [name.value for name in WITH_BASELINE_MODELS]
"""Baselines do not bet: the close at earlier prices is a leak, and the base rate bets against everybody."""
SEASONS, QUICK_SEASONS = "1718,1819,1920,2021,2122", "1718"
LEAGUES, QUICK_LEAGUES = "E0,E1,SP1,D1", "E0,E1"


def data_folder(given: Path | None) -> Path:
    if given:
        return given
    if "BETTING_TEST_DATA" not in os.environ:
        sys.exit("no data: give --data FOLDER with football-data.co.uk files, or set BETTING_TEST_DATA")
    return Path(os.environ["BETTING_TEST_DATA"]) / "A_football" / "mmz4281"


def measure(dataset: Dataset, seasons: list[str]) -> dict[str, Any]:
    """Scores of every model and baseline by name, with its paper bets."""
    forecasts = walk_forward(dataset, seasons, WITH_BASELINE_MODELS)
    scores = score(forecasts)
    return {
        name: {**values, "bets": flat_stakes(forecasts, name)} if name in BETTING else values
        for name, values in scores.items()
    }


def print_table(market: str, scores: dict[str, Any], seconds: float) -> None:
    dropped = next(iter(scores.values()))["n_dropped"]
    print(f"\n{market}: {seconds:.0f} s, dropped {dropped}")
    print(
        f"{'':<20} {'n':>6} {'log-loss':>9} {'RPS':>8} {'Brier':>8} {'ECE':>7} {'band':>16} "
        f"{'vs market before the close':>30} {'vs close':>30} {'bets':>6} {'CLV':>24}"
    )
    for name, row in scores.items():
        if row["n"] == 0:
            print(f"{name:<20} {0:>6}")
            continue
        bets = row.get("bets", {"n": "-"})
        print(
            f"{name:<20} {row['n']:>6,} {row['log_loss']:>9.5f} {row['rps']:>8.5f} {row['brier']:>8.5f} "
            f"{row['ece']:>7.4f} {'[{:.4f}, {:.4f}]'.format(*row['ece_band']):>16} "
            f"{interval(row['diff_vs_market_pre'].get('log_loss'), 5):>30} "
            f"{interval(row['diff_vs_market_close'].get('log_loss'), 5):>30} "
            f"{bets['n']:>6} {interval(bets.get('clv'), 3):>24}"
        )


def interval(values: dict[str, float] | None, digits: int) -> str:
    if not values:
        return "-"
    return "{mean:+.{d}f} [{lo:+.{d}f}, {hi:+.{d}f}]".format(**values, d=digits)


def main() -> None:
    parser = arguments(__doc__, f"{QUICK_LEAGUES} and test season {QUICK_SEASONS} only, under a minute")
    parser.add_argument("--data", type=Path, help="folder of football-data.co.uk files")
    parser.add_argument("--leagues", help=f"default {LEAGUES}")
    parser.add_argument("--seasons", help=f"test seasons, default {SEASONS}")
    given = parser.parse_args()
    leagues = (given.leagues or (QUICK_LEAGUES if given.quick else LEAGUES)).split(",")
    seasons = (given.seasons or (QUICK_SEASONS if given.quick else SEASONS)).split(",")
    where = print_machine()
    start = time.perf_counter()
    batch = FootballDataSource(data_folder(given.data), tuple(leagues)).load()
    tables = datasets(batch)
    print(
        f"{', '.join(leagues)}: {len(batch.matches):,} matches read, features made: {time.perf_counter() - start:.0f} s"
    )
    results: dict[str, Any] = {}
    for market, dataset in tables.items():
        start = time.perf_counter()
        results[market] = measure(dataset, seasons)
        print_table(market, results[market], time.perf_counter() - start)
    write_json(given.json, {"machine": where, "leagues": leagues, "seasons": seasons, "markets": results})


if __name__ == "__main__":
    main()
