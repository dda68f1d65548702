"""Messages as the lander leaves them: rows of schema stream, and the lander's positions."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from betting_assets.streaming.topics import MATCH_RESULTS, ODDS_TICKS

NAN = float("nan")
KICKOFF = dt.datetime(2026, 3, 7, 15, tzinfo=dt.UTC)
MATCH = "xx_2026-03-07_ash_birch"
FIXTURE = {
    "sport": "football",
    "league": "XX",
    "season": "2526",
    "home": "ash",
    "away": "birch",
    "match_date": "2026-03-07",
    "kickoff": "2026-03-07T15:00:00Z",
}


@dataclass
class Landed:
    """Lands messages at the next offsets of a partition."""

    conn: psycopg.Connection
    offsets: dict[tuple[str, int, int], int] = field(default_factory=dict)

    def tick(self, minutes: float, prices: tuple[float, ...] = (2.0, 3.5, 4.0), **more: Any) -> None:
        """A tick of MATCH so many minutes after its kick-off."""
        row = {
            "match_id": MATCH,
            "bookmaker": "acme",
            "market": "1x2",
            "line": 0.0,
            "prices": list(prices),
            "trading": "open",
            "in_play": False,
            "taken_at": KICKOFF + dt.timedelta(minutes=minutes),
            "sequence": 0,
            "source": "test",
            "fixture": None,
        } | more
        self._land(ODDS_TICKS.base, "stream.odds_tick", row)

    def result(self, home: int | None = 2, away: int | None = 1, minutes: float = 110, **more: Any) -> None:
        """A result of MATCH, told so many minutes after its kick-off; void without a score."""
        row = {
            "match_id": MATCH,
            "status": "void" if home is None else "final",
            "home_score": home,
            "away_score": away,
            "statistics": {},
            "finished_at": KICKOFF + dt.timedelta(minutes=minutes),
            "sequence": 0,
            "source": "test",
            "fixture": FIXTURE,
        } | more
        self._land(MATCH_RESULTS.base, "stream.match_result", row)

    def _land(self, topic: str, table: str, row: dict[str, Any]) -> None:
        epoch, partition = row.pop("epoch", 1), row.pop("partition", 0)
        offset = self.offsets.get((topic, epoch, partition), 0)
        self.offsets[topic, epoch, partition] = offset + 1
        row |= {"epoch": epoch, "partition": partition, "offset": offset, "produced_at": row.get("taken_at", KICKOFF)}
        cells = [Jsonb(value) if isinstance(value, dict) else value for value in row.values()]
        columns = ", ".join(f'"{name}"' for name in row)
        places = ", ".join(["%s"] * len(row))
        self.conn.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", cells)  # noqa: S608
        self.position(topic, partition, epoch, offset + 1)

    def position(self, topic: str, partition: int, epoch: int, next_offset: int) -> None:
        self.conn.execute(
            """INSERT INTO stream.position (reader, topic, partition, epoch, next_offset)
               VALUES ('lander', %s, %s, %s, %s)
               ON CONFLICT (reader, topic, partition) DO UPDATE
                  SET epoch = excluded.epoch, next_offset = excluded.next_offset
                WHERE position.epoch <= excluded.epoch""",
            [topic, partition, epoch, next_offset],
        )
