"""Watching over both protocols: told when odds move, not when nothing happens, and let go of when anybody leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from invented_models import free_port
from stored_matches import DECIDED_AT, PRICED, UNPRICED, feature_tables

from bentos.match_odds.client import MatchOddsClient, MatchOddsError
from bentos.match_odds.contract import WatchEvent
from bentos.match_odds.deploying.runner import RunningBento

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def watched(tag: str, home: Path, store_url: str) -> Iterator[RunningBento]:
    with RunningBento(tag, free_port(), home, store_url) as bento:
        yield bento


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, watched: RunningBento) -> Iterator[MatchOddsClient]:
    with MatchOddsClient(watched.url if request.param == "http" else watched.grpc_url) as client:
        yield client


def push_price(store_url: str, match_id: str, price: float) -> None:
    """A new best price of the home side, as a live feed would push it."""
    from feature_repo.push import push
    from feature_repo.store import feature_store

    _, market = feature_tables()
    row = market[market["match_id"] == match_id].assign(market_home_best_price=price)
    push(feature_store(store_url), "match_market", row.assign(event_timestamp=DECIDED_AT))


def watchers(bento: RunningBento) -> float:
    lines = httpx.get(f"{bento.url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("betting_watchers"))


def until(holds: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, "not within the time allowed"
        time.sleep(0.05)


def answered(events: Iterator[WatchEvent]) -> WatchEvent:
    """The next event that is no heartbeat."""
    return next(event for event in events if event.answer is not None)


def test_first_all_matches_are_told_then_only_the_one_whose_odds_moved(client: MatchOddsClient, store_url: str) -> None:
    with watching(client, [PRICED, UNPRICED]) as events:
        first = next(events)
        assert first.answer is not None
        assert [prediction.match_id for prediction in first.answer.predictions] == [PRICED, UNPRICED]
        price = first.answer.predictions[0].best_prices[0] + 0.5
        push_price(store_url, PRICED, price)
        moved = answered(events)
        assert moved.answer is not None
        assert [prediction.match_id for prediction in moved.answer.predictions] == [PRICED]
        assert moved.answer.predictions[0].best_prices[0] == price
        now, told = client.predict("1x2", [PRICED]).predictions[0], moved.answer.predictions[0]
        assert (told.probabilities, told.best_prices) == (now.probabilities, now.best_prices)


def test_nothing_but_heartbeats_come_while_nothing_happens(client: MatchOddsClient) -> None:
    with watching(client, [PRICED], heartbeat_seconds=0.2) as events:
        assert next(events).answer is not None
        beats = [next(events) for _ in range(4)]
        assert [beat.answer for beat in beats] == [None] * 4
        assert beats[0].sent_at < beats[3].sent_at


def test_a_watcher_that_leaves_is_forgotten(watched: RunningBento, client: MatchOddsClient) -> None:
    with watching(client, [PRICED]) as events:
        next(events)
        until(lambda: watchers(watched) == 1.0)
    until(lambda: watchers(watched) == 0.0)


def test_what_cannot_be_watched_is_refused_before_the_stream_begins(client: MatchOddsClient) -> None:
    for market, ids, status in (("corners", ["a"], 400), ("1x2", [], 400), ("1x2", ["../etc"], 400)):
        with pytest.raises(MatchOddsError) as caught:
            next(iter(client.watch(market, ids)))
        assert caught.value.status == status


def test_a_service_that_stops_ends_its_streams_and_takes_no_longer_for_them(
    tag: str, home: Path, store_url: str
) -> None:
    with RunningBento(tag, free_port(), home, store_url) as bento:
        ends: list[str] = []

        def watch() -> None:
            with MatchOddsClient(bento.url) as client:
                try:
                    for _ in client.watch("1x2", [PRICED], heartbeat_seconds=0.2):
                        pass
                except MatchOddsError as error:
                    ends.append(f"cut: {error}")
                else:
                    ends.append("ended")

        thread = threading.Thread(target=watch)
        thread.start()
        until(lambda: watchers(bento) == 1.0)
        bento.stop()
        thread.join(10)
        assert ends == ["ended"]


@contextmanager
def watching(client: MatchOddsClient, ids: list[str], heartbeat_seconds: float = 5.0) -> Iterator[Iterator[WatchEvent]]:
    stream = client.watch("1x2", ids, heartbeat_seconds=heartbeat_seconds)
    try:
        yield stream
    finally:
        stream.close()  # type: ignore[attr-defined]
