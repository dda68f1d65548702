"""What is offered on one runner of a Betfair market, rebuilt from images and deltas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from betting_assets.sources.records import MAX_PRICE

BY_PRICE = ("atb", "atl")
"""Full depth: every price with its size; a size of 0 deletes the price."""

BY_LEVEL = ("batb", "batl", "bdatb", "bdatl")
"""The best few levels, 0 the best; the `bd` ladders add what cross matching offers. A size of 0 empties the level."""

SMALLEST = 1.0
"""Betfair shows no smaller offer: it adds one to the next worse price. Full depth is told without that, with dust of a
few pence at its top, so it is done here; then it agrees with the levels at every moment (tested on real recordings)."""

_ALMOST = 1e-9

_BACK = ("atb", "batb", "bdatb")
_LAY = ("atl", "batl", "bdatl")


@dataclass
class Ladder:
    """All ladders of a runner, and the price that was traded last."""

    prices: dict[str, dict[float, float]] = field(default_factory=dict)
    levels: dict[str, dict[int, tuple[float, float]]] = field(default_factory=dict)
    last_traded: float | None = None

    def apply(self, change: Mapping[str, Any]) -> int:
        """Take in one runner change; returns how many of its values were no numbers."""
        wrong = 0
        for name in BY_PRICE:
            for entry in _entries(change, name):
                wrong += not self._set_price(name, entry)
        for name in BY_LEVEL:
            for entry in _entries(change, name):
                wrong += not self._set_level(name, entry)
        if "ltp" in change:
            traded = _number(change["ltp"])
            wrong += traded is None
            self.last_traded = _usable(traded) if traded is not None else self.last_traded
        return wrong

    def best_to_back(self) -> float | None:
        """The highest price at which one can back: of the full depth where the stream has it, else of the levels."""
        return self._best(_BACK, highest=True)

    def best_to_lay(self) -> float | None:
        return self._best(_LAY, highest=False)

    def _best(self, names: tuple[str, ...], *, highest: bool) -> float | None:
        by_price, *by_level = names
        if by_price in self.prices:
            return _rolled_up(self.prices[by_price], highest=highest)
        for name in by_level:
            if name in self.levels:
                levels = self.levels[name]
                return _usable(levels[min(levels)][0]) if levels else None
        return None

    def _set_price(self, name: str, entry: Any) -> bool:
        numbers = _numbers(entry, 2)
        if numbers is None:
            return False
        price, size = numbers
        ladder = self.prices.setdefault(name, {})
        if size > 0:
            ladder[price] = size
        else:
            ladder.pop(price, None)
        return True

    def _set_level(self, name: str, entry: Any) -> bool:
        numbers = _numbers(entry, 3)
        if numbers is None:
            return False
        level, price, size = numbers
        ladder = self.levels.setdefault(name, {})
        if size > 0:
            ladder[int(level)] = (price, size)
        else:
            ladder.pop(int(level), None)
        return True


def has_ladder(change: Mapping[str, Any]) -> bool:
    """Whether a runner change tells offers; the free Betfair recordings tell the last traded price only."""
    return any(name in change for name in (*BY_PRICE, *BY_LEVEL))


def _rolled_up(offered: dict[float, float], *, highest: bool) -> float | None:
    """The best price when offers below SMALLEST are added to the next worse one."""
    size, price = 0.0, None
    for price in sorted(offered, reverse=highest):
        size += offered[price]
        if size >= SMALLEST - _ALMOST:
            break
    return None if price is None else _usable(price)


def _entries(change: Mapping[str, Any], name: str) -> list[Any]:
    entries = change.get(name)
    return entries if isinstance(entries, list) else []


def _numbers(entry: Any, count: int) -> list[float] | None:
    if not isinstance(entry, list) or len(entry) != count:
        return None
    numbers = [number for value in entry if (number := _number(value)) is not None]
    return numbers if len(numbers) == count else None


def _number(value: Any) -> float | None:
    """A finite number; Betfair also writes "NaN" and "Infinity", which are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _usable(price: float) -> float | None:
    return price if 1.0 < price <= MAX_PRICE else None
