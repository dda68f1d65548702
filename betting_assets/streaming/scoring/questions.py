"""From views and strengths to the rows that the Bento is asked about, and why some are not asked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from betting_assets.modelling.markets import MARKETS
from betting_assets.streaming.scoring.guard import Reason
from betting_assets.streaming.scoring.strength import Strength
from betting_assets.streaming.scoring.views import MarketView

if TYPE_CHECKING:
    from bentos.match_odds.contract import ModelCard, ScoreRow
    from bentos.match_odds.proto.messages import Steady


@dataclass(frozen=True)
class Question:
    """One market of one match.

    Attributes:
        place: of the match in the views.
        steady: what the model reads beside the odds; None where `reason` and `detail` say why it is not asked.
        odds: what it reads of them, one a selection.
        logged_time: of the newest feature, where the answer should be kept in the prediction log; else None.
    """

    match_id: str
    market: str
    place: int
    steady: Steady | None
    odds: Sequence[float | None] = ()
    logged_time: dt.datetime | None = None
    reason: Reason | None = None
    detail: str | None = None

    def row(self) -> ScoreRow:
        """What the Bento is asked."""
        from bentos.match_odds.contract import ScoreRow
        from bentos.match_odds.proto.messages import SteadyFeatures

        assert self.steady is not None
        features = SteadyFeatures(self.steady, dict(zip(MARKETS[self.market].market_columns, self.odds, strict=True)))
        named = self.match_id if self.logged_time is not None else None
        return ScoreRow.model_construct(features=features, match_id=named, feature_time=self.logged_time)


def question(
    match_id: str,
    market: str,
    place: int,
    view: MarketView,
    strength: Strength,
    card: ModelCard | None,
    logged_time: dt.datetime | None,
) -> Question:
    """What to ask.

    Args:
        card: of the model; None where the service has none for the market.
        logged_time: see Question.
    """
    if view.reasons[place] is Reason.IN_PLAY:
        return _not(match_id, market, place, Reason.IN_PLAY, "the match is under way: models know it before")
    if strength.fault is not None:
        return _not(match_id, market, place, Reason.MISSING_FEATURES, strength.fault)
    if card is None:
        return _not(match_id, market, place, Reason.NO_MODEL, f"the service has no model for market {market}")
    steady = _steady(card, strength)
    if isinstance(steady, str):
        return _not(match_id, market, place, Reason.MISSING_FEATURES, f"features of {match_id}: {steady}")
    odds: Sequence[float | None] = [None] * len(MARKETS[market].selections)
    if view.agreed.found[place]:
        odds = view.agreed.probabilities[place].tolist()
    return Question(match_id, market, place, steady, odds, logged_time)


def _not(match_id: str, market: str, place: int, reason: Reason, detail: str) -> Question:
    return Question(match_id, market, place, None, reason=reason, detail=detail)


def _steady(card: ModelCard, strength: Strength) -> Steady | str:
    """What the model reads beside the odds, worked out once for a row of the store; or what of it is missing."""
    known = strength.prepared.get((card.market.value, card.model_version))
    if known is None:
        known = _prepared(card, strength)
        strength.prepared[card.market.value, card.model_version] = known
    return known


def _prepared(card: ModelCard, strength: Strength) -> Steady | str:
    from bentos.match_odds.proto.messages import Steady

    odds = MARKETS[card.market.value].market_columns
    names = [name for name in card.features if name not in odds]
    for name in names:
        if name not in strength.values:
            return f"the model reads {name!r}, which the feature store does not have"
        if strength.values[name] is None and name not in card.nullable:
            return f"{name!r} is null, but training never saw it missing"
    return Steady({name: strength.values[name] for name in names})
