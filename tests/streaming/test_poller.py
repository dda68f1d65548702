"""The live feed from The Odds API: off by default, within rate and quota, changes only, and its key is never told."""

from __future__ import annotations

import datetime as dt
import email.utils
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from feed_topics import results, ticks
from odds_api_server import OddsApiServer, Reply, odds_api_server

from betting_assets.settings import Settings
from betting_assets.streaming.feeds import odds_api_client
from betting_assets.streaming.feeds.errors import FeedError
from betting_assets.streaming.feeds.live import run_live_feed
from betting_assets.streaming.feeds.odds_api_client import ATTEMPTS, LONGEST_PAUSE, OddsApi
from betting_assets.streaming.feeds.odds_api_poller import Poller, PollerConfig, sports_of

KEY = "0123456789abcdef-secret"
ODDS = "/v4/sports/soccer_epl/odds"


def event(home: float = 1.5, updated: str = "2024-01-06T14:00:00Z", bookmaker: str = "pinnacle") -> dict[str, Any]:
    outcomes = [{"name": "Everton", "price": 6.0}, {"name": "Arsenal", "price": home}, {"name": "Draw", "price": 4.0}]
    markets = [{"key": "h2h", "last_update": updated, "outcomes": outcomes}]
    return {
        "sport_key": "soccer_epl",
        "commence_time": "2024-01-06T15:00:00Z",
        "home_team": "Arsenal",
        "away_team": "Everton",
        "bookmakers": [{"key": bookmaker, "last_update": updated, "markets": markets}],
    }


def score(home: int) -> dict[str, Any]:
    told = {name: event()[name] for name in ("sport_key", "commence_time", "home_team", "away_team")}
    scores = [{"name": "Arsenal", "score": str(home)}, {"name": "Everton", "score": "0"}]
    return told | {"completed": True, "scores": scores, "last_update": "2024-01-06T17:00:00Z"}


@pytest.fixture
def server() -> Iterator[OddsApiServer]:
    with odds_api_server() as running:
        yield running


def api_settings(settings: Settings | None = None) -> Settings:
    chosen = {"live_feed": "odds_api", "odds_api_key": KEY}
    return Settings(**((settings.model_dump() if settings else {}) | chosen))


class Waits:
    """Stands for sleeping: notes how long, and says stop after so many times."""

    def __init__(self, most: int = 100) -> None:
        self.seconds: list[float] = []
        self._most = most

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return len(self.seconds) >= self._most


def ask(api: OddsApi) -> odds_api_client.Answer | None:
    return api.get(ODDS, 1, markets="h2h", regions="uk")


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def api(server: OddsApiServer, waits: Waits) -> Iterator[OddsApi]:
    client = OddsApi(api_settings(), waits, server.url)
    yield client
    client.close()


def test_an_unchanged_answer_is_none_with_and_without_etag(server: OddsApiServer, api: OddsApi) -> None:
    server.events = [event()]
    first = ask(api)
    assert first is not None
    assert first.document == [event()]
    again = ask(api)
    assert again is not None
    assert again.document is None
    assert "If-None-Match" in server.asked[-1][2]
    server.with_etags = False
    third = ask(api)
    assert third is not None
    assert third.document is None
    server.events = [event(1.6)]
    changed = ask(api)
    assert changed is not None
    assert changed.document == [event(1.6)]


def test_a_busy_or_broken_api_is_asked_again_after_what_it_says_or_longer_and_longer(
    server: OddsApiServer, api: OddsApi, waits: Waits
) -> None:
    soon = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(hours=2), usegmt=True)
    server.replies = [
        Reply(429, {"Retry-After": "7"}),
        Reply(503, {"Retry-After": soon}),
        Reply(500),
        Reply(502, {"Retry-After": "in a while"}),
    ]
    assert ask(api) is not None
    assert waits.seconds[:2] == [7.0, LONGEST_PAUSE]
    assert 2 <= waits.seconds[2] <= 4
    assert 4 <= waits.seconds[3] <= 8


def test_retries_are_bounded_and_end_when_the_caller_stops(server: OddsApiServer, api: OddsApi) -> None:
    server.replies = [Reply(500)] * 50
    assert ask(api) is None
    assert len(server.asked) == ATTEMPTS
    stopping = OddsApi(api_settings(), Waits(most=1), server.url)
    assert ask(stopping) is None
    assert len(server.asked) == ATTEMPTS + 1
    stopping.close()


def test_an_api_out_of_reach_is_no_error_of_the_first_round(server: OddsApiServer, waits: Waits) -> None:
    client = OddsApi(api_settings(), waits, "http://127.0.0.1:1")
    assert ask(client) is None
    assert len(waits.seconds) == ATTEMPTS - 1
    client.close()


@pytest.mark.parametrize("body", [b"{", b'{"a": 1}', b"[" * 100_000, b"\xff"])
def test_an_answer_that_is_no_list_is_none(server: OddsApiServer, api: OddsApi, body: bytes) -> None:
    server.replies = [Reply(200, {}, body)]
    assert ask(api) is None


