"""Betfair stream recordings (JSON lines) → ticks.

A recording is a sequence of market change messages (`op: mcm`), often of several markets. `pt` is the time at which
Betfair published the message, in UTC. Settlement names the winner of a market, never the score, so that a recording
gives no result; the markets settled are counted as `settled_without_score`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from betting_assets.sources.betfair.definition import (
    Line,
    Names,
    Plan,
    RunnerKey,
    parse_definition,
    plan_of,
)
from betting_assets.sources.betfair.ladder import Ladder, has_ladder
from betting_assets.sources.feed import Account, Event, Told
from betting_assets.sources.records import Fixture, Market, Tick, Trading

SOURCE = "betfair"
EXCHANGE = "betfair-exchange"
LAST_TRADED = "betfair-last-traded"
"""Stands for the book where a recording has traded prices only: nobody offers these, so they go under another name."""

_FOR_GOOD = ("unsupported_market_type", "second_market_of_one_type")
"""Reasons that no later definition lifts, so that the market's book need not be kept."""

_Book = tuple[tuple[float | None, ...], tuple[float | None, ...] | None, Trading, bool]


@dataclass
class Shared:
    """What the recordings of one replay must agree on: what events are called, and which market of a type is read.

    Betfair sometimes has two markets of one type for an event; mixed, their prices would jump to and fro.
    """

    firsts: dict[str, Fixture] = field(default_factory=dict)
    owners: dict[tuple[str, Market], str] = field(default_factory=dict)
    told: Told = field(default_factory=Told)


@dataclass
class _MarketState:
    reason: str | None = "without_definition"
    """Why its changes give no ticks."""
    plan: Plan | None = None
    ladders: dict[RunnerKey, Ladder] = field(default_factory=dict)
    laddered: bool = False
    in_segments: bool = False
    told: dict[float, _Book] = field(default_factory=dict)
    settled: bool = False
    removed: frozenset[RunnerKey] = frozenset()


def collect_names(lines: Iterable[bytes], names: Names) -> None:
    """Learn the names in all definitions of a recording: many give them only at the end."""
    for line in lines:
        if b'"marketDefinition"' not in line:
            continue
        message = _message(line)
        for market_id, change in _changes(message) if message else ():
            if (definition := parse_definition(change.get("marketDefinition"))) is not None:
                names.learn_definition(market_id, definition)


def read_recording(
    lines: Iterable[bytes], account: Account, names: Names, *, league: str = SOURCE, shared: Shared | None = None
) -> Iterator[Event]:
    """Ticks in order of the recording, one for every book whose best prices or status a message changed.

    Its sequence is the number of the line. `league` goes into the match ids, because Betfair does not tell it.
    """
    reader = _Reader(account, names, league, shared or Shared())
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield from reader.read(number, line)


