"""What a Betfair market is about: its definition, held against the markets that the platform knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from betting_assets.sources.feed import fixture_id, football_fixture, utc
from betting_assets.sources.records import Fixture, Market, Trading

FOOTBALL = "1"
THE_DRAW = 58805
"""The selection of every draw in football."""

_OVER_UNDER = {"OVER_UNDER_25": 2.5}
_TRADING = {"OPEN": Trading.OPEN, "CLOSED": Trading.CLOSED}
"""SUSPENDED and INACTIVE take no bets."""

_BETWEEN = (" v ", " vs ", " V ")


class RunnerKey(NamedTuple):
    """A selection has one runner for every handicap of a market with several lines."""

    selection: int
    handicap: float


class Runner(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: int
    hc: float = 0.0
    name: str = ""
    sortPriority: int = 0
    status: str = "ACTIVE"

    @property
    def key(self) -> RunnerKey:
        return RunnerKey(self.id, self.hc)


class Definition(BaseModel):
    """The part of `marketDefinition` that matters here."""

    model_config = ConfigDict(extra="ignore")

    status: str
    inPlay: bool = False
    marketType: str | None = None
    eventTypeId: str = ""
    eventId: str = ""
    eventName: str = ""
    marketTime: str = ""
    runners: list[Runner] = []

    @property
    def trading(self) -> Trading:
        return _TRADING.get(self.status, Trading.SUSPENDED)


@dataclass
class Names:
    """Names of events and runners, which many recordings tell late or in a file of their own (a market catalogue)."""

    events: dict[str, str] = field(default_factory=dict)
    runners: dict[tuple[str, int], str] = field(default_factory=dict)
    """(market, selection) → name."""

    def learn_definition(self, market_id: str, definition: Definition) -> None:
        if definition.eventName:
            self.events.setdefault(definition.eventId, definition.eventName)
        for runner in definition.runners:
            if runner.name:
                self.runners.setdefault((market_id, runner.id), runner.name)

    def learn_catalogue(self, catalogue: Mapping[str, Any]) -> None:
        """A `listMarketCatalogue` answer for one market, as tools keep it beside a recording."""
        event = catalogue.get("event")
        if isinstance(event, dict) and event.get("name"):
            self.events.setdefault(str(event.get("id")), str(event["name"]))
        for runner in catalogue.get("runners") or []:
            if isinstance(runner, dict) and isinstance(runner.get("selectionId"), int) and runner.get("runnerName"):
                key = (str(catalogue.get("marketId")), runner["selectionId"])
                self.runners.setdefault(key, str(runner["runnerName"]))


@dataclass(frozen=True)
class Line:
    """One book: the runners in order of SELECTIONS[market]."""

    line: float
    runners: tuple[RunnerKey, ...]


@dataclass(frozen=True)
class Plan:
    """How the runners of a market become books."""

    market: Market
    match_id: str
    fixture: Fixture
    lines: tuple[Line, ...]
    removed: frozenset[RunnerKey]
    trading: Trading
    in_play: bool


def parse_definition(raw: object) -> Definition | None:
    try:
        return Definition.model_validate(raw)
    except ValidationError:
        return None


def plan_of(
    market_id: str, definition: Definition, names: Names, league: str, firsts: dict[str, Fixture]
) -> Plan | str:
    """How to read the market, or the reason why it is not read.

    `firsts` remembers what every event was first called and when it was to start: Betfair corrects both, even in play,
    and that must not make another match of it. Only the kick-off follows.
    """
    if definition.marketType is None:
        return "without_market_type"
    market = _market(definition)
    if market is None:
        return "unsupported_market_type"
    kickoff = utc(definition.marketTime)
    if kickoff is None:
        return "no_start_time"
    sides = _sides(market_id, definition, names, market)
    if sides is None:
        return "unnamed_runners"
    lines = _lines(definition, market, sides)
    if not lines:
        return "unexpected_runners"
    fixture = football_fixture(league, kickoff, sides.home_name, sides.away_name)
    if fixture is None:
        return "unusable_names"
    fixture = firsts.setdefault(definition.eventId or market_id, fixture).model_copy(update={"kickoff": kickoff})
    removed = frozenset(runner.key for runner in definition.runners if runner.status.startswith("REMOVED"))
    return Plan(market, fixture_id(fixture), fixture, lines, removed, definition.trading, definition.inPlay)


def _market(definition: Definition) -> Market | None:
    if definition.eventTypeId not in ("", FOOTBALL):
        return None
    if definition.marketType == "MATCH_ODDS":
        return Market.MATCH_RESULT
    if definition.marketType in _OVER_UNDER:
        return Market.OVER_UNDER
    return Market.ASIAN_HANDICAP if definition.marketType == "ASIAN_HANDICAP" else None


class _Sides(NamedTuple):
    home_name: str
    away_name: str
    first: int
    second: int


def _sides(market_id: str, definition: Definition, names: Names, market: Market) -> _Sides | None:
    """Names of both teams, and the selections of home and away, or of over and under; None where that is not known."""
    event = _tidy(definition.eventName or names.events.get(definition.eventId, ""))
    teams = _teams(event)
    selections = _selections(definition)
    called = {
        one: _tidy(next((r.name for r in definition.runners if r.id == one and r.name), ""))
        or _tidy(names.runners.get((market_id, one), ""))
        for one in selections
    }
    if market is Market.OVER_UNDER:
        over = [one for one in selections if called[one].lower().startswith("over")]
        under = [one for one in selections if called[one].lower().startswith("under")]
        known = teams is not None and len(over) == len(under) == 1
        return _Sides(*teams, over[0], under[0]) if known and teams else None
    contestants = [one for one in selections if one != THE_DRAW and called[one].lower() != "the draw"]
    if len(contestants) != 2:
        return None
    first, second = contestants
    if teams is None:
        # Without the event's name the order of the runners tells who is at home.
        return _Sides(called[first], called[second], first, second) if called[first] and called[second] else None
    if called[first] == teams[1] or called[second] == teams[0]:
        first, second = second, first
    return _Sides(*teams, first, second)


def _selections(definition: Definition) -> list[int]:
    """Every selection once, by sort priority: home, away, draw in football."""
    return list(dict.fromkeys(r.id for r in sorted(definition.runners, key=lambda runner: runner.sortPriority)))


def _lines(definition: Definition, market: Market, sides: _Sides) -> tuple[Line, ...]:
    keys = {runner.key for runner in definition.runners}
    if market is Market.MATCH_RESULT:
        draws = [one for one in _selections(definition) if one not in (sides.first, sides.second)]
        if len(draws) != 1:
            return ()
        wanted = [Line(0.0, tuple(RunnerKey(one, 0.0) for one in (sides.first, draws[0], sides.second)))]
    elif market is Market.OVER_UNDER:
        goals = _OVER_UNDER[definition.marketType or ""]
        wanted = [Line(goals, (RunnerKey(sides.first, 0.0), RunnerKey(sides.second, 0.0)))]
    else:
        handicaps = sorted(key.handicap for key in keys if key.selection == sides.first)
        # Plus zero, because minus zero would be another line in text.
        wanted = [Line(hc + 0.0, (RunnerKey(sides.first, hc), RunnerKey(sides.second, -hc))) for hc in handicaps]
    return tuple(line for line in wanted if keys.issuperset(line.runners))


def _teams(event: str) -> tuple[str, str] | None:
    for between in _BETWEEN:
        home, found, away = event.partition(between)
        if found and home.strip() and away.strip():
            return home.strip(), away.strip()
    return None


def _tidy(name: str) -> str:
    return " ".join(name.split())
