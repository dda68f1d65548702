"""Match days of the simulated world as a live feed: books that walk to their closing prices, then the results.

Every bookmaker's book starts at the price that history knows before the close and ends, at kick-off, at its closing
price. On the way things happen that happen in real feeds: suspensions, palpable errors, a book that went stale, ticks
that arrive late and out of order. In play nothing is offered. The same arguments give the same events.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from betting_assets.sources.batch import STATISTICS
from betting_assets.sources.bookmakers import MARKET_AVERAGE, MARKET_MAXIMUM
from betting_assets.sources.feed import Event
from betting_assets.sources.hold_back import match_days_from_the_end
from betting_assets.sources.records import Fixture, LiveResult, Market, Phase, Tick
from betting_assets.sources.simulation import goals
from betting_assets.sources.simulation.walk import Walk
from betting_assets.sources.simulator import SimulatedWorld

Floats = NDArray[np.float64]

SOURCE = "simulator"
LENGTH = dt.timedelta(hours=6)
"""How long before kick-off the live feed begins at most."""

_PLAYED = dt.timedelta(minutes=113)
_OUTCOMES = {Market.MATCH_RESULT: slice(0, 3), Market.OVER_UNDER: slice(3, 5)}


@dataclass(frozen=True)
class Shift:
    """A change of the world from a match day on (0 is the first): `supremacy` log goals go over from home to away.

    0.22 is the whole home advantage of the simulated leagues. Prices follow the change; results are drawn from it.
    """

    from_day: int
    supremacy: float = 0.44


def match_days(
    world: SimulatedWorld,
    match_ids: Collection[str],
    seed: int = 1,
    ticks_per_match: int = 60,
    plant: Shift | None = None,
) -> list[list[Event]]:
    """The events of these matches, a list for every match day, oldest first, each in order of arrival.

    `match_ids` are the last match days that were held back. A match has about `ticks_per_match` ticks over all books,
    at least two for each. A match day's `at` and `taken_at` are simulated times around its kick-offs.
    """
    matches = world.batch.matches[world.batch.matches["match_id"].isin(match_ids)]
    if missing := set(match_ids) - set(matches["match_id"]):
        raise ValueError(f"{len(missing)} matches are not of this world, e.g. {min(missing)}")
    from_the_end = match_days_from_the_end(matches)
    days = sorted(from_the_end.unique(), reverse=True)
    facts = _Facts.of(world, matches)
    return [
        _match_day(matches[from_the_end == day], facts, seed, ticks_per_match, _planted(plant, number))
        for number, day in enumerate(days)
    ]


def shifted_intensities(home: Floats, away: Floats, supremacy: float) -> tuple[Floats, Floats]:
    """Goal intensities after `supremacy` log goals went over from home to away."""
    return home * np.exp(-supremacy / 2), away * np.exp(supremacy / 2)


def _planted(plant: Shift | None, day: int) -> float:
    return plant.supremacy if plant is not None and day >= plant.from_day else 0.0


@dataclass(frozen=True)
class _Facts:
    """What the world says of the matches, by match id."""

    books: dict[str, pd.DataFrame]
    results: dict[str, Any]
    statistics: dict[str, Any]
    truth: dict[str, Any]

    @classmethod
    def of(cls, world: SimulatedWorld, matches: pd.DataFrame) -> _Facts:
        batch = world.batch.keep(matches["match_id"])
        books = batch.books[~batch.books["bookmaker"].isin([MARKET_AVERAGE, MARKET_MAXIMUM])]
        truth = world.truth[world.truth["match_id"].isin(matches["match_id"])]
        return cls(
            {str(match_id): rows for match_id, rows in books.groupby("match_id")},
            *(_by_match(table) for table in (batch.results, batch.statistics, truth)),
        )


def _by_match(table: pd.DataFrame) -> dict[str, Any]:
    return {str(row.match_id): row for row in table.itertuples()}


def _match_day(matches: pd.DataFrame, facts: _Facts, seed: int, ticks_per_match: int, supremacy: float) -> list[Event]:
    ids = sorted(matches["match_id"])
    stale = ids[seed % len(ids)]
    events: list[Event] = []
    for match in matches.itertuples():
        rng = np.random.default_rng([seed, zlib.crc32(str(match.match_id).encode())])
        ticks = _ticks(match, facts, rng, ticks_per_match, supremacy, with_stale=match.match_id == stale)
        first = min(range(len(ticks)), key=lambda number: ticks[number].at)
        fixture = _fixture(match)
        ticks[first] = ticks[first]._replace(record=ticks[first].record.model_copy(update={"fixture": fixture}))
        events += ticks
        events.append(_result(match, facts, rng, supremacy, fixture))
    return sorted(events, key=lambda event: (event.at, event.record.match_id))


def _ticks(
    match: Any, facts: _Facts, rng: np.random.Generator, count: int, supremacy: float, *, with_stale: bool
) -> list[Event]:
    truth = facts.truth[match.match_id]
    moved = _log_odds_shift(truth.home_intensity, truth.away_intensity, supremacy)
    books = list(facts.books[match.match_id].groupby(["market", "bookmaker"], sort=True))
    each = max(2, round(count / len(books)) - 1)  # one more at kick-off
    stale = rng.integers(len(books)) if with_stale else -1
    events: list[Event] = []
    for number, (_, rows) in enumerate(books):
        market = Market(rows["market"].iloc[0])
        walk = _walk(rows, moved[_OUTCOMES[market]], match.kickoff.to_pydatetime())
        steps = walk.stale(rng) if number == stale else walk.steps(each, rng)
        for sequence, step in enumerate(steps):
            tick = Tick(
                match_id=match.match_id,
                bookmaker=rows["bookmaker"].iloc[0],
                market=market,
                line=float(rows["line"].iloc[0]),
                prices=step.prices,
                trading=step.trading,
                in_play=step.in_play,
                taken_at=step.taken_at,
                sequence=sequence,
                source=SOURCE,
            )
            events.append(Event(step.told_at, tick))
    return events


def _walk(rows: pd.DataFrame, moved: Floats, kickoff: dt.datetime) -> Walk:
    """From the early book to the closing one, over LENGTH, but not before the early book was taken."""
    early, close = (rows[rows["phase"] == phase].iloc[0] for phase in (Phase.PRE_CLOSE, Phase.CLOSE))
    start, end = (np.asarray(book["prices"], dtype=np.float64) for book in (early, close))
    return Walk(start, end, moved, min(LENGTH, kickoff - early["taken_at"].to_pydatetime()), kickoff)


def _log_odds_shift(home: float, away: float, supremacy: float) -> Floats:
    """What the change adds to the log probability of home, draw, away, over, under."""
    before = goals.outcome_probabilities(goals.score_matrix(np.array([home]), np.array([away])))[0]
    one, other = shifted_intensities(np.array([home]), np.array([away]), supremacy)
    after = goals.outcome_probabilities(goals.score_matrix(one, other))[0]
    return np.asarray(np.log(after) - np.log(before))


def _result(match: Any, facts: _Facts, rng: np.random.Generator, supremacy: float, fixture: Fixture) -> Event:
    """The world's own result, or, where it has changed, one drawn from the changed truth."""
    result, statistics = facts.results[match.match_id], facts.statistics.get(match.match_id)
    home_score, away_score = int(result.home_score), int(result.away_score)
    counts = {} if statistics is None else {name: int(getattr(statistics, name)) for name in STATISTICS}
    if supremacy:
        home_score, away_score, drawn = _redrawn(facts.truth[match.match_id], rng, supremacy)
        counts = drawn if statistics is not None else {}
    finished = match.kickoff.to_pydatetime() + _PLAYED + dt.timedelta(seconds=int(rng.integers(0, 360)))
    record = LiveResult(
        match_id=match.match_id,
        home_score=home_score,
        away_score=away_score,
        statistics=counts,
        finished_at=finished,
        sequence=0,
        source=SOURCE,
        fixture=fixture,
    )
    return Event(finished + dt.timedelta(seconds=30), record)


def _redrawn(truth: Any, rng: np.random.Generator, supremacy: float) -> tuple[int, int, dict[str, int]]:
    home, away = shifted_intensities(np.array([truth.home_intensity]), np.array([truth.away_intensity]), supremacy)
    scores = goals.draw_scores(goals.score_matrix(home, away), rng)
    counts = {
        f"{side}_{what}": int(drawn[0])
        for side, score, intensity in zip(("home", "away"), scores, (home, away), strict=True)
        for what, drawn in goals.draw_statistics(score, intensity, rng).items()
    }
    return int(scores[0][0]), int(scores[1][0]), counts


def _fixture(match: Any) -> Fixture:
    return Fixture(
        sport=match.sport,
        league=match.league,
        season=match.season,
        home=match.home,
        away=match.away,
        match_date=match.match_date.date(),
        kickoff=match.kickoff.to_pydatetime(),
    )
