"""From views and strengths to the rows that the Bento is asked about, and why some are not asked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from betting_assets.modelling.markets import MARKETS
from betting_assets.streaming.scoring.guard import Reason
from betting_assets.streaming.scoring.strength import Strength
from betting_assets.streaming.scoring.views import MarketView

if TYPE_CHECKING:
    from bentos.match_odds.contract import ModelCard, ScoreRow, Value


@dataclass(frozen=True)
class Question:
    """One market of one match.

    Attributes:
        place: of the match in the views.
        row: what the Bento is asked; None where `reason` and `detail` say why it is not.
    """

    match_id: str
    market: str
    place: int
    row: ScoreRow | None
    reason: Reason | None = None
    detail: str | None = None


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
        logged_time: of the newest feature, where the answer should be kept in the prediction log; else None.
    """
    from bentos.match_odds.contract import ScoreRow

    if view.reasons[place] is Reason.IN_PLAY:
        return Question(match_id, market, place, None, Reason.IN_PLAY, "the match is under way: models know it before")
    if strength.fault is not None:
        return Question(match_id, market, place, None, Reason.MISSING_FEATURES, strength.fault)
    if card is None:
        line = f"the service has no model for market {market}"
        return Question(match_id, market, place, None, Reason.NO_MODEL, line)
    features = _features(card, strength, market, view, place)
    if isinstance(features, str):
        return Question(match_id, market, place, None, Reason.MISSING_FEATURES, f"features of {match_id}: {features}")
    named = match_id if logged_time is not None else None
    row = ScoreRow.model_construct(features=features, match_id=named, feature_time=logged_time)
    return Question(match_id, market, place, row)


def _features(card: ModelCard, strength: Strength, market: str, view: MarketView, place: int) -> dict[str, Value] | str:
    """By name, exactly those that the model reads; or which of them is missing."""
    odds: Sequence[float | None] = [None] * len(MARKETS[market].selections)
    if view.agreed.found[place]:
        odds = view.agreed.probabilities[place].tolist()
    known: Mapping[str, Value] = {**strength.values, **dict(zip(MARKETS[market].market_columns, odds, strict=True))}
    try:
        features = {name: known[name] for name in card.features}
    except KeyError as error:
        return f"the model reads {error}, which the feature store does not have"
    if None in features.values():
        lacking = [name for name, value in features.items() if value is None and name not in card.nullable]
        if lacking:
            return f"{lacking[0]} is null, but training never saw it missing"
    return features
