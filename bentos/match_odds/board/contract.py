"""What /board/data answers, and what the events of /board/events say: one type for both."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from bentos.match_odds.contract import Message

Point = tuple[float, float]
"""Unix seconds, and the market's probability of the first selection from then on."""


class ExcludedBook(Message):
    """A bookmaker whose prices were left out, and why."""

    bookmaker: str
    reason: str
    detail: str


class BoardMatch(Message):
    """All but the id is None for a match that the platform does not know."""

    match_id: str
    league: str | None = None
    home: str | None = None
    away: str | None = None
    match_date: dt.date | None = None
    kickoff: dt.datetime | None = None


class BoardMarket(Message):
    """The newest prediction of one market of one match. Lists follow `selections`, or are empty: `withheld` says why.

    `history` holds how the market's probability moved, the oldest first; in a change only where the market is new: who
    follows the changes appends to it.
    """

    match_id: str
    market: str
    line: float
    selections: tuple[str, ...]
    probabilities: tuple[float, ...]
    market_probabilities: tuple[float, ...]
    best_prices: tuple[float, ...]
    best_bookmakers: tuple[str, ...]
    edges: tuple[float, ...]
    withheld: str | None
    withheld_detail: str | None
    excluded: tuple[ExcludedBook, ...]
    variant: str | None
    model_version: str | None
    bento: str | None
    taken_at: dt.datetime
    scored_at: dt.datetime
    history: tuple[Point, ...] | None = None


class Serving(Message):
    """What this worker serves: its models are `market: version`."""

    bento: str
    deployment: int | None
    models: dict[str, str]


class Status(Message):
    """`away`: the database cannot be read, what is shown is what was read before. `empty`: nothing was ever landed."""

    state: Literal["live", "empty", "away"]
    detail: str | None = None


class BoardData(Message):
    """All of the board; as a `change` only what is new since the message before, and the ids of matches that went.

    `clock` is what ages of odds are counted to: the time, or where matches are `replayed` that of the newest odds.
    """

    clock: dt.datetime
    replayed: bool
    status: Status
    serving: Serving
    matches: tuple[BoardMatch, ...]
    markets: tuple[BoardMarket, ...]
    gone: tuple[str, ...] = ()
