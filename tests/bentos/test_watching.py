"""Watching: what is told when, to how many, and what is left when a client goes."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from invented_store import DECIDED_AT, InventedStore, Stored, eventually

from bentos.match_odds.contract import Answer, MarketName, Staking, WatchEvent, WatchRequest
from bentos.match_odds.errors import Overloaded, Unavailable
from bentos.match_odds.features import watching
from bentos.match_odds.features.feature_cache import FeatureCache
from bentos.match_odds.features.watching import Watching
from bentos.match_odds.model.champions import Champion, Champions
from bentos.match_odds.model.scoring import score
from bentos.match_odds.model.value import prediction

IDS = ["xx_c", "xx_a", "xx_b"]
Events = AsyncGenerator[WatchEvent, None]


class Desk:
    """A store, a cache that lives by the real clock, and answers from both."""

    def __init__(self, champions: Champions) -> None:
        self.champions: dict[str, Champion] = dict(champions)
        self.store = InventedStore()
        self.store.matches = {match_id: Stored() for match_id in IDS}
        self.cache = FeatureCache(None, 0.1, 20.0, self.store.read)
        self.watching = Watching(self.cache, self.answer, max_watchers=3)
        self.refuses: Exception | None = None
        self.answered: list[list[str]] = []
        self.max_odds_age = 7200.0

    async def answer(self, request: WatchRequest, match_ids: list[str], request_id: str) -> Answer:
        champion = self.champions[request.market]
        rows = await self.cache.get(champion, match_ids)
        if self.refuses is not None:
            raise self.refuses
        self.answered.append(match_ids)
        answers = score([row.stored.model for row in rows])
        return Answer(
            market=request.market,
            selections=list(champion.bundle.market.selections),
            model_version=champion.version,
            bento="x",
            request_id=request_id,
            predictions=[
                prediction(row, answer, request.staking, self.max_odds_age)
                for row, answer in zip(rows, answers, strict=True)
            ],
        )

    def watch(self, heartbeat: float = 60.0, **fields: Any) -> aclosing[Events]:
        request = WatchRequest(market=MarketName("1x2"), match_ids=IDS, heartbeat_seconds=heartbeat, **fields)
        return aclosing(self.watching.watch(request, "r1"))

    def move(self, match_id: str, **values: float) -> None:
        self.store.matches[match_id] = self.store.matches[match_id].but(**values)

    async def next_read(self) -> None:
        """Two reads later all of what the store holds now has been seen, and told to subscriptions."""
        reads = len(self.store.reads)
        await eventually(lambda: len(self.store.reads) > reads + 2, "the background reads on")


@asynccontextmanager
async def at_desk(champions: Champions) -> AsyncIterator[Desk]:
    desk = Desk(champions)
    await desk.cache.open()
    try:
        yield desk
        assert (desk.watching.count, desk.cache._subscribers) == (0, {}), "something is still subscribed"
    finally:
        desk.cache.close()


def run(champions: Champions, scenario: Callable[[Desk], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(120.0), at_desk(champions) as desk:
            await scenario(desk)

    asyncio.run(whole())


def told(event: WatchEvent) -> list[str | None]:
    return [] if event.answer is None else [prediction.match_id for prediction in event.answer.predictions]


async def heartbeats(events: Events, count: int = 2) -> None:
    for _ in range(count):
        assert told(await anext(events)) == []


def test_all_matches_are_told_first_and_then_those_whose_odds_move(champions: Champions) -> None:
    async def scenario(desk: Desk) -> None:
        async with desk.watch(staking=Staking()) as events:
            first = await anext(events)
            assert told(first) == IDS
            assert first.sent_at.utcoffset() == dt.timedelta(0)
            desk.move("xx_a", market_home=0.6, market_draw=0.2)
            moved = await anext(events)
            assert told(moved) == ["xx_a"]
            assert first.answer is not None
            assert moved.answer is not None
            assert moved.answer.predictions[0].probabilities != first.answer.predictions[1].probabilities
            assert moved.answer.predictions[0].market_probabilities == [0.6, 0.2, 0.2]
            assert moved.answer.request_id == "r1"
            desk.move("xx_b", market_home_best_price=3.5)
            priced = await anext(events)
            assert priced.answer is not None
            assert [p.best_prices[0] for p in priced.answer.predictions] == [3.5]
            desk.move("xx_c", market_1x2_suspended=1.0)
            suspended = await anext(events)
            assert suspended.answer is not None
            assert [p.withheld and p.withheld.reason for p in suspended.answer.predictions] == ["suspended_market"]

    run(champions, scenario)


def test_what_the_answer_does_not_show_is_no_event(champions: Champions) -> None:
    async def scenario(desk: Desk) -> None:
        async with desk.watch(heartbeat=0.5) as events:
            assert told(await anext(events)) == IDS
            desk.move("xx_a", market_over=0.5, market_under=0.5, market_over_best_price=9.0)
            later = dict.fromkeys(Stored().times, DECIDED_AT + dt.timedelta(minutes=1))
            desk.store.matches["xx_b"] = Stored(times=later)
            await desk.next_read()
            await heartbeats(events)
            assert len(desk.answered) == 1, "answered, and logged, for nobody"

    run(champions, scenario)


def test_stale_odds_that_are_confirmed_are_told_though_they_are_the_same(champions: Champions) -> None:
    async def scenario(desk: Desk) -> None:
        desk.max_odds_age = 3000.0
        async with desk.watch() as events:
            first = await anext(events)
            assert first.answer is not None
            assert {p.withheld and p.withheld.reason for p in first.answer.predictions} == {"stale_odds"}
            for minutes in (1, 30):  # The first is stale still.
                later = dict.fromkeys(Stored().times, DECIDED_AT + dt.timedelta(minutes=minutes))
                desk.store.matches["xx_a"] = Stored(times=later)
                await desk.next_read()
            fresh = await anext(events)
            assert fresh.answer is not None
            assert [(p.match_id, p.withheld) for p in fresh.answer.predictions] == [("xx_a", None)]

    run(champions, scenario)


def test_a_new_model_is_told_with_all_matches_and_the_same_one_is_not(champions: Champions) -> None:
    async def scenario(desk: Desk) -> None:
        async with desk.watch(heartbeat=0.5) as events:
            await anext(events)
            desk.watching.model_changed()
            await heartbeats(events)
            desk.champions["1x2"] = Champion(champions["1x2"].bundle, "4")
            desk.watching.model_changed()
            swapped = await anext(events)
            assert told(swapped) == IDS
            assert swapped.answer is not None
            assert swapped.answer.model_version == "4"

    run(champions, scenario)


def test_a_slow_client_gets_the_newest_state_once(champions: Champions) -> None:
    async def scenario(desk: Desk) -> None:
        async with desk.watch(heartbeat=0.5) as events:
            await anext(events)
            for step in range(1, 6):
                desk.move("xx_a", market_home_best_price=2.0 + step)
                await desk.next_read()
            late = await anext(events)
            assert late.answer is not None
            assert [(p.match_id, p.best_prices[0]) for p in late.answer.predictions] == [("xx_a", 7.0)]
            await heartbeats(events)
            assert len(desk.answered) == 2

    run(champions, scenario)


def test_odds_that_move_back_before_a_slow_client_looks_are_no_event(champions: Champions) -> None:
    async def scenario(desk: Desk) -> None:
        async with desk.watch(heartbeat=0.5) as events:
            await anext(events)
            for price in (5.0, 2.0):
                desk.move("xx_a", market_home_best_price=price)
                await desk.next_read()
            await heartbeats(events)

    run(champions, scenario)


def test_while_the_store_is_away_there_are_heartbeats_and_afterwards_changes(champions: Champions) -> None:
    async def scenario(desk: Desk) -> None:
        async with desk.watch(heartbeat=0.3) as events:
            await anext(events)
            desk.store.refuses = ConnectionError()
            await eventually(lambda: not desk.cache.state.reachable, "the outage is noticed")
            desk.move("xx_b", market_home_best_price=math.nan)
            await heartbeats(events)
            desk.store.refuses = None
            while not (found := told(await anext(events))):
                pass
            assert found == ["xx_b"]

    run(champions, scenario)


@pytest.mark.parametrize("error", [Overloaded("busy"), Unavailable("away")])
def test_an_event_that_cannot_be_answered_now_is_told_later(
    error: Exception, champions: Champions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "RETRY", 0.05)

    async def scenario(desk: Desk) -> None:
        async with desk.watch(heartbeat=0.3) as events:
            await anext(events)
            desk.refuses = error
            desk.move("xx_a", market_home_best_price=4.0)
            await desk.next_read()
            await heartbeats(events)
            desk.refuses = None
            while not (found := told(await anext(events))):
                pass
            assert found == ["xx_a"]

    run(champions, scenario)


def test_a_watcher_that_gets_no_first_answer_is_told_why_and_leaves_nothing_behind(champions: Champions) -> None:
    async def scenario(desk: Desk) -> None:
        desk.store.refuses = ConnectionError()
        async with desk.watch() as events:
            with pytest.raises(Unavailable, match="cannot be reached"):
                await anext(events)

    run(champions, scenario)


def test_a_client_that_goes_leaves_nothing_behind(champions: Champions) -> None:
    async def scenario(desk: Desk) -> None:
        async def follow() -> None:
            async with desk.watch() as events:
                async for _ in events:
                    pass

        followers = [asyncio.create_task(follow()) for _ in range(3)]
        await eventually(lambda: len(desk.answered) == 3, "all have had their first event")
        assert desk.watching.count == 3
        for follower in followers:
            follower.cancel()
        assert await asyncio.gather(*followers, return_exceptions=True)
        assert all(follower.cancelled() for follower in followers)

    run(champions, scenario)


def test_more_watchers_than_allowed_are_refused_until_one_goes(champions: Champions) -> None:
    async def scenario(desk: Desk) -> None:
        async with desk.watch() as one, desk.watch() as two, desk.watch() as three:
            await asyncio.gather(*(anext(events) for events in (one, two, three)))
            async with desk.watch() as refused:
                with pytest.raises(Overloaded, match="3 clients are watching already"):
                    await anext(refused)
            await two.aclose()
            async with desk.watch() as events:
                assert told(await anext(events)) == IDS

    run(champions, scenario)


def test_many_watchers_of_one_match_are_all_told_and_the_store_is_read_once_for_all(champions: Champions) -> None:
    async def scenario(desk: Desk) -> None:
        desk.watching = Watching(desk.cache, desk.answer)

        async def first_and_next(ids: Sequence[str]) -> list[list[str | None]]:
            request = WatchRequest(market=MarketName("1x2"), match_ids=list(ids), heartbeat_seconds=60.0)
            async with aclosing(desk.watching.watch(request, "r")) as events:
                return [told(await anext(events)), told(await anext(events))]

        tasks = [asyncio.create_task(first_and_next(IDS)) for _ in range(100)]
        await eventually(lambda: len(desk.answered) == 100, "all have had their first event")
        desk.move("xx_b", market_home_best_price=4.0)
        assert await asyncio.gather(*tasks) == [[IDS, ["xx_b"]]] * 100
        assert all(len(ids) <= len(IDS) for ids in desk.store.reads)

    run(champions, scenario)
