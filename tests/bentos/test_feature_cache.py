"""The cache of features: how old a row may be, what is read when, and what happens while the store is away."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import math
import weakref
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from invented_models import STRENGTH
from invented_store import ABSENT, DECIDED_AT, EXPIRED, ODDS, PRICES, InventedStore, Stored, eventually

from bentos.match_odds.errors import Overloaded, Unavailable
from bentos.match_odds.features import feature_cache
from bentos.match_odds.features.feature_cache import FeatureCache
from bentos.match_odds.model.champions import Champion, Champions
from bentos.match_odds.model.rows import CachedRow
from bentos.match_odds.model.scoring import score
from betting_assets.modelling.markets import MARKETS

NOT_FOUND = ABSENT.statuses["match_strength"]
IDS = ("xx_a", "xx_b", "xx_c", "xx_d")
MATCHES = (*IDS, "xx_e")
BOUND, STALE = 4.0, 20.0
Result = TypeVar("Result")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TickingClock(Clock):
    """No two looks at it are at the same moment."""

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now


@pytest.fixture
def store() -> InventedStore:
    store = InventedStore()
    store.matches = {match_id: Stored() for match_id in IDS}
    return store


@asynccontextmanager
async def caching(store: InventedStore, clock: Clock | None = None, **options: Any) -> AsyncIterator[FeatureCache]:
    """A cache that reads only when it is told to."""
    cache = FeatureCache(None, BOUND, options.pop("stale", STALE), store.read, clock or Clock(), **options)
    try:
        yield cache
    finally:
        store.lets_go.set()
        cache.close()


@asynccontextmanager
async def living(store: InventedStore, bound: float = 0.1, stale: float = STALE) -> AsyncIterator[FeatureCache]:
    """A cache that keeps itself fresh, by the real clock."""
    cache = FeatureCache(None, bound, stale, store.read)
    await cache.open()
    try:
        yield cache
    finally:
        store.lets_go.set()
        cache.close()


class CacheInTime(RuleBasedStateMachine):
    """Writes, reads, outages and time in any order, against the history of the store."""

    champion: Champion

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = TickingClock()
        self.store = InventedStore()
        self.history: dict[str, list[tuple[float, float | None]]] = {match_id: [(0.0, None)] for match_id in MATCHES}
        self.cache = FeatureCache(None, BOUND, STALE, self.store.read, self.clock, max_entries=4)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(match_id=st.sampled_from(MATCHES), value=st.none() | st.floats(-3, 3))
    def odds_move(self, match_id: str, value: float | None) -> None:
        self.write(match_id, value)

    def write(self, match_id: str, value: float | None) -> None:
        self.history[match_id].append((self.clock(), value))
        if value is None:
            self.store.matches.pop(match_id, None)
        else:
            self.store.matches[match_id] = Stored().but(elo_difference=value)

    @rule(seconds=st.floats(0, 1.5 * BOUND) | st.just(BOUND) | st.just(STALE))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(before=st.floats(0, 1.5 * BOUND), after=st.floats(0, 1.5 * BOUND))
    def reads_take_time(self, before: float, after: float) -> None:
        self.store.before = lambda: self.pass_time(before)
        self.store.after = lambda: self.pass_time(after)

    @rule(match_id=st.sampled_from(MATCHES), value=st.floats(-3, 3))
    def every_read_is_overtaken_by_a_write(self, match_id: str, value: float) -> None:
        self.store.after = lambda: self.write(match_id, value)

    @rule()
    def reads_are_quick(self) -> None:
        self.store.before = self.store.after = lambda: None

    @precondition(lambda self: self.store.refuses is None)
    @rule()
    def the_store_goes_away(self) -> None:
        self.store.refuses = ConnectionError("away")

    @precondition(lambda self: self.store.refuses is not None)
    @rule()
    def the_store_comes_back(self) -> None:
        self.store.refuses = None

    @rule()
    def background(self) -> None:
        self.run(self.cache.refresh())

    @rule(match_ids=st.lists(st.sampled_from(MATCHES), min_size=1, max_size=3))
    def peek(self, match_ids: list[str]) -> None:
        rows = self.cache.peek(self.champion, match_ids)
        if rows is not None:
            self.check(match_ids, rows, BOUND)

    @rule(match_ids=st.lists(st.sampled_from(MATCHES), min_size=1, max_size=3))
    def get(self, match_ids: list[str]) -> None:
        before, asked_at = self.cache.reachable or not self.store.reads, self.clock.now
        try:
            rows = self.run(self.cache.get(self.champion, match_ids))
        except Unavailable:
            slow = self.clock.now - asked_at > STALE
            assert self.store.refuses is not None or not before or slow, "refused though the store answers"
            return
        slow = self.clock.now - asked_at > BOUND
        self.check(match_ids, rows, BOUND if before and self.cache.reachable and not slow else STALE)

    def check(self, match_ids: list[str], rows: list[CachedRow], limit: float) -> None:
        assert [row.stored.match_id for row in rows] == match_ids
        for match_id, row in zip(match_ids, rows, strict=True):
            assert 0.0 <= row.age <= limit
            value = None if row.stored.feature_time is None else float(row.stored.model.values[0])
            assert value in self.current_since(match_id, self.clock.now - row.age), (
                "no state of the store that recently"
            )

    def current_since(self, match_id: str, time: float) -> list[float | None]:
        """What the store held at `time` or has held since."""
        past = self.history[match_id]
        first = max(i for i, (at, _) in enumerate(past) if at <= time or i == 0)
        return [value for _, value in past[first:]]

    def teardown(self) -> None:
        assert len(self.cache._entries) <= 4
        self.cache.close()
        self.loop.close()


def test_no_row_is_older_than_the_bound_unless_the_store_fails_and_its_age_is_never_understated(
    champions: Champions,
) -> None:
    assert champions["1x2"].bundle.numbers[0] == "elo_difference"
    machine = type("Machine", (CacheInTime,), {"champion": champions["1x2"]})
    run_state_machine_as_test(
        machine, settings=hypothesis_settings(max_examples=100, stateful_step_count=30, deadline=None)
    )


def test_requests_that_wait_share_one_read(store: InventedStore, champions: Champions) -> None:
    async def scenario() -> None:
        async with caching(store) as cache:
            wanted = [IDS[i % 4 : i % 4 + 1] for i in range(200)]
            answers = await asyncio.gather(*(cache.get(champions["1x2"], ids) for ids in wanted))
            assert [[row.stored.match_id for row in rows] for rows in answers] == [list(ids) for ids in wanted]

    asyncio.run(scenario())
    assert [sorted(ids) for ids in store.reads] == [sorted(IDS)]


def test_a_row_that_is_young_enough_needs_no_read(store: InventedStore, champions: Champions) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with caching(store, clock) as cache:
            assert cache.peek(champions["1x2"], IDS) is None
            await cache.get(champions["1x2"], IDS)
            clock.now += BOUND
            for market in champions:
                assert [row.age for row in cache.peek(champions[market], IDS) or []] == [BOUND] * 4
            clock.now += 0.001
            assert cache.peek(champions["1x2"], IDS) is None

    asyncio.run(scenario())
    assert len(store.reads) == 1


def test_matches_that_are_asked_for_are_read_in_the_background_and_others_are_not(
    store: InventedStore, champions: Champions
) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with caching(store, clock) as cache:
            await cache.refresh()
            assert store.reads == [], "nobody has asked for anything"
            await cache.get(champions["1x2"], IDS)
            clock.now += 3.0
            cache.peek(champions["1x2"], IDS[:1])
            clock.now += 3.0
            await cache.refresh()
            assert store.reads[1:] == [[IDS[0]]]
            clock.now += 6.0
            await cache.refresh()
            assert len(store.reads) == 2, "nobody asks any more"
            clock.now += STALE
            await cache.refresh()
            assert cache.state.entries == 0

    asyncio.run(scenario())


def test_what_is_asked_for_all_the_time_never_waits(store: InventedStore, champions: Champions) -> None:
    async def scenario() -> None:
        async with living(store, bound=2.0) as cache:
            await cache.get(champions["1x2"], IDS)
            store.matches[IDS[0]] = Stored().but(elo_difference=2.5)
            async with asyncio.timeout(60.0):
                while (rows := cache.peek(champions["1x2"], IDS)) is None or rows[0].stored.model.values[0] != 2.5:
                    assert rows is not None, "a request would have had to wait"
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_row_stays_the_same_object_until_something_in_it_changes(store: InventedStore, champions: Champions) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with caching(store, clock) as cache:

            async def rows() -> list[Any]:
                clock.now += BOUND + 1.0
                return [row.stored for row in await cache.get(champions["1x2"], IDS[:2])]

            first, beside = await rows()
            again, still = await rows()
            assert again is first
            assert still is beside
            store.matches[IDS[0]] = Stored().but(market_home_best_price=2.5)
            changed, still = await rows()
            assert (first.best_prices[0], changed.best_prices[0]) == (2.0, 2.5)
            assert still is beside
            assert (await cache.get(champions["over_under"], IDS[:1]))[0].stored.model.champion is champions[
                "over_under"
            ]

    asyncio.run(scenario())


def test_a_match_that_the_store_does_not_have_is_found_within_the_bound_of_its_coming(
    store: InventedStore, champions: Champions
) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with caching(store, clock) as cache:
            (row,) = await cache.get(champions["1x2"], ["xx_new"])
            assert row.stored.model.fault == "no features stored for xx_new"
            assert (row.stored.feature_time, dict(row.stored.event_times)) == (None, {})
            store.matches["xx_new"] = Stored()
            assert cache.peek(champions["1x2"], ["xx_new"]) is not None
            clock.now += BOUND + 0.1
            (row,) = await cache.get(champions["1x2"], ["xx_new"])
            assert row.stored.model.fault is None

    asyncio.run(scenario())


def test_memory_is_bounded_and_the_matches_asked_for_last_stay(store: InventedStore, champions: Champions) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with caching(store, clock, max_entries=100) as cache:
            for i in range(1000):
                clock.now += 0.001
                await cache.get(champions["1x2"], [f"xx_{i}"])
                assert cache.state.entries <= 100
            assert cache.peek(champions["1x2"], [f"xx_{i}" for i in range(950, 1000)]) is not None

    asyncio.run(scenario())


def test_more_matches_than_one_read_takes_are_refused_and_nobody_else_is(
    store: InventedStore, champions: Champions
) -> None:
    async def scenario() -> None:
        async with caching(store) as cache:
            store.lets_go.clear()
            under_way = asyncio.create_task(cache.get(champions["1x2"], IDS))
            await eventually(lambda: store.reads, "the read is under way")
            waiting = [
                asyncio.create_task(cache.get(champions["1x2"], [f"xx_{i}_{j}" for j in range(256)]))
                for i in range(feature_cache.MAX_READ // 256)
            ]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="4096 matches are waiting"):
                await cache.get(champions["1x2"], ["xx_one_more"])
            joined = asyncio.create_task(cache.get(champions["1x2"], IDS[:1]))
            await asyncio.sleep(0)
            store.lets_go.set()
            assert len(await under_way) == 4
            assert len(await joined) == 1
            assert [len(rows) for rows in await asyncio.gather(*waiting)] == [256] * 16
            assert len(store.reads) == 2

    asyncio.run(scenario())


def test_a_request_that_is_given_up_takes_nobody_with_it(store: InventedStore, champions: Champions) -> None:
    async def scenario() -> None:
        async with caching(store) as cache:
            store.lets_go.clear()
            one, other = (asyncio.create_task(cache.get(champions["1x2"], IDS)) for _ in range(2))
            await eventually(lambda: store.reads, "the read is under way")
            one.cancel()
            await asyncio.sleep(0)
            store.lets_go.set()
            assert len(await other) == 4
            assert one.cancelled()

    asyncio.run(scenario())


def test_models_that_are_no_longer_served_are_let_go(store: InventedStore, champions: Champions) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with caching(store, clock) as cache:
            old = Champion(champions["1x2"].bundle, "old")
            await cache.get(old, IDS)
            seen = weakref.ref(old)
            del old
            gc.collect()
            assert seen() is not None
            for _ in range(30):
                clock.now += 3.0
                await cache.get(champions["1x2"], IDS)
                await cache.refresh()
            gc.collect()
            assert seen() is None
            (row,) = await cache.get(champions["1x2"], IDS[:1])
            assert row.stored.model.champion is champions["1x2"]

    asyncio.run(scenario())


def test_while_the_store_is_away_rows_are_served_up_to_the_limit_and_then_refused_without_a_wait(
    store: InventedStore, champions: Champions
) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with caching(store, clock) as cache:
            assert not cache.state.reachable
            await cache.get(champions["1x2"], IDS)
            assert cache.state == feature_cache.StoreState(True, None, 4, None)
            store.refuses = ConnectionError("away, with secrets")
            clock.now += BOUND + 1.0
            assert [row.age for row in await cache.get(champions["1x2"], IDS)] == [BOUND + 1.0] * 4
            assert cache.state.reason == "the online store cannot be reached (ConnectionError): try again"
            reads = len(store.reads)
            with pytest.raises(Unavailable, match=r"cannot be reached \(ConnectionError\)"):
                await cache.get(champions["1x2"], ["xx_unknown"])
            clock.now = 100.0 + STALE
            assert [row.age for row in await cache.get(champions["1x2"], IDS)] == [STALE] * 4
            clock.now += 0.1
            with pytest.raises(Unavailable, match="cannot be reached"):
                await cache.get(champions["1x2"], IDS)
            assert len(store.reads) == reads, "a request tried a store that is known to be away"
            await cache.refresh()
            assert store.reads[-1] == []
            assert not cache.state.reachable
            store.refuses = None
            await cache.refresh()
            assert cache.state.reachable
            assert [row.age for row in await cache.get(champions["1x2"], IDS)] == [0.0] * 4

    asyncio.run(scenario())


def test_the_age_that_is_reported_is_that_of_the_oldest_row_somebody_wants(
    store: InventedStore, champions: Champions
) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with caching(store, clock) as cache:
            await cache.get(champions["1x2"], IDS)
            clock.now += 2.0
            await cache.refresh()
            assert cache.state.oldest_age == 0.0
            store.refuses = ConnectionError()
            clock.now += 3.0
            await cache.refresh()
            assert cache.state.oldest_age == 3.0
            clock.now += 1.0
            assert cache.state.oldest_age == 4.0
            clock.now += 2.0
            await cache.refresh()
            assert cache.state.oldest_age is None, "nobody wants them any more"

    asyncio.run(scenario())


def test_those_who_wait_for_the_next_read_are_refused_with_the_one_that_failed(
    store: InventedStore, champions: Champions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "TIMEOUT", 1000.0)

    async def scenario() -> None:
        async with asyncio.timeout(60.0), caching(store) as cache:
            store.lets_go.clear()
            store.refuses = ConnectionError()
            one = asyncio.create_task(cache.get(champions["1x2"], IDS[:1]))
            await eventually(lambda: store.reads, "the read is under way")
            other = asyncio.create_task(cache.get(champions["1x2"], IDS[1:]))
            await asyncio.sleep(0)
            store.lets_go.set()
            for task in (one, other):
                with pytest.raises(Unavailable, match="cannot be reached"):
                    await task
            assert len(store.reads) == 1

    asyncio.run(scenario())


def test_a_stuck_store_is_waited_for_once_and_recovers_by_itself(
    store: InventedStore, champions: Champions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "TIMEOUT", 1.0)

    async def scenario() -> None:
        async with living(store, bound=0.2) as cache:
            await cache.get(champions["1x2"], IDS)
            store.lets_go.clear()
            await eventually(lambda: cache.peek(champions["1x2"], IDS) is None, "rows grow old")
            assert [row.age > 0.2 for row in await cache.get(champions["1x2"], IDS)] == [True] * 4
            with pytest.raises(Unavailable, match="did not answer"):
                await cache.get(champions["1x2"], ["xx_unknown"])
            await eventually(lambda: not cache.state.reachable, "the store is known to be away")
            assert cache.state.reason == "the online store did not answer within 1 seconds: try again"
            store.lets_go.set()
            await eventually(lambda: cache.state.reachable, "without any request")
            assert (await cache.get(champions["1x2"], ["xx_unknown"]))[0].stored.feature_time is None

    asyncio.run(scenario())


def test_a_store_slower_than_the_bound_is_refused_where_no_stale_row_may_be_served(
    store: InventedStore, champions: Champions
) -> None:
    async def scenario() -> None:
        clock = Clock()

        def slow() -> None:
            clock.now += BOUND + 1.0

        async with caching(store, clock, stale=0.0) as cache:
            store.after = slow
            with pytest.raises(Unavailable, match="did not answer in time"):
                await cache.get(champions["1x2"], IDS)
            store.after = lambda: None
            assert len(await cache.get(champions["1x2"], IDS)) == 4

    asyncio.run(scenario())


def test_without_a_database_every_match_is_refused_and_the_reason_is_told(champions: Champions) -> None:
    async def scenario() -> None:
        cache = FeatureCache(None, BOUND, STALE)
        for work in (cache.open(), cache.get(champions["1x2"], IDS)):
            with pytest.raises(Unavailable, match="started without BETTING_DATABASE_URL"):
                await work
        assert not cache.state.reachable
        cache.close()

    asyncio.run(scenario())


def test_a_closed_cache_refuses_those_who_wait(store: InventedStore, champions: Champions) -> None:
    async def scenario() -> None:
        async with living(store) as cache:
            store.lets_go.clear()
            waiting = asyncio.create_task(cache.get(champions["1x2"], IDS))
            await asyncio.sleep(0)
            cache.close()
            with pytest.raises(Unavailable, match="stopping"):
                await waiting
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


FAULTS = {
    "no features stored for xx_a": ABSENT,
    "no features stored for xx_a in match_strength": Stored().with_view("match_strength", NOT_FOUND),
    "stored features of xx_a: match_strength of 2026-03-06 15:00 UTC has expired, materialize newer ones": (
        Stored().with_view("match_strength", EXPIRED)
    ),
    "stored features of xx_a: feature 'elo_difference' is null, but training never saw it missing": (
        Stored().but(elo_difference=math.nan)
    ),
    "stored features of xx_a: feature 'league' is null, but training never saw it missing": Stored(league=None),
    "stored features of xx_a: market_home, market_draw, market_away: give all of them or null for all": (
        Stored().but(market_home=math.nan)
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_no_model_can_answer_from_is_told_in_one_line(
    fault: str, store: InventedStore, champions: Champions
) -> None:
    store.matches["xx_a"] = FAULTS[fault]

    async def scenario() -> None:
        async with caching(store) as cache:
            (row,) = await cache.get(champions["1x2"], ["xx_a"])
            assert row.stored.model.fault == fault
            assert row.stored.model.json, "the prediction log can write it all the same"

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [NOT_FOUND, EXPIRED])
def test_odds_that_are_missing_or_expired_leave_an_answer_without_odds(
    status: int, store: InventedStore, champions: Champions
) -> None:
    store.matches["xx_a"] = Stored().with_view("match_market", status)

    async def scenario() -> None:
        async with caching(store) as cache:
            (row,) = await cache.get(champions["1x2"], ["xx_a"])
        model = row.stored.model
        assert (model.fault, model.market_probabilities, row.stored.best_prices) == (None, [], [])
        assert dict(row.stored.event_times) == {"match_strength": DECIDED_AT}
        assert not row.stored.suspended
        assert [answer.variant for answer in score([model])] == ["fundamentals"]

    asyncio.run(scenario())


def test_prices_and_suspensions_are_those_of_the_champions_market(store: InventedStore, champions: Champions) -> None:
    store.matches["xx_a"] = Stored().but(market_over_under_suspended=1.0)
    store.matches["xx_b"] = Stored().but(market_draw_best_price=math.nan)

    async def scenario() -> dict[str, list[tuple[list[float], bool]]]:
        async with caching(store) as cache:
            return {
                market: [
                    (row.stored.best_prices, row.stored.suspended)
                    for row in await cache.get(champion, ["xx_a", "xx_b"])
                ]
                for market, champion in champions.items()
            }

    three = [PRICES[name] for name in MARKETS["1x2"].best_price_columns]
    two = [PRICES[name] for name in MARKETS["over_under"].best_price_columns]
    assert asyncio.run(scenario()) == {"1x2": [(three, False), ([], False)], "over_under": [(two, True), (two, False)]}


def test_a_watched_match_is_kept_fresh_and_tells_only_what_its_market_shows(
    store: InventedStore, champions: Champions
) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with caching(store, clock) as cache:
            with cache.subscribed("1x2", IDS[:1]) as subscription:
                await cache.refresh()
                assert await subscription.changes(0.0) == set(), "the first sight of a match is no change"

                async def changed_by(stored: Stored) -> bool:
                    store.matches[IDS[0]] = stored
                    clock.now += 60.0
                    await cache.refresh()
                    assert cache.peek(champions["1x2"], IDS[:1]) is not None
                    return await subscription.changes(0.0) == {IDS[0]}

                later = Stored(times=dict.fromkeys(Stored().times, DECIDED_AT + dt.timedelta(hours=1)))
                assert not await changed_by(later), "the same odds, told again"
                assert not await changed_by(later.but(market_over=0.5, market_over_best_price=9.0))
                assert await changed_by(later.but(market_home=0.4, market_draw=0.4))
                assert await changed_by(later.but(market_away_best_price=9.0))
                assert await changed_by(later.but(**{MARKETS["1x2"].suspended_column: 1.0}))
                assert await changed_by(later.with_view("match_market", EXPIRED))
                assert await changed_by(later.but(elo_difference=1.0))
                store.refuses = ConnectionError()
                clock.now += STALE + 1.0
                await cache.refresh()
                store.refuses = None
                await cache.refresh()
                assert await changed_by(later), "a change during an outage is told after it, however long it was"
            clock.now += STALE + BOUND
            reads = len(store.reads)
            await cache.refresh()
            assert (len(store.reads), cache.state.entries) == (reads, 0)

    asyncio.run(scenario())


def test_more_watched_matches_than_one_read_takes_are_refused(store: InventedStore) -> None:
    async def scenario() -> None:
        async with caching(store) as cache:
            with cache.subscribed("1x2", [f"xx_{i}" for i in range(feature_cache.MAX_READ)]):
                with pytest.raises(Overloaded, match="4096 matches are watched already"), cache.subscribed("1x2", IDS):
                    pass
                with cache.subscribed("over_under", ["xx_1"]):
                    pass
            with cache.subscribed("1x2", IDS):
                pass

    asyncio.run(scenario())


def test_the_invented_store_has_every_feature_that_the_models_read(champions: Champions) -> None:
    for champion in champions.values():
        assert set(champion.bundle.numbers) <= {*STRENGTH, *ODDS}
