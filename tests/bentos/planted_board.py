"""Predictions as the lander would leave them, and matches as the platform knows them."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from typing import Any

import numpy as np
import psycopg

from betting_assets.sources.records import SELECTIONS, Market
from betting_assets.sources.simulation.names import team_names
from betting_assets.streaming.messages import prediction_id
from betting_assets.warehouse.database import connect

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
BOOKS = ("pinnacle", "bet365", "betfair_exchange", "williamhill", "bwin")


def add_match(conn: psycopg.Connection, match_id: str, home: str, away: str, **values: Any) -> None:
    row = {
        "match_id": match_id,
        "sport": "football",
        "league": "SIM1",
        "season": "2526",
        "rating_pool": "SIM",
        "match_date": (values.get("kickoff") or NOW).date(),
        "kickoff": NOW + dt.timedelta(hours=2),
        "home": home,
        "away": away,
        "source": "test",
    } | values
    _insert(conn, "core.match", row)


class Log:
    """Lands predictions in one partition of the topic."""

    def __init__(self, conn: psycopg.Connection, partition: int = 0, epoch: int = 1) -> None:
        self._conn, self._partition, self._epoch = conn, partition, epoch
        self._offsets = itertools.count()

    def land(self, match_id: str, market: str = "1x2", tick: int | None = None, **values: Any) -> dict[str, Any]:
        """A row; by default it speaks for a tick that is newer than all before."""
        offset = next(self._offsets)
        tick = offset if tick is None else tick
        selections = SELECTIONS[Market(market)]
        even = [1 / len(selections)] * len(selections)
        row = {
            "epoch": self._epoch,
            "partition": self._partition,
            "offset": offset,
            "prediction_id": prediction_id(match_id, market, self._epoch, self._partition, tick),
            "match_id": match_id,
            "market": market,
            "line": 0.0 if market == "1x2" else 2.5,
            "probabilities": even,
            "market_probabilities": even,
            "best_prices": [3.0] * len(selections),
            "best_bookmakers": ["pinnacle"] * len(selections),
            "edges": [0.0] * len(selections),
            "withheld": None,
            "withheld_detail": None,
            "excluded": [],
            "variant": "market_residual",
            "model_version": "3",
            "bento": "match_odds:planted",
            "tick_epoch": self._epoch,
            "tick_partition": self._partition,
            "tick_offset": tick,
            "taken_at": NOW + dt.timedelta(milliseconds=tick),
            "scored_at": NOW + dt.timedelta(milliseconds=tick + 5),
            "produced_at": NOW,
        } | values
        _insert(self._conn, "stream.prediction", row | {"excluded": json.dumps(row["excluded"])})
        return row


def _insert(conn: psycopg.Connection, table: str, row: dict[str, Any]) -> None:
    columns = ", ".join(f'"{name}"' for name in row)
    places = ", ".join(f"%({name})s" for name in row)
    conn.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})".encode(), row)  # noqa: S608 names of this file


def plant_match_days(url: str, matches: int = 30, seed: int = 7) -> list[str]:
    """A plausible board: three leagues, two markets, odds that moved, some withheld, some books left out."""
    rng = np.random.default_rng(seed)
    ids = []
    with connect(url) as conn:
        log = Log(conn)
        names = {f"SIM{1 + league}": team_names(20, league) for league in range(3)}
        for number in range(matches):
            league = f"SIM{1 + number % 3}"
            home, away = names[league][2 * (number // 3) : 2 * (number // 3) + 2]
            kickoff = NOW.replace(minute=0, second=0) + dt.timedelta(hours=1 + (number // 4) * 3)
            match_id = f"{league.lower()}_{kickoff:%Y-%m-%d}_{number}"
            ids.append(match_id)
            add_match(conn, match_id, home, away, league=league, kickoff=kickoff)
            for market in ("1x2", "over_under"):
                _plant_market(log, rng, match_id, market, number)
        conn.commit()
    return ids


def _plant_market(log: Log, rng: np.random.Generator, match_id: str, market: str, number: int) -> None:
    k = len(SELECTIONS[Market(market)])
    logits = rng.normal([0.4, 0.0, -0.1] if k == 3 else [0.1, 0.0], 0.45)
    count = int(rng.integers(1, 40))
    for step in range(count):
        logits = logits + rng.normal(0, 0.035, k)
        taken_at = NOW - dt.timedelta(minutes=7 * (count - 1 - step), seconds=float(rng.integers(2, 300)))
        log.land(
            match_id,
            market,
            **_prediction(rng, logits, number, market, step == count - 1),
            taken_at=taken_at,
            scored_at=taken_at + dt.timedelta(milliseconds=20),
        )


def _prediction(rng: np.random.Generator, logits: Any, number: int, market: str, is_last: bool) -> dict[str, Any]:
    consensus = np.exp(logits) / np.exp(logits).sum()
    model = np.exp(logits + rng.normal(0, 0.07, len(logits)))
    model /= model.sum()
    prices = np.round(1 / consensus * rng.uniform(0.97, 1.03, len(logits)), 2)
    row: dict[str, Any] = {
        "probabilities": model.tolist(),
        "market_probabilities": consensus.tolist(),
        "best_prices": prices.tolist(),
        "best_bookmakers": rng.choice(BOOKS, len(logits)).tolist(),
        "edges": (model * prices - 1).tolist(),
        "model_version": "3" if market == "1x2" else "7",
    }
    if is_last and number % 9 == 4:
        row |= {"withheld": "suspended_market", "withheld_detail": "the market is suspended at 5 of 5 bookmakers"}
        row |= {"best_prices": [], "best_bookmakers": [], "edges": []}
    if is_last and number % 13 == 7 and market == "over_under":
        row |= {"withheld": "missing_features", "withheld_detail": f"no features stored for match {number}"}
        row |= {"probabilities": [], "best_prices": [], "best_bookmakers": [], "edges": [], "model_version": None}
        row |= {"variant": None, "bento": None}
    if is_last and number % 4 == 1:
        row["excluded"] = [
            {"bookmaker": "bwin", "reason": "palpable_error", "detail": "home 21.0 where the median is 2.1"},
            {"bookmaker": "williamhill", "reason": "stale", "detail": "prices of 2 h 5 min ago"},
        ][: 1 + number % 2]
    return row
