"""An online store in memory that answers as the real one does, and can be away, slow or stuck."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from invented_models import STRENGTH

from betting_assets.modelling.markets import MARKETS
from feature_repo.online_read import NOT_FOUND, OUTSIDE_MAX_AGE, PRESENT
from feature_repo.online_rows import OnlineRows

VIEWS = ("match_strength", "match_market")
DECIDED_AT = dt.datetime(2026, 3, 6, 15, tzinfo=dt.UTC)
ODDS = {"market_home": 0.5, "market_draw": 0.3, "market_away": 0.2, "market_over": 0.55, "market_under": 0.45}
PRICES = {name: 2.0 + i for i, name in enumerate(c for spec in MARKETS.values() for c in spec.best_price_columns)}
OPEN = {spec.suspended_column: 0.0 for spec in MARKETS.values()}
NAMES = (*STRENGTH, *ODDS, *PRICES, *OPEN)


@dataclass(frozen=True)
class Stored:
    """A match: numbers by name, the league, and the status and time of each view."""

    values: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STRENGTH, 0.1) | ODDS | PRICES | OPEN)
    league: str | None = "XX"
    statuses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VIEWS, PRESENT))
    times: dict[str, dt.datetime] = field(default_factory=lambda: dict.fromkeys(VIEWS, DECIDED_AT))

    def but(self, **values: float) -> Stored:
        return replace(self, values=self.values | values)

    def with_view(self, view: str, status: int) -> Stored:
        return replace(self, statuses=self.statuses | {view: status})

    def number(self, name: str) -> float:
        view = VIEWS[1] if name.startswith("market_") else VIEWS[0]
        return self.values[name] if self.statuses[view] == PRESENT else np.nan


ABSENT = Stored(statuses=dict.fromkeys(VIEWS, NOT_FOUND), league=None)
EXPIRED = OUTSIDE_MAX_AGE


class InventedStore:
    """Attributes:
    matches: what is stored.
    reads: ids of every read so far that was answered or refused.
    refuses: what a read raises while the store is away.
    before: called in every read before the store looks, after: after that.
    lets_go: cleared, reads hang.
    """

    def __init__(self) -> None:
        self.matches: dict[str, Stored] = {}
        self.reads: list[list[str]] = []
        self.refuses: Exception | None = None
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self.lets_go = threading.Event()
        self.lets_go.set()

    def read(self, match_ids: Sequence[str]) -> OnlineRows:
        self.reads.append(list(match_ids))
        assert self.lets_go.wait(30.0), "a test left the store stuck"
        self.before()
        if self.refuses is not None:
            raise self.refuses
        found = [self.matches.get(match_id, ABSENT) for match_id in match_ids]
        self.after()
        return OnlineRows(
            keys=tuple(match_ids),
            names=NAMES,
            numbers=np.array([[row.number(name) for name in NAMES] for row in found]).reshape(len(found), len(NAMES)),
            others={"league": np.array([row.league for row in found], np.object_)},
            event_times={view: _times(found, view) for view in VIEWS},
            statuses={view: np.array([row.statuses[view] for row in found], np.uint8) for view in VIEWS},
            read_at=DECIDED_AT + dt.timedelta(hours=1),
        )


def _times(found: Sequence[Stored], view: str) -> np.ndarray:
    times = [
        np.datetime64("NaT") if row.statuses[view] == NOT_FOUND else np.datetime64(row.times[view].replace(tzinfo=None))
        for row in found
    ]
    return np.array(times, "datetime64[us]")


async def eventually(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 60.0
    while not true():
        assert time.monotonic() < end, f"still not so: {what}"
        await asyncio.sleep(0.01)
