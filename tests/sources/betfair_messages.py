"""Betfair stream messages typed by hand, for tests."""

from __future__ import annotations

import json
from typing import Any

MARKET = "1.23"
EVENT = "77"
START = 1_700_000_000_000
RUNNERS = [(10, "Alder Rovers", 1), (20, "Bracken Vale", 2), (58805, "The Draw", 3)]


def definition(**changes: Any) -> dict[str, Any]:
    """A MATCH_ODDS definition; `runners` are (id, name, sort priority) or whole dicts."""
    runners = [
        runner
        if isinstance(runner, dict)
        else {"id": runner[0], "name": runner[1], "sortPriority": runner[2], "status": "ACTIVE"}
        for runner in changes.pop("runners", RUNNERS)
    ]
    told = {
        "status": "OPEN",
        "inPlay": False,
        "marketType": "MATCH_ODDS",
        "eventTypeId": "1",
        "eventId": EVENT,
        "eventName": "Alder Rovers v Bracken Vale",
        "marketTime": "2023-11-15T15:00:00.000Z",
        "runners": runners,
    } | changes
    return {name: value for name, value in told.items() if value is not None}


def line(*changes: dict[str, Any], pt: Any = START, **more: Any) -> bytes:
    return json.dumps({"op": "mcm", "pt": pt, "mc": list(changes), **more}).encode()


def change(runners: dict[int, dict[str, Any]] | None = None, *, market: str = MARKET, **more: Any) -> dict[str, Any]:
    """One `mc` entry: {runner: {"atb": …}}."""
    return {"id": market, "rc": [{"id": one, **values} for one, values in (runners or {}).items()], **more}


def defined(*, market: str = MARKET, **changes: Any) -> dict[str, Any]:
    return {"id": market, "marketDefinition": definition(**changes)}


def offers(home: float, draw: float, away: float) -> dict[int, dict[str, Any]]:
    """The best prices to back, alone in their ladders."""
    return {
        10: {"atb": [[home, 5]], "atl": [[round(home + 0.1, 2), 5]]},
        58805: {"atb": [[draw, 5]], "atl": [[round(draw + 0.1, 2), 5]]},
        20: {"atb": [[away, 5]], "atl": [[round(away + 0.1, 2), 5]]},
    }
