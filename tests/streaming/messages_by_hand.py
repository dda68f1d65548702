"""Messages as the broker would hand them over, typed by hand."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from betting_assets.streaming.landing.records import Message

MATCH = "e0_2026-11-21_arsenal_everton"
NOW = dt.datetime(2026, 11, 21, 15, 0, tzinfo=dt.UTC)
TAKEN = "2026-11-21T14:59:58.123456Z"


def tick(**changes: Any) -> dict[str, Any]:
    """The content of a valid tick, with these fields changed."""
    return {
        "match_id": MATCH,
        "bookmaker": "pinnacle",
        "market": "1x2",
        "line": 0.0,
        "prices": [2.1, 3.4, 3.9],
        "lay": None,
        "trading": "open",
        "in_play": False,
        "taken_at": TAKEN,
        "sequence": 7,
        "source": "by-hand",
        "fixture": None,
        "schema_version": 1,
    } | changes


def result(**changes: Any) -> dict[str, Any]:
    """The content of a valid result."""
    return {
        "match_id": MATCH,
        "status": "final",
        "home_score": 2,
        "away_score": 1,
        "statistics": {"home_shots": 11},
        "finished_at": TAKEN,
        "sequence": 1,
        "source": "by-hand",
        "fixture": {
            "sport": "football",
            "league": "E0",
            "season": "2627",
            "home": 'Arsenal "N5"',
            "away": "Everton",
            "match_date": "2026-11-21",
            "kickoff": "2026-11-21T13:00:00Z",
        },
        "schema_version": 1,
    } | changes


def prediction(**changes: Any) -> dict[str, Any]:
    """The content of a valid prediction."""
    return {
        "schema_version": 1,
        "prediction_id": f"{MATCH}/1x2/1.0.41",
        "match_id": MATCH,
        "market": "1x2",
        "line": 0.0,
        "probabilities": [0.5, 0.3, 0.2],
        "fair_odds": [2.0, 3.3333, 5.0],
        "market_probabilities": [],
        "best_prices": [2.1, 3.4, 3.9],
        "best_bookmakers": ["pinnacle", "book1", "book2"],
        "edges": [0.05, 0.02, -0.22],
        "withheld": None,
        "withheld_detail": None,
        "excluded": [{"bookmaker": "book9", "reason": "stale", "detail": "4,000 s old"}],
        "variant": "market_residual",
        "model_version": "3",
        "bento": "match_odds:x1",
        "tick_epoch": 1,
        "tick_partition": 0,
        "tick_offset": 41,
        "taken_at": TAKEN,
        "scored_at": TAKEN,
    } | changes


def encoded(content: Any) -> bytes:
    return content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()


def message(
    content: Any,
    key: bytes | None = MATCH.encode(),
    *,
    topic: str = "odds.ticks.v1",
    partition: int = 0,
    offset: int = 0,
    timestamp: int = int(NOW.timestamp() * 1000),
    headers: tuple[tuple[str, bytes], ...] = (),
) -> Message:
    """`content`: a dictionary, bytes as they are, or None."""
    value = None if content is None else encoded(content)
    return Message(topic, partition, offset, timestamp, key, value, headers)
