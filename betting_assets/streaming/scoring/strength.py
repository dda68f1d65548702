"""What the models read of a match beside its odds: from the online store once a match, again when it is old."""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bentos.match_odds.contract import Value
    from bentos.match_odds.proto.messages import Steady
    from feature_repo.online_rows import OnlineRows

VIEW = "match_strength"
LASTS_SECONDS = 60.0
MISSING_LASTS_SECONDS = 5.0
MOST = 20_000
"""Matches that are remembered."""


@dataclass(frozen=True)
class Strength:
    """The row of the view match_strength; `fault` says in one line why there is none.

    `prepared`: by market and version of a model, what it reads of the row, or what is missing; filled by `questions`.
    """

    values: Mapping[str, Value]
    time: dt.datetime | None = None
    fault: str | None = None
    prepared: dict[tuple[str, str], Steady | str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Known:
    strength: Strength
    read_at: float


class Strengths:
    """Rows by match.

    Args:
        read: rows of the view for matches, from the online store.
        clock: seconds.
    """

    def __init__(
        self, read: Callable[[Sequence[str]], OnlineRows], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def of(self, match_ids: Collection[str]) -> dict[str, Strength]:
        """Matches that were never read, or read without success a while ago, are read now. Raises psycopg.Error."""
        now, known = self._clock(), self._known
        if missing := [match_id for match_id in match_ids if _is_wanted(known.get(match_id), now)]:
            known = {**known, **self.refresh(missing)}
        return {match_id: known[match_id].strength for match_id in match_ids}

    def old(self, match_ids: Collection[str]) -> list[str]:
        """Those that should be read again, for which nobody need wait."""
        latest, known = self._clock() - LASTS_SECONDS, self._known
        return [match_id for match_id in match_ids if (one := known.get(match_id)) and one.read_at < latest]

    def refresh(self, match_ids: Sequence[str]) -> Mapping[str, _Known]:
        """Read these matches. Any thread may call it. Raises psycopg.Error."""
        strengths, now = _strengths(self._read(match_ids)), self._clock()
        fresh = {match_id: _Known(strength, now) for match_id, strength in zip(match_ids, strengths, strict=True)}
        known = self._known
        self._known = {**known, **fresh} if len(known) + len(fresh) <= MOST else fresh
        return fresh


def _is_wanted(known: _Known | None, now: float) -> bool:
    return known is None or (known.strength.fault is not None and now - known.read_at > MISSING_LASTS_SECONDS)


def _strengths(rows: OnlineRows) -> list[Strength]:
    from feature_repo.online_read import NOT_FOUND, PRESENT

    statuses = rows.statuses[VIEW].tolist()
    times = rows.event_times[VIEW].astype("datetime64[us]").tolist()
    found = []
    for i, (key, status, at) in enumerate(zip(rows.keys, statuses, times, strict=True)):
        if status == PRESENT:
            numbers = zip(rows.names, rows.numbers[i].tolist(), strict=True)
            values: dict[str, Value] = {name: number if math.isfinite(number) else None for name, number in numbers}
            values |= {name: column[i] for name, column in rows.others.items()}
            found.append(Strength(values, at.replace(tzinfo=dt.UTC)))
        elif status == NOT_FOUND:
            found.append(Strength({}, fault=f"no features stored for {key} in {VIEW}: materialize match_features"))
        else:
            found.append(Strength({}, fault=f"stored features of {key}: {VIEW} of {at:%Y-%m-%d %H:%M} UTC has expired"))
    return found


def strength_reader(database_url: str, clock: str) -> Callable[[Sequence[str]], OnlineRows]:
    """Reads the online store of a database; `clock` as `feature_repo.store.feature_store` takes it."""
    from betting_assets.modelling.dataset import NOT_FEATURES
    from feature_repo.columns import strength_columns
    from feature_repo.operations import read_features
    from feature_repo.store import feature_store

    store = feature_store(database_url, "data" if clock == "data" else "wall")
    names = [name for name in strength_columns() if name not in NOT_FEATURES]
    return lambda match_ids: read_features(store, {VIEW: names}, match_ids)
