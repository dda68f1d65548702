"""How one simulated book gets from its early prices to its closing prices, with the accidents of real feeds."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from betting_assets.sources.records import Trading

Floats = NDArray[np.float64]
Prices = tuple[float | None, ...]

_NOISE = 0.02
"""Deviation of the bridge in log odds, at its widest."""

_LOWEST, _HIGHEST = 1.01, 501.0
_SUSPENSION = 1 / 60
_PALPABLE = 1 / 250
_LATE = 1 / 40
"""Probabilities for a tick: is followed by a suspension; has one price that is far off; arrives minutes late."""

_FACTORS = (0.3, 3.0)


@dataclass(frozen=True)
class Step:
    """`told_at` is when it arrives: moments after `taken_at`, sometimes after younger steps."""

    taken_at: dt.datetime
    told_at: dt.datetime
    prices: Prices
    trading: Trading = Trading.OPEN
    in_play: bool = False


@dataclass(frozen=True)
class Walk:
    """From the prices `start` to `end`, (k,) with NaN where there is none, over `length` before kick-off.

    `moved` is added to the log probabilities of both: where the world has changed, bookmakers know.
    """

    start: Floats
    end: Floats
    moved: Floats
    length: dt.timedelta
    kickoff: dt.datetime

    def steps(self, count: int, rng: np.random.Generator) -> list[Step]:
        """`count` steps at random times, the last at the closing prices, and a suspended one at kick-off."""
        seconds = self.length.total_seconds()
        # More happens the closer the kick-off: the square root piles times up at the end.
        passed = np.concatenate([[0.0], np.sort(np.sqrt(rng.random(max(count - 2, 0)))), [1.0]]) * (seconds - 120)
        passed[0] += rng.uniform(0, 60)
        passed[-1] += rng.uniform(0, 60)
        passed.sort()
        share = (passed - passed[0]) / (passed[-1] - passed[0])
        steps: list[Step] = []
        for number, (at, prices) in enumerate(zip(passed, self._bridge(share, rng), strict=True)):
            last = number == len(passed) - 1
            taken_at = self._at(float(at))
            accident = not last and rng.random() < _PALPABLE
            steps.append(self._step(taken_at, _mistaken(prices, rng) if accident else prices, rng, late=not last))
            if not last and rng.random() < _SUSPENSION:
                steps += self._suspension(taken_at, float(passed[number + 1] - at), prices, rng)
        return [*steps, self._in_play(steps[-1].prices, rng)]

    def stale(self, rng: np.random.Generator) -> list[Step]:
        """One step at the beginning, and nothing more: a book that somebody forgot."""
        return self.steps(2, rng)[:1]

    def _bridge(self, share: Floats, rng: np.random.Generator) -> list[Floats]:
        """Prices at these shares of the way: a Brownian bridge between both ends in log probability."""
        start, end = (-np.log(_shifted(prices, self.moved)) for prices in self._ends())
        steps = rng.normal(size=(len(share), len(start))) * np.sqrt(np.diff(share, prepend=0.0))[:, None]
        motion = np.cumsum(steps, axis=0)
        bridge = 2 * _NOISE * (motion - share[:, None] * motion[-1])
        path = start + share[:, None] * (end - start) + bridge
        return list(np.round(np.clip(np.exp(-path), _LOWEST, _HIGHEST), 2))

    def _ends(self) -> tuple[Floats, Floats]:
        """Both ends; where one has no price the other's stands in."""
        return np.where(np.isnan(self.start), self.end, self.start), np.where(np.isnan(self.end), self.start, self.end)

    def _step(self, taken_at: dt.datetime, prices: Floats, rng: np.random.Generator, *, late: bool) -> Step:
        delay = rng.uniform(60, 900) if late and rng.random() < _LATE else rng.uniform(0.05, 0.5)
        return Step(taken_at, taken_at + dt.timedelta(seconds=delay), _told(prices))

    def _suspension(self, after: dt.datetime, room: float, prices: Floats, rng: np.random.Generator) -> list[Step]:
        """No bets for a part of the time until the next step, then the same prices again."""
        begin, end = (after + dt.timedelta(seconds=room * part) for part in np.sort(rng.uniform(0.1, 0.9, 2)))
        soon = dt.timedelta(seconds=0.2)
        return [
            Step(begin, begin + soon, _told(prices), Trading.SUSPENDED),
            Step(end, end + soon, _told(prices)),
        ]

    def _in_play(self, prices: Prices, rng: np.random.Generator) -> Step:
        taken_at = self.kickoff + dt.timedelta(seconds=float(rng.uniform(0, 5)))
        return Step(taken_at, taken_at + dt.timedelta(seconds=0.2), prices, Trading.SUSPENDED, in_play=True)

    def _at(self, passed: float) -> dt.datetime:
        moment = self.kickoff - self.length + dt.timedelta(seconds=passed)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _shifted(prices: Floats, moved: Floats) -> Floats:
    """Prices after their log probabilities moved, with the book's margin as it was. Without a move: the same."""
    if not moved.any():
        return prices
    implied = 1 / prices
    changed = implied * np.exp(moved)
    return np.asarray(1 / (changed * np.nansum(implied) / np.nansum(changed)))


def _mistaken(prices: Floats, rng: np.random.Generator) -> Floats:
    wrong = prices.copy()
    place = rng.integers(len(wrong))
    wrong[place] = np.clip(wrong[place] * rng.choice(_FACTORS), _LOWEST, _HIGHEST)
    return np.round(wrong, 2)


def _told(prices: Floats) -> Prices:
    return tuple(None if np.isnan(price) else float(price) for price in prices)
