"""Scores of The Odds API, as JSON or as a table made of it → results."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from betting_assets.sources.feed import Account, Event, fixture_id, football_fixture, utc
from betting_assets.sources.odds_api.names import FOOTBALL_PREFIX, SOURCE, league_of
from betting_assets.sources.odds_api.rows import number
from betting_assets.sources.records import LiveResult

_TABLE = ("home_team", "away_team", "commence_time", "completed", "score_name", "score_value")


def is_scores_table(header: list[str]) -> bool:
    return set(_TABLE) <= set(header)


def events_of_table(content: bytes) -> list[dict[str, Any]]:
    """A table with a row for every team's score (or one row without scores), as the events of the API's answer."""
    events: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in csv.DictReader(io.StringIO(content.decode("utf-8-sig", "replace"), newline="")):
        key = tuple((row.get(name) or "").strip() for name in ("home_team", "away_team", "commence_time"))
        event = events.setdefault(
            key,
            {name: (row.get(name) or "").strip() for name in (*_TABLE[:3], "sport_key", "last_update")}
            | {"scores": []},
        )
        event["completed"] = (row.get("completed") or "").strip().lower() == "true"
        if row.get("score_name"):
            event["scores"].append({"name": row["score_name"], "score": row.get("score_value")})
    return list(events.values())


def results(events: list[Any], account: Account, *, league: str = "") -> Iterator[Event]:
    """Final results in order of time; `finished_at` is when the API last changed the score."""
    found = [
        event for place, raw in enumerate(events, 1) if (event := _result(place, raw, account, league)) is not None
    ]
    for event in sorted(found, key=lambda one: (one.at, one.record.match_id)):
        yield account.count(event)


def _result(place: int, event: Any, account: Account, league: str) -> Event | None:
    if not isinstance(event, dict):
        account.reject(place, "not_an_event", event)
        return None
    if event.get("completed") is not True:
        account.skip("not_completed")
        return None
    sport, home, away = (str(event.get(name) or "") for name in ("sport_key", "home_team", "away_team"))
    if sport and not sport.startswith(FOOTBALL_PREFIX):
        account.skip("unsupported_sport")
        return None
    starts, finished = utc(event.get("commence_time")), utc(event.get("last_update"))
    if starts is None or finished is None:
        account.reject(place, "no_time", event)
        return None
    fixture = football_fixture(league_of(sport) if sport else league or SOURCE, starts, home, away)
    goals = _goals(event, (home, away))
    if fixture is None or goals is None:
        account.reject(place, "unusable_names" if fixture is None else "no_score", event)
        return None
    try:
        record = LiveResult(
            match_id=fixture_id(fixture),
            home_score=goals[0],
            away_score=goals[1],
            finished_at=finished,
            sequence=0,
            source=SOURCE,
            fixture=fixture,
        )
    except ValidationError as error:
        account.reject(place, "unusable_score", error.errors()[0]["msg"])
        return None
    return Event(finished, record)


def _goals(event: Mapping[str, Any], sides: tuple[str, str]) -> tuple[int, int] | None:
    scores = event.get("scores")
    said = {
        " ".join(str(score.get("name")).split()): number(score.get("score"))
        for score in (scores if isinstance(scores, list) else [])
        if isinstance(score, dict)
    }
    goals = [said.get(" ".join(side.split())) for side in sides]
    if any(goal is None or goal != int(goal) for goal in goals):
        return None
    return int(goals[0] or 0), int(goals[1] or 0)