def test_an_answer_that_is_too_long_is_not_kept(
    server: OddsApiServer, api: OddsApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(odds_api_client, "MAX_BYTES", 1_000)
    server.replies = [Reply(200, {}, b" " * 1_001 + b"[]")] * ATTEMPTS
    assert ask(api) is None


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_a_refusal_is_one_line_without_the_key_and_is_not_repeated(
    server: OddsApiServer, api: OddsApi, status: int
) -> None:
    server.replies = [Reply(status, {}, f'{{"message": "bad key {KEY}\\nsee docs"}}'.encode())]
    with pytest.raises(FeedError, match=f"refused {ODDS} with {status}: bad key \\*\\*\\* see docs") as told:
        ask(api)
    assert KEY not in repr(told.getrepr())
    assert len(server.asked) == 1


def test_the_key_is_in_no_log_and_no_error(
    server: OddsApiServer, api: OddsApi, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    server.events = [event()]
    assert ask(api) is not None
    server.replies = [Reply(500)] * ATTEMPTS
    ask(api)
    out_of_reach = OddsApi(api_settings(), Waits(), "http://127.0.0.1:1")
    ask(out_of_reach)
    out_of_reach.close()
    assert server.asked[0][1]["apiKey"] == [KEY]
    assert KEY not in caplog.text
    assert KEY not in repr(api_settings())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(), "BETTING_LIVE_FEED=odds_api"),
        (Settings(odds_api_key=KEY), "BETTING_LIVE_FEED=odds_api"),
        (Settings(live_feed="odds_api"), "BETTING_ODDS_API_KEY"),
        (Settings(live_feed="odds_api", odds_api_key=""), "BETTING_ODDS_API_KEY"),
    ],
)
def test_the_feed_is_off_by_default_and_needs_a_key(settings: Settings, said: str) -> None:
    with pytest.raises(FeedError, match=said):
        Poller(settings).run()


def test_no_live_feed_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(FeedError, match="set BETTING_LIVE_FEED"):
        run_live_feed(Settings(), threading.Event())


def test_leagues_are_asked_for_by_their_sport_keys() -> None:
    assert sports_of("E0, SP1") == ("soccer_epl", "soccer_spain_la_liga")
    assert sports_of("") == ("soccer_epl",)
    with pytest.raises(FeedError, match=r"no league EC, SIM1; choose from .*E0"):
        sports_of("EC,SIM1")


def config(server: OddsApiServer, **changes: Any) -> PollerConfig:
    return PollerConfig(
        **({"base_url": server.url, "interval": 0.02, "markets": ("h2h",), "scores_every": 0} | changes)
    )


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "nothing of the kind happened within a minute"
        time.sleep(0.02)


class Running:
    """A poller in a thread; leaves with its error, if it had one."""

    def __init__(self, settings: Settings, config: PollerConfig) -> None:
        self._poller = Poller(settings, config)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._poller.run()
        except BaseException as error:  # noqa: BLE001  told to the test
            self.error = error

    def __enter__(self) -> Running:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._poller.stop.set()
        self.thread.join(60)
        assert not self.thread.is_alive()


def rounds(server: OddsApiServer, count: int) -> None:
    """Wait until `count` further questions for odds were answered, and what they told was published."""
    wanted = server.odds_asked + count + 1
    until(lambda: server.odds_asked >= wanted)


@pytest.mark.services
def test_only_what_has_changed_is_published(server: OddsApiServer, stream_settings: Settings) -> None:
    server.events = [event(1.5), event(1.6, bookmaker="coral")]
    server.with_etags = False
    with Running(api_settings(stream_settings), config(server)) as running:
        rounds(server, 3)
        server.events = [event(1.5), event(1.7, bookmaker="coral")]
        rounds(server, 3)
        server.events = [event(1.5, "2024-01-06T14:30:00Z"), event(1.7, bookmaker="coral")]
        rounds(server, 3)
    assert running.error is None
    told = [(tick.bookmaker, tick.prices[0], tick.taken_at.minute) for tick in ticks(stream_settings)]
    assert told == [("coral", 1.6, 0), ("pinnacle", 1.5, 0), ("coral", 1.7, 0), ("pinnacle", 1.5, 30)]


@pytest.mark.services
def test_a_final_score_is_published_once_and_again_when_corrected(
    server: OddsApiServer, stream_settings: Settings
) -> None:
    server.scores = [score(2)]
    with Running(api_settings(stream_settings), config(server, scores_every=1)):
        rounds(server, 3)
        server.scores = [score(3)]
        rounds(server, 3)
    assert [one.home_score for one in results(stream_settings)] == [2, 3]


@pytest.mark.services
def test_it_stops_before_the_quota_is_used_up_and_says_so(
    server: OddsApiServer, stream_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.remaining, server.with_etags = 5, False
    with Running(api_settings(stream_settings), config(server, regions=("uk", "eu"))) as running:
        until(lambda: not running.thread.is_alive())
    assert running.error is None
    assert server.remaining == 1
    assert server.odds_asked == 2
    assert "1 requests are left and one costs 2; stopped asking" in caplog.text


@pytest.mark.services
def test_it_gives_up_when_the_api_is_silent_for_ten_rounds(
    server: OddsApiServer, stream_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(odds_api_client, "ATTEMPTS", 1)
    server.replies = [Reply(500)] * 50
    with Running(api_settings(stream_settings), config(server)) as running:
        until(lambda: not running.thread.is_alive())
    assert server.odds_asked == 10
    assert isinstance(running.error, FeedError)
    assert "no answer in 10 rounds" in str(running.error)


@pytest.mark.services
def test_one_broken_round_is_got_over(
    server: OddsApiServer, stream_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(odds_api_client, "ATTEMPTS", 1)
    server.events, server.replies = [event()], [Reply(500), Reply(200, {}, b"<html>")]
    with Running(api_settings(stream_settings), config(server)) as running:
        rounds(server, 4)
    assert running.error is None
    assert len(ticks(stream_settings)) == 1
