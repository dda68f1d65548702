"""What the online store holds of a match, and how a champion reads it.

A `Content` is one match as it was stored, for all markets. It stays the same object while nothing in it changes, and
so do the rows that champions make of it.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bentos.match_odds.model.champions import Champion
from bentos.match_odds.model.rows import Floats, ModelRow, StoredRow
from bentos.match_odds.model.scoring import row_fault
from betting_assets.modelling.markets import modelled_market

if TYPE_CHECKING:
    from feature_repo.online_rows import OnlineRows

ODDS_VIEW = "match_market"
"""The one view that a model can do without."""

ODDS = "market_"
"""What the names of all features of odds start with."""

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
ABSENT, EXPIRED, LIVE = 0, 1, 2
WORD = 8


@dataclass(frozen=True)
class Shape:
    """What a read holds of every match: its numbers, its texts, and the views that they come from."""

    names: tuple[str, ...]
    texts: tuple[str, ...]
    views: tuple[str, ...]

    @cached_property
    def places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}


class Content:
    """One match as it was stored.

    Attributes:
        raw: its numbers, then the event time (microseconds) and the status of each view; eight bytes each.
        rows: by id of the champion; filled by `ChampionRows`.
    """

    __slots__ = ("match_id", "raw", "rows", "shape", "texts")

    def __init__(self, match_id: str, shape: Shape, raw: bytes, texts: tuple[object, ...]) -> None:
        self.match_id = match_id
        self.shape = shape
        self.raw = raw
        self.texts = texts
        self.rows: dict[int, StoredRow] = {}

    def shows_as(self, other: Content, market: str) -> bool:
        """Whether an answer for this market cannot differ, but for its times, between this content and the other."""
        if self.shape != other.shape or self.texts != other.texts:
            return False
        places = _shown(self.shape, market)
        return bool((self.words[places] == other.words[places]).all())

    @property
    def words(self) -> npt.NDArray[np.int64]:
        return np.frombuffer(self.raw, np.int64)

    @property
    def numbers(self) -> Floats:
        return np.frombuffer(self.raw, np.float64, len(self.shape.names))

    def views(self) -> list[tuple[str, int, dt.datetime]]:
        """Name, status and event time of each view; the time of an absent one says nothing."""
        first, views = len(self.shape.names), self.shape.views
        words = self.words[first:].tolist()
        times = [EPOCH + dt.timedelta(microseconds=time) for time in words[: len(views)]]
        return list(zip(views, words[len(views) :], times, strict=True))


@lru_cache(maxsize=64)
def _shown(shape: Shape, market: str) -> npt.NDArray[np.intp]:
    """Places of all numbers but those of other markets, and of the statuses."""
    spec = modelled_market(market)
    own = {*spec.market_columns, *spec.best_price_columns, spec.suspended_column}
    places = [place for name, place in shape.places.items() if name in own or not name.startswith(ODDS)]
    statuses = len(shape.names) + len(shape.views)
    return np.array([*places, *range(statuses, statuses + len(shape.views))], np.intp)


def contents(read: OnlineRows, known: Callable[[str], Content | None]) -> list[Content]:
    """What was read, by match. Where `known` has the same of a match, it is that very object."""
    shape = Shape(read.names, tuple(read.others), tuple(read.statuses))
    words = _words(read, shape)
    raw, width = words.tobytes(), WORD * words.shape[1]
    texts = list(zip(*read.others.values(), strict=True)) if read.others else [()] * len(read.keys)
    found = []
    for i, key in enumerate(read.keys):
        match_id, own = str(key), raw[i * width : (i + 1) * width]
        before = known(match_id)
        if before is None or before.raw != own or before.texts != texts[i] or before.shape != shape:
            before = Content(match_id, shape, own, texts[i])
        found.append(before)
    return found


def _words(read: OnlineRows, shape: Shape) -> npt.NDArray[np.int64]:
    """n × (names + 2 views), see `Content.raw`."""
    from feature_repo.online_read import NOT_FOUND, PRESENT

    names, views = len(shape.names), len(shape.views)
    words = np.empty((len(read.keys), names + 2 * views), np.int64)
    words[:, :names] = read.numbers.view(np.int64)
    for i, view in enumerate(shape.views):
        statuses = read.statuses[view]
        absent = statuses == NOT_FOUND
        words[:, names + i] = np.where(absent, 0, read.event_times[view].astype("datetime64[us]").view(np.int64))
        words[:, names + views + i] = np.where(absent, ABSENT, np.where(statuses == PRESENT, LIVE, EXPIRED))
    return words


@dataclass(frozen=True)
class _Layout:
    """Where a champion's features lie in a shape."""

    lacking: str | None
    values: npt.NDArray[np.intp]
    league: int | None
    best_prices: list[int]
    suspended: int | None