class _Reader:
    def __init__(self, account: Account, names: Names, league: str, shared: Shared) -> None:
        self._account = account
        self._names = names
        self._league = league
        self._shared = shared
        self._markets: dict[str, _MarketState] = {}

    def read(self, number: int, line: bytes) -> Iterator[Event]:
        message = _message(line)
        if message is None:
            self._account.reject(number, "torn_line", line)
            return
        if message.get("op") != "mcm":
            self._account.skip("not_a_market_message")
            return
        at = _published(message.get("pt"))
        if at is None:
            self._account.reject(number, "no_publish_time", line)
            return
        touched: Counter[str] = Counter()
        for market_id, change in _changes(message):
            touched[market_id] += 1
            self._apply(number, market_id, change)
        if not touched:
            self._account.skip("heartbeat")
        for market_id, changes in touched.items():
            yield from self._tell(market_id, changes, at, number)

    def _apply(self, number: int, market_id: str, change: dict[str, Any]) -> None:
        state = self._markets.setdefault(market_id, _MarketState())
        state.in_segments = change.get("segmentType") in ("SEG_START", "SEG")
        if change.get("img"):
            state.ladders.clear()
        if "marketDefinition" in change:
            self._define(number, market_id, state, change["marketDefinition"])
        if state.reason in _FOR_GOOD:
            return
        runners = change.get("rc")
        for runner in runners if isinstance(runners, list) else []:
            key = _runner_key(runner)
            if key is None:
                self._account.skip("not_a_runner")
                continue
            state.laddered |= has_ladder(runner)
            if wrong := state.ladders.setdefault(key, Ladder()).apply(runner):
                self._account.skip("not_a_number", wrong)

    def _define(self, number: int, market_id: str, state: _MarketState, raw: object) -> None:
        definition = parse_definition(raw)
        if definition is None:
            self._account.reject(number, "unreadable_definition", raw)
            return
        plan = plan_of(market_id, definition, self._names, self._league, self._shared.firsts)
        if not isinstance(plan, str):
            owner = self._shared.owners.setdefault((plan.match_id, plan.market), market_id)
            plan = plan if owner == market_id else "second_market_of_one_type"
        if isinstance(plan, str):
            state.plan, state.reason = None, plan
            return
        state.plan, state.reason = plan, None
        if fresh := len(plan.removed - state.removed):
            self._account.skip("runner_removed", fresh)
        state.removed = plan.removed
        if plan.trading is Trading.CLOSED and not state.settled:
            state.settled = True
            self._account.skip("settled_without_score")

    def _tell(self, market_id: str, changes: int, at: dt.datetime, number: int) -> Iterator[Event]:
        state = self._markets[market_id]
        if state.plan is None:
            self._account.skip(state.reason or "without_definition", changes)
            return
        if state.in_segments:
            self._account.skip("part_of_an_image", changes)
            return
        ticks = [tick for line in state.plan.lines if (tick := self._tick(state, state.plan, line, at, number))]
        if not ticks:
            self._account.skip("best_prices_unchanged", changes)
        for tick in ticks:
            yield self._account.count(Event(at, tick))

    def _tick(self, state: _MarketState, plan: Plan, line: Line, at: dt.datetime, number: int) -> Tick | None:
        book = _book(state, plan, line)
        before = state.told.get(line.line)
        nothing_yet = before is None and all(price is None for price in book[0])
        no_news = book == before and self._shared.told.knows(plan.match_id, plan.fixture)
        if nothing_yet or no_news:
            return None
        prices, lay, trading, in_play = book
        try:
            tick = Tick(
                match_id=plan.match_id,
                bookmaker=EXCHANGE if state.laddered else LAST_TRADED,
                market=plan.market,
                line=line.line,
                prices=prices,
                lay=lay,
                trading=trading,
                in_play=in_play,
                taken_at=at,
                sequence=number,
                source=SOURCE,
                fixture=self._shared.told.news(plan.match_id, plan.fixture),
            )
        except ValidationError as error:
            self._account.reject(number, "unusable_tick", error.errors()[0]["msg"])
            return None
        state.told[line.line] = book
        return tick


def _book(state: _MarketState, plan: Plan, line: Line) -> _Book:
    """Best prices and status of one line. An open market in which nothing is offered takes no bets: suspended."""
    if plan.trading is Trading.CLOSED:
        nothing = (None,) * len(line.runners)
        return nothing, nothing if state.laddered else None, Trading.CLOSED, plan.in_play
    ladders = [None if key in plan.removed else state.ladders.get(key) for key in line.runners]
    if state.laddered:
        prices = tuple(ladder.best_to_back() if ladder else None for ladder in ladders)
        lay = tuple(ladder.best_to_lay() if ladder else None for ladder in ladders)
    else:
        prices, lay = tuple(ladder.last_traded if ladder else None for ladder in ladders), None
    empty = all(price is None for price in prices)
    return prices, lay, Trading.SUSPENDED if empty else plan.trading, plan.in_play


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        message = from_json(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _changes(message: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    changes = message.get("mc")
    return [
        (str(change["id"]), change)
        for change in (changes if isinstance(changes, list) else [])
        if isinstance(change, dict) and "id" in change
    ]


def _runner_key(runner: Any) -> RunnerKey | None:
    if not isinstance(runner, dict) or not isinstance(runner.get("id"), int):
        return None
    handicap = runner.get("hc", 0.0)
    return RunnerKey(runner["id"], float(handicap)) if isinstance(handicap, int | float) else None


def _published(milliseconds: object) -> dt.datetime | None:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int):
        return None
    try:
        return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None
