"""kill -9 of the Dagster daemon, alone and with its runs, while results arrive: every range is dealt with once."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from daemons import running, until
from landed import FIXTURE, KICKOFF, Landed

from betting_assets.defs.launch import fail_interrupted_runs
from betting_assets.sources.records import match_id
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.history import read_results

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

TOPIC = "match.results.v1"
LOCATION = Path(__file__).with_name("daemon_location.py")


class Season:
    """Results that arrive: of another match each time, sometimes with a correction."""

    def __init__(self, landed: Landed) -> None:
        self._landed = landed
        self.scores: dict[str, tuple[int, int]] = {}

    def arrive(self, n: int) -> None:
        for _ in range(n):
            number = len(self.scores)
            day = KICKOFF.date() + dt.timedelta(days=number % 3)
            home, away = f"home{number}", f"away{number}"
            name = match_id("XX", day, home, away)
            fixture = FIXTURE | {"home": home, "away": away, "match_date": day.isoformat(), "kickoff": None}
            minutes = 24 * 60 * (number % 3) + 110
            for sequence in range(1 + number % 2):
                score = (number % 7, sequence)
                self._landed.result(
                    *score, match_id=name, fixture=fixture, partition=number % 2, minutes=minutes, sequence=sequence
                )
                self.scores[name] = score


def test_a_daemon_that_is_killed_again_and_again_loses_and_doubles_no_range(
    database: str, variables: dict[str, str], instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    log = tmp_path / "daemon.log"
    with connect(database, autocommit=True) as conn, running(LOCATION, variables, log) as daemon:
        season = Season(Landed(conn))

        def planned() -> int:
            row = conn.execute("SELECT count(*) FROM stream.planned_range").fetchone()
            return int(row[0]) if row else 0

        def all_done() -> bool:
            row = conn.execute(
                """SELECT count(*) FILTER (WHERE done_at IS NULL) = 0 AND
                          coalesce(sum(to_offset - from_offset), 0) = (SELECT sum(next_offset) FROM stream.position)
                     FROM stream.planned_range"""
            ).fetchone()
            return bool(row and row[0])

        for round_ in range(4):
            before = planned()
            season.arrive(3)
            until(lambda before=before: planned() > before, f"round {round_}: results are planned", log)
            # At another moment each time: just planned, requested, starting, merging.
            time.sleep(round_ * 2.0)
            season.arrive(2)
            daemon.kill(with_runs=bool(round_ % 2))
            if round_ % 2:
                fail_interrupted_runs(instance)
            daemon.start()
        season.arrive(3)
        until(all_done, "every range is done", log)

        assert ranges_are_whole(conn)
        stored = read_results(database)
        assert (
            dict(zip(stored["match_id"], zip(stored["home_score"], stored["away_score"], strict=True), strict=True))
            == season.scores
        )
        keys = Counter(run.tags["dagster/run_key"] for run in instance.get_runs(dg.RunsFilter(job_name="settle_live")))
        assert max(keys.values()) == 1
        last = {key for (key,) in conn.execute("SELECT run_key FROM stream.planned_range")}
        assert last <= keys.keys()
        until(lambda: reported(instance) >= set(landed_offsets(conn)), "every landed result is reported", log)


def ranges_are_whole(conn) -> bool:  # type: ignore[no-untyped-def]
    """Of each partition they lie end to end from the beginning."""
    rows = conn.execute(
        "SELECT epoch, partition, from_offset, to_offset FROM stream.planned_range ORDER BY 1, 2, 3"
    ).fetchall()
    ends: dict[tuple[int, int], int] = {}
    for epoch, partition, first, end in rows:
        if ends.get((epoch, partition), 0) != first:
            return False
        ends[epoch, partition] = end
    return bool(ends)


def landed_offsets(conn) -> list[tuple[str, int]]:  # type: ignore[no-untyped-def]
    rows = conn.execute('SELECT epoch, partition, "offset" FROM stream.match_result').fetchall()
    return [(f"{epoch}.{partition}", offset) for epoch, partition, offset in rows]


def reported(instance: dg.DagsterInstance) -> set[tuple[str, int]]:
    """Offsets that lie in what an event of live_results tells."""
    found = instance.fetch_materializations(dg.AssetKey("live_results"), limit=1000).records
    told = [record.asset_materialization.metadata["offsets"].value for record in found if record.asset_materialization]
    return {
        (log, offset)
        for offsets in told
        for log, (first, last) in offsets.items()  # type: ignore[union-attr]
        for offset in range(first, last + 1)
    }
