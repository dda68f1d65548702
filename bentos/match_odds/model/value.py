"""From what a model says of a match to what its client is told: prices, edges, stakes, and what is withheld and why.

Nothing is of value at odds that nobody takes, that are old or that are missing: best prices, edges and stakes are empty
then, and `Prediction.withheld` says why. Pure functions; the only clock is that of the row.
"""

from __future__ import annotations

from collections.abc import Mapping

from bentos.match_odds.contract import Prediction, Reason, Staking, Withheld
from bentos.match_odds.model.rows import CachedRow, ModelRow, RowAnswer
from betting_assets.betting.staking import capped, edges, kelly_stakes

ODDS_VIEW = "match_market"
"""The feature view whose age is that of the odds."""

Lists = dict[str, list[float]]
"""The lists of a prediction that were asked for, by name; empty where there is nothing to tell."""

Cause = tuple[Reason, str]
"""Why a list is empty: the reason, and one line about it."""


def prediction(row: CachedRow, answer: RowAnswer, staking: Staking | None, max_odds_age: float) -> Prediction:
    """What is told of a match by id.

    Args:
        max_odds_age: seconds; older odds are stale.
    """
    stored = row.stored
    # Sorted, because the maps of protobuf have no order: so both protocols tell the same, to the byte.
    ages = {view: (row.read_at - time).total_seconds() for view, time in sorted(stored.event_times.items())}
    untakable = _untakable(row, ages, max_odds_age)
    prices = [] if untakable else stored.best_prices
    lists = _lists(stored.model, answer, prices, staking)
    return Prediction(
        match_id=stored.match_id,
        variant=answer.variant if answer.error is None else None,
        probabilities=lists["probabilities"],
        fair_odds=lists["fair_odds"],
        market_probabilities=lists["market_probabilities"],
        best_prices=lists["best_prices"],
        edges=lists.get("edges", []),
        stakes=lists.get("stakes", []),
        feature_time=stored.feature_time,
        feature_age_seconds=None
        if stored.feature_time is None
        else (row.read_at - stored.feature_time).total_seconds(),
        feature_ages=ages,
        cache_age_seconds=row.age,
        withheld=_withheld(_fault(answer) or untakable or _missing(lists, "stored"), lists),
    )


def scored_prediction(
    row: ModelRow, prices: list[float] | None, answer: RowAnswer, staking: Staking | None
) -> Prediction:
    """What is told of explicit features.

    Args:
        prices: those that the client gave, one a selection; its own affair how old they are.
    """
    lists = _lists(row, answer, prices or [], staking)
    cause = _fault(answer) or _missing(lists, "given")
    if prices is None:
        del lists["best_prices"]  # not withheld: they were the client's to give
    return Prediction(
        variant=answer.variant if answer.error is None else None,
        probabilities=lists["probabilities"],
        fair_odds=lists["fair_odds"],
        market_probabilities=lists["market_probabilities"],
        best_prices=lists.get("best_prices", []),
        edges=lists.get("edges", []),
        stakes=lists.get("stakes", []),
        withheld=_withheld(cause, lists),
    )


def _lists(row: ModelRow, answer: RowAnswer, prices: list[float], staking: Staking | None) -> Lists:
    """Edges and stakes also need the market's probabilities: the gate judges no model without odds."""
    p = answer.probabilities
    if answer.error is not None:
        p, prices = [], []
    lists = {
        "probabilities": p,
        "fair_odds": [1.0 / each for each in p],
        "market_probabilities": row.market_probabilities if p else [],
        "best_prices": prices,
    }
    if staking is not None:
        bet = bool(prices and lists["market_probabilities"])
        lists["edges"] = edges(p, prices) if bet else []
        full = kelly_stakes(p, prices) if bet else []
        lists["stakes"] = capped(full, staking.kelly_fraction, staking.max_stake)
    return lists


def _fault(answer: RowAnswer) -> Cause | None:
    return None if answer.error is None else (Reason.MISSING_FEATURES, answer.error)


def _untakable(row: CachedRow, ages: Mapping[str, float], max_odds_age: float) -> Cause | None:
    """Why nobody could bet at the stored odds."""
    if row.stored.suspended:
        market = row.stored.model.champion.bundle.market.market.value
        return Reason.SUSPENDED_MARKET, f"market {market} is suspended: no bets are taken on this match now"
    if ODDS_VIEW not in ages:
        return None
    age = ages[ODDS_VIEW] + row.age
    if age <= max_odds_age:
        return None
    return Reason.STALE_ODDS, f"the odds are {age:.0f} s old, {max_odds_age:.0f} s are allowed"


def _missing(lists: Lists, how: str) -> Cause | None:
    names = {"market_probabilities": "market probabilities", "best_prices": "best prices"}
    lacking = [text for name, text in names.items() if not lists[name]]
    return (Reason.NO_ODDS, f"no {' and no '.join(lacking)} are {how}") if lacking else None


def _withheld(cause: Cause | None, lists: Lists) -> Withheld | None:
    """Names every list that was asked for and is empty; the cause is the gravest of those that hold."""
    if cause is None:
        return None
    empty = [name for name, values in lists.items() if not values]
    return Withheld(reason=cause[0], detail=cause[1], fields=empty) if empty else None
