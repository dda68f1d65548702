"""How long features take from history to table: ratings, form and margin-free market, for ever more matches.

python benchmarks/features.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from margin_removal import books, machine

from betting_assets.betting.form import team_form
from betting_assets.betting.odds import remove_margin
from betting_assets.betting.ratings import team_ratings

TEAMS, LEAGUES = 20, 20
ROUNDS = 2 * (TEAMS - 1)


def history(n: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.Series]:
    """About n matches of 20 leagues with 20 teams each, as many seasons as that takes; scores and shots at random."""
    rng = np.random.default_rng(seed)
    seasons = max(1, round(n / (LEAGUES * ROUNDS * TEAMS // 2)))
    # Round robin by the circle method: the first team stays, the others turn one place each round.
    circle = np.array([np.r_[0, 1 + np.roll(np.arange(TEAMS - 1), r)] for r in range(TEAMS - 1)])
    half = np.stack([circle[:, : TEAMS // 2], circle[:, : TEAMS // 2 - 1 : -1]], axis=-1)
    fixtures = np.concatenate([half, half[:, :, ::-1]])  # rounds, matches, (home, away)
    shape = (seasons, LEAGUES, *fixtures.shape[:2])
    season, league, round_, _ = (axis.ravel() for axis in np.indices(shape))
    pair = np.broadcast_to(fixtures, (*shape, 2)).reshape(-1, 2)
    day = season * 365 + round_ * 7 + rng.integers(0, 3, len(season))
    matches = pd.DataFrame(
        {
            "match_id": np.char.add("m", np.arange(len(day)).astype(str)).astype(object),
            "league": np.char.add("L", league.astype(str)).astype(object),
            "rating_pool": np.char.add("pool", (league // 2).astype(str)).astype(object),
            "match_date": np.datetime64("2000-08-05", "ns") + day.astype("timedelta64[D]"),
            "home": np.char.add("team ", (league * TEAMS + pair[:, 0]).astype(str)).astype(object),
            "away": np.char.add("team ", (league * TEAMS + pair[:, 1]).astype(str)).astype(object),
        }
    )
    midnight = matches["match_date"].dt.tz_localize("UTC")
    goals, shots = rng.poisson([1.5, 1.2], (len(day), 2)), rng.poisson([13.0, 11.0], (len(day), 2))
    on_target = rng.binomial(shots, 0.35)
    key = matches[["match_id"]]
    results = key.assign(home_score=goals[:, 0], away_score=goals[:, 1], known_at=midnight + pd.Timedelta(days=1))
    statistics = key.assign(
        home_shots=shots[:, 0],
        away_shots=shots[:, 1],
        home_shots_on_target=on_target[:, 0],
        away_shots_on_target=on_target[:, 1],
    )
    return matches, results, statistics, midnight - pd.Timedelta(hours=9)


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(n: int) -> dict[str, Any]:
    matches, results, statistics, decided_at = history(n)
    prices = books(len(matches), 3), books(len(matches), 2)
    row: dict[str, Any] = {"matches": len(matches), "days": int(matches["match_date"].nunique())}
    row["ratings_s"] = seconds(lambda: team_ratings(matches, results, decided_at))
    row["form_s"] = seconds(lambda: team_form(matches, results, statistics, decided_at))
    row["market_s"] = seconds(lambda: [remove_margin(p) for p in prices])
    row["total_s"] = row["ratings_s"] + row["form_s"] + row["market_s"]
    row["matches_per_s"] = round(len(matches) / row["total_s"])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the largest history, under a minute")
    parser.add_argument("--json", type=Path, help="write the numbers to this file as well")
    arguments = parser.parse_args()
    where, rows = machine(), []
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    print(
        f"{'matches':>9} {'days':>6} {'ratings s':>10} {'form s':>8} {'market s':>9} {'total s':>8} {'matches/s':>10}"
    )
    for n in (20_000, 100_000) if arguments.quick else (20_000, 100_000, 300_000):
        rows.append(row := measure(n))
        print(
            f"{row['matches']:>9,} {row['days']:>6,} {row['ratings_s']:>10.2f} {row['form_s']:>8.2f} "
            f"{row['market_s']:>9.2f} {row['total_s']:>8.2f} {row['matches_per_s']:>10,}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": where, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