class ChampionRows:
    """Rows as one champion reads them, each made once for a content.

    Attributes:
        used: when it was last asked for something, by the clock of whoever asks.
    """

    def __init__(self, champion: Champion) -> None:
        self.champion = champion
        self.used = 0.0
        self._key = id(champion)
        self._layouts: dict[Shape, _Layout] = {}

    def of(self, content: Content) -> StoredRow:
        row = content.rows.get(self._key)
        if row is None:
            row = content.rows[self._key] = self._row(content)
        return row

    def _row(self, content: Content) -> StoredRow:
        layout = self._layout(content.shape)
        numbers, views = content.numbers, content.views()
        times = [time for _, status, time in views if status != ABSENT]
        return StoredRow(
            match_id=content.match_id,
            model=self._model_row(content, layout, numbers, views),
            best_prices=_all_or_none(numbers[layout.best_prices].tolist()),
            suspended=layout.suspended is not None and bool(numbers[layout.suspended] == 1.0),
            feature_time=max(times, default=None),
            event_times={view: time for view, status, time in views if status == LIVE},
        )

    def _model_row(
        self, content: Content, layout: _Layout, numbers: Floats, views: Sequence[tuple[str, int, dt.datetime]]
    ) -> ModelRow:
        """A fault of the row leaves its features there to be looked at, as far as the store has them."""
        values = np.where(layout.values < 0, np.nan, numbers[layout.values])
        league = None if layout.league is None else content.texts[layout.league]
        text = None if league is None else str(league)
        fault = _view_fault(content.match_id, views)
        if fault is None:
            found = layout.lacking or row_fault(self.champion.bundle, values, text)
            fault = found and f"stored features of {content.match_id}: {found}"
        return ModelRow(self.champion, values, text or "", fault)

    def _layout(self, shape: Shape) -> _Layout:
        if shape not in self._layouts:
            self._layouts[shape] = _layout(self.champion, shape)
        return self._layouts[shape]


def _layout(champion: Champion, shape: Shape) -> _Layout:
    bundle, places = champion.bundle, shape.places
    values = [places.get(name, -1) for name in bundle.numbers]
    prices = [places[name] for name in bundle.market.best_price_columns if name in places]
    lacking = next((name for name in bundle.numbers if name not in places), None)
    return _Layout(
        lacking=lacking and f"the online store has no feature {lacking!r}, which the model reads",
        values=np.array(values, np.intp),
        league=shape.texts.index("league") if "league" in shape.texts else None,
        best_prices=prices if len(prices) == len(bundle.market.selections) else [],
        suspended=places.get(bundle.market.suspended_column),
    )


def _view_fault(match_id: str, views: Sequence[tuple[str, int, dt.datetime]]) -> str | None:
    """Why there are no features without which no model can answer."""
    if all(status == ABSENT for _, status, _ in views):
        return f"no features stored for {match_id}"
    for view, status, time in views:
        if view == ODDS_VIEW or status == LIVE:
            continue
        if status == ABSENT:
            return f"no features stored for {match_id} in {view}"
        when = f"{time:%Y-%m-%d %H:%M} UTC"
        return f"stored features of {match_id}: {view} of {when} has expired, materialize newer ones"
    return None


def _all_or_none(prices: list[float]) -> list[float]:
    return prices if all(map(math.isfinite, prices)) else []
