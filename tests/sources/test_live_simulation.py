"""The simulated world as a live feed, and the match days that are held back for it."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from betting_assets.sources.batch import Batch
from betting_assets.sources.feed import Event
from betting_assets.sources.hold_back import (
    hold_back_last_match_day,
    hold_back_last_match_days,
    match_days_from_the_end,
)
from betting_assets.sources.records import LiveResult, Phase, Tick, Trading
from betting_assets.sources.simulation.live import Shift, match_days, shifted_intensities
from betting_assets.sources.simulator import SimulatedWorld, SimulatorConfig, simulate


@pytest.fixture(scope="module")
def small() -> SimulatedWorld:
    return simulate(SimulatorConfig(seed=5, leagues=("SIM1", "SIM2"), seasons=1, teams=10))


@pytest.fixture(scope="module")
def held(small: SimulatedWorld) -> list[str]:
    return hold_back_last_match_days(small.batch, 2)[1]


def ticks(events: list[Event]) -> list[Tick]:
    return [event.record for event in events if isinstance(event.record, Tick)]


def results(events: list[Event]) -> dict[str, LiveResult]:
    return {event.record.match_id: event.record for event in events if isinstance(event.record, LiveResult)}


def test_one_held_back_match_day_is_the_last_date_of_every_league(small: SimulatedWorld) -> None:
    matches = small.batch.matches
    last = matches["match_date"] == matches.groupby("league")["match_date"].transform("max")
    batch, held = hold_back_last_match_day(small.batch)
    assert held == matches.loc[last, "match_id"].tolist()
    one, same = hold_back_last_match_days(small.batch, 1)
    assert same == held
    assert set(batch.results["match_id"]) == set(one.results["match_id"]) == set(matches["match_id"]) - set(held)


def test_held_back_match_days_are_whole_rounds_and_lose_what_was_not_known(small: SimulatedWorld) -> None:
    batch, held = hold_back_last_match_days(small.batch, 3)
    assert len(held) == 3 * 2 * 5
    assert not set(held) & set(batch.results["match_id"]) | set(held) & set(batch.statistics["match_id"])
    phases = batch.books[batch.books["match_id"].isin(held)]["phase"]
    assert set(phases) == {Phase.PRE_CLOSE}
    days = match_days_from_the_end(small.batch.matches)
    for _, day in small.batch.matches.groupby(["league", days]):
        teams = [*day["home"], *day["away"]]
        assert len(teams) == len(set(teams)) == 10


def test_a_match_day_ends_where_a_team_plays_again() -> None:
    dates = pd.to_datetime(["2024-01-01", "2024-01-06", "2024-01-07", "2024-01-10"])
    matches = pd.DataFrame(
        {"league": "X", "match_date": dates, "home": ["a", "a", "c", "a"], "away": ["b", "b", "d", "b"]}
    )
    assert match_days_from_the_end(matches).tolist() == [2, 1, 1, 0]


def test_less_than_one_match_day_cannot_be_held_back(small: SimulatedWorld) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        hold_back_last_match_days(small.batch, 0)
    assert hold_back_last_match_days(Batch(), 2)[1] == []


def test_the_same_arguments_give_the_same_events(small: SimulatedWorld, held: list[str]) -> None:
    assert match_days(small, held, 7, 40) == match_days(small, held[::-1], 7, 40)
    assert match_days(small, held, 7, 40) != match_days(small, held, 8, 40)


def test_the_days_come_in_order_each_with_its_matches_and_their_results(small: SimulatedWorld, held: list[str]) -> None:
    days = match_days(small, held, 7)
    assert len(days) == 2
    assert set(results(days[0])) | set(results(days[1])) == set(held)
    assert set(results(days[1])) == set(hold_back_last_match_day(small.batch)[1])
    for day in days:
        assert [event.at for event in day] == sorted(event.at for event in day)
        assert {tick.match_id for tick in ticks(day)} == set(results(day))
        assert all(event.at >= event.record.taken_at for event in day if isinstance(event.record, Tick))


def test_every_book_ends_at_its_closing_price_and_is_suspended_in_play(small: SimulatedWorld, held: list[str]) -> None:
    (_, last_day) = match_days(small, held, 7, 60)
    close = small.batch.books[small.batch.books["phase"] == Phase.CLOSE]
    prices = {(r.match_id, r.bookmaker, r.market): tuple(r.prices) for r in close.itertuples()}
    kickoffs = dict(zip(small.batch.matches["match_id"], small.batch.matches["kickoff"], strict=True))
    books = defaultdict(list)
    for tick in ticks(last_day):
        books[tick.match_id, tick.bookmaker, tick.market].append(tick)
    stale = 0
    for key, told in books.items():
        told.sort(key=lambda tick: (tick.taken_at, tick.sequence))
        assert [tick.sequence for tick in told] == list(range(len(told)))
        if len(told) == 1:
            stale += 1
            continue
        before, in_play = told[-2:]
        assert (in_play.trading, in_play.in_play, before.in_play) == (Trading.SUSPENDED, True, False)
        assert before.taken_at < kickoffs[key[0]] <= in_play.taken_at
        wanted = prices[key]
        told_prices = [np.nan if price is None else price for price in before.prices]
        np.testing.assert_allclose(told_prices, np.where(np.isnan(wanted), told_prices, wanted), atol=0.011)
    assert stale == 1


def test_the_accidents_of_real_feeds_happen(small: SimulatedWorld, held: list[str]) -> None:
    events = [event for day in match_days(small, held, 7, 400) for event in day]
    told = ticks(events)
    assert any(tick.trading is Trading.SUSPENDED and not tick.in_play for tick in told)
    newest: dict[tuple[str, ...], tuple[dt.datetime, int]] = {}
    late = palpable = 0
    before: dict[tuple[str, ...], tuple[float | None, ...]] = {}
    for tick in told:
        book, order = (tick.match_id, tick.market.value, tick.bookmaker), (tick.taken_at, tick.sequence)
        late += order < newest.get(book, order)
        newest[book] = max(order, newest.get(book, order))
        pairs = zip(before.get(book, tick.prices), tick.prices, strict=True)
        palpable += any(one and other and max(one / other, other / one) > 2 for one, other in pairs)
        before[book] = tick.prices
    assert late > 10
    assert palpable > 5


def test_the_first_tick_of_a_match_that_arrives_tells_its_fixture(small: SimulatedWorld, held: list[str]) -> None:
    seen: set[str] = set()
    for event in match_days(small, held, 7)[0]:
        assert (event.record.fixture is not None) == (
            event.record.match_id not in seen or isinstance(event.record, LiveResult)
        )
        seen.add(event.record.match_id)


def test_without_a_plant_the_results_are_those_of_the_world(small: SimulatedWorld, held: list[str]) -> None:
    told = {key: one for day in match_days(small, held, 7) for key, one in results(day).items()}
    for row in small.batch.results.itertuples():
        if row.match_id in told:
            assert (told[row.match_id].home_score, told[row.match_id].away_score) == (row.home_score, row.away_score)
    statistics = set(small.batch.statistics["match_id"])
    assert all(bool(one.statistics) == (key in statistics) for key, one in told.items())


def test_a_planted_shift_changes_the_days_from_its_own_on_and_no_other(small: SimulatedWorld, held: list[str]) -> None:
    plain, planted = match_days(small, held, 7), match_days(small, held, 7, plant=Shift(1, supremacy=0.8))
    assert plain[0] == planted[0]
    before, after = (
        np.mean([1 / tick.prices[0] for tick in ticks(day) if tick.market == "1x2" and tick.prices[0]])
        for day in (plain[1], planted[1])
    )
    assert after < before - 0.08
    booksums = [
        [sum(1 / price for price in tick.prices if price) for tick in ticks(day)] for day in (plain[1], planted[1])
    ]
    assert np.median(booksums[0]) == pytest.approx(np.median(booksums[1]), abs=0.01)


def test_results_after_the_shift_are_drawn_from_the_shifted_truth(small: SimulatedWorld) -> None:
    _, many = hold_back_last_match_days(small.batch, 18)
    days = match_days(small, many, 7, 2, plant=Shift(0, supremacy=0.8))
    told = {key: one for day in days for key, one in results(day).items()}
    truth = small.truth.set_index("match_id").loc[list(told)]
    home, _ = shifted_intensities(truth["home_intensity"].to_numpy(), truth["away_intensity"].to_numpy(), 0.8)
    goals = np.array([one.home_score for one in told.values()])
    assert abs(goals.mean() - home.mean()) < 3 * np.sqrt(home.mean() / len(goals))
    assert goals.mean() < truth["home_intensity"].mean() - 3 * np.sqrt(home.mean() / len(goals))


def test_matches_of_another_world_are_refused(small: SimulatedWorld) -> None:
    with pytest.raises(ValueError, match="1 matches are not of this world"):
        match_days(small, ["x"])
