"""Is a price worth taking, and how much to bet: edges, and Kelly stakes for outcomes of which exactly one happens.

Plain Python on one match, because the service asks for one match at a time: three outcomes take a few microseconds,
where numpy would need as long to begin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def edges(probabilities: Sequence[float], prices: Sequence[float]) -> list[float]:
    """Expected profit of one unit on each outcome, p · price - 1; NaN where the price is NaN."""
    return [p * price - 1.0 for p, price in zip(probabilities, prices, strict=True)]


def kelly_stakes(probabilities: Sequence[float], prices: Sequence[float]) -> list[float]:
    """Shares of the bankroll that maximize its expected logarithm, for mutually exclusive, exhaustive outcomes.

    The exact optimum of Smoczynski and Tomkins (2010, "An explicit solution to the problem of optimizing the
    allocations of a bettor's wealth when wagering on horse races", Mathematical Scientist 35): outcomes are taken in
    order of p · price for as long as that exceeds the reserve, the share that is not bet,

        R = (1 - sum of p taken) / (1 - sum of 1/price taken),

    and each of those taken gets p - R / price. So an outcome with a negative edge can have a stake: it hedges the
    others, and is worth it above R, not above 1.

    The bound is the bankroll: stakes sum to at most 1. They do sum to 1 on a book of which every outcome can be bet
    at a profit (sum of 1/price below 1, an arbitrage): the stakes are then the probabilities, whatever the prices. A
    book like that is more often an error than a gift; `capped` keeps the harm small.

    Args:
        probabilities: sum to 1.
        prices: decimal odds; what is not a finite number above 1 cannot be bet on.

    Returns:
        Not negative, in order of the outcomes; 0.0 where nothing is bet.
    """
    stakes = [0.0] * len(prices)
    best = sorted(
        (
            (p * price, p, price, i)
            for i, (p, price) in enumerate(zip(probabilities, prices, strict=True))
            if 1.0 < price < math.inf
        ),
        reverse=True,
    )
    reserve, unbet, free, taken = 1.0, 1.0, 1.0, 0
    for value, p, price, _ in best:
        # `free` can reach zero only by rounding: with exact probabilities no outcome is worth it then.
        if value <= reserve or free - 1.0 / price <= 0.0:
            break
        unbet, free, taken = unbet - p, free - 1.0 / price, taken + 1
        reserve = max(unbet, 0.0) / free
    for _, p, price, i in best[:taken]:
        stakes[i] = max(p - reserve / price, 0.0)
    return stakes


def capped(stakes: Sequence[float], fraction: float, cap: float) -> list[float]:
    """`fraction` times the stakes, all scaled down alike so that their sum is at most `cap`.

    Fractional Kelly: probabilities are estimates, and full stakes on wrong ones ruin (MacLean, Thorp and Ziemba 2010).
    """
    total = fraction * math.fsum(stakes)
    scale = fraction if total <= cap else fraction * (cap / total)
    return [stake * scale for stake in stakes]
