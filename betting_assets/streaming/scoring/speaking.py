"""The messages of predictions.v1: what is told, what is left out, and the one line that says why."""

from __future__ import annotations

import datetime as dt

import numpy as np

from betting_assets.betting.consensus import EMPTY
from betting_assets.betting.staking import edges
from betting_assets.modelling.markets import MARKETS
from betting_assets.sources.records import Market
from betting_assets.streaming.messages import Excluded, Prediction, prediction_id
from betting_assets.streaming.scoring.asking import Scored
from betting_assets.streaming.scoring.books import At, moment
from betting_assets.streaming.scoring.guard import Fault, Limits, Reason
from betting_assets.streaming.scoring.questions import Question
from betting_assets.streaming.scoring.views import MarketView

LONGEST = 300
SECOND = 1_000_000


def prediction(
    asked: Question, scored: Scored | None, view: MarketView, at: At, limits: Limits, reference: str, now: dt.datetime
) -> Prediction:
    """The message about one market of one match.

    Args:
        scored: what the model said; None where it was not asked.
        at: the newest tick that it speaks for.
    """
    place, spec = asked.place, MARKETS[asked.market]
    reason, detail = _withheld(asked, scored, view, limits, reference)
    answered = scored is not None and scored.fault is None
    told = scored if scored is not None and answered else Scored()
    found = bool(view.agreed.found[place])
    prices: list[float] = view.best[place].tolist() if reason is None else []
    slots: list[int] = view.best_slot[place].tolist() if reason is None else []
    names, books = view.counted.names, view.counted.bookmaker[place]
    return Prediction(
        prediction_id=prediction_id(asked.match_id, asked.market, *at),
        match_id=asked.match_id,
        market=Market(asked.market),
        line=spec.line,
        probabilities=told.probabilities,
        fair_odds=told.fair_odds,
        market_probabilities=tuple(view.agreed.probabilities[place].tolist()) if found else (),
        best_prices=tuple(prices),
        best_bookmakers=tuple(names[books[slot]] for slot in slots),
        edges=tuple(edges(told.probabilities, prices)) if prices else (),
        withheld=reason,
        withheld_detail=None if detail is None else _line(detail),
        excluded=_excluded(view, place, limits),
        variant=told.variant,
        model_version=told.model_version,
        bento=told.bento,
        tick_epoch=at.epoch,
        tick_partition=at.partition,
        tick_offset=at.offset,
        taken_at=moment(int(view.quoted.newest[place])),
        scored_at=now,
    )


def _withheld(
    asked: Question, scored: Scored | None, view: MarketView, limits: Limits, reference: str
) -> tuple[str | None, str | None]:
    """The gravest reason and its line."""
    if asked.reason is not None:
        return asked.reason.value, asked.detail
    if scored is None or scored.fault is not None:
        return Reason.MISSING_FEATURES.value, "the model did not answer" if scored is None else scored.fault
    reason = view.reasons[asked.place]
    if reason is None:
        return None, None
    return reason.value, _reason_line(reason, asked, view, limits, reference)


def _reason_line(reason: Reason, asked: Question, view: MarketView, limits: Limits, reference: str) -> str:
    place = asked.place
    if reason is Reason.SUSPENDED_MARKET:
        if (view.quoted.there & view.quoted.is_open)[place].any():
            return f"market {asked.market}: the reference book {reference} takes no bets now"
        return f"market {asked.market}: no bookmaker takes bets now"
    if reason is Reason.STALE_ODDS:
        age = (limits.now - int(view.quoted.newest[place])) / SECOND
        return f"the newest odds are {age:.0f} s old, {limits.max_age / SECOND:.0f} s are allowed"
    return f"market {asked.market}: no trusted bookmaker quotes every selection"


def _excluded(view: MarketView, place: int, limits: Limits) -> tuple[Excluded, ...]:
    if not view.is_faulty[place]:
        return ()
    faults = view.faults[place]
    slots = np.flatnonzero(faults).tolist()
    names, books = view.quoted.books.names, view.quoted.books.bookmaker[place]
    return tuple(
        Excluded(
            bookmaker=names[books[slot]],
            reason=Fault(faults[slot]).name.lower(),
            detail=_line(_fault_line(Fault(faults[slot]), view, place, slot, limits)),
        )
        for slot in slots
        if books[slot] != EMPTY
    )


def _fault_line(fault: Fault, view: MarketView, place: int, slot: int, limits: Limits) -> str:
    prices = view.quoted.books.prices[place, slot]
    shown = "/".join("-" if price != price else f"{price:g}" for price in prices.tolist())
    if fault is Fault.SUSPENDED:
        return "takes no bets now"
    if fault is Fault.STALE:
        age = (limits.now - int(view.quoted.books.taken_at[place, slot])) / SECOND
        return f"{age:.0f} s old, {limits.max_age / SECOND:.0f} s are allowed"
    if fault is Fault.INCOMPLETE:
        return f"{shown}: not every selection has a price"
    if fault is Fault.CROSSED:
        lay = "/".join("-" if price != price else f"{price:g}" for price in view.quoted.lay[place, slot].tolist())
        return f"{shown}: not all below the lay prices {lay}"
    if fault is Fault.PALPABLE_ERROR:
        return f"{shown}: a price is more than {limits.max_distance:g} in log odds from the median of the books"
    return f"{shown}: the inverse prices sum to {(1.0 / prices).sum():.3f}"


def _line(text: str) -> str:
    return " ".join(text.split())[:LONGEST]
