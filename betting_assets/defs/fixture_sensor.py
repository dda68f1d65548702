"""Has matches that only a stream tells of known before they begin: without features there is no prediction."""

import datetime as dt
import hashlib
import json
import time

import dagster as dg

from betting_assets.defs.automation import STREAMED
from betting_assets.defs.partitions import day_tags
from betting_assets.defs.resources import Platform
from betting_assets.defs.stream_sensors import JOB
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.live_matches import missing_matches

INTERVAL = 10
AGAIN_SECONDS = 3600.0
"""A match is asked for again so much later: its run failed, or its fixture was refused and may have been corrected."""
MOST = 500
"""Matches of one run."""
TAG = "betting/fixtures"
# One that never began is not under way: it is asked for again under its key, and Dagster then begins it.
UNDER_WAY = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


@dg.sensor(
    job_name=JOB,
    minimum_interval_seconds=INTERVAL,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests one run of settle_live for matches that landed odds tell of and the history lacks: their"
    " fixtures, first books and features. One run at a time.",
)
def new_fixtures(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """The cursor holds when each match that is still missing was asked for."""
    if context.instance.get_run_records(dg.RunsFilter(tags={TAG: "yes"}, statuses=UNDER_WAY), limit=1):
        return dg.SkipReason("a run deals with new fixtures")
    with connect(platform.url) as conn:
        missing = missing_matches(conn)
    now, before = time.time(), json.loads(context.cursor or "{}")
    asked: dict[str, float] = {match: before[match] for match in missing if match in before}
    due = [match for match in missing if now - asked.get(match, 0.0) >= AGAIN_SECONDS][:MOST]
    cursor = json.dumps(asked | dict.fromkeys(due, now))
    if not due:
        return dg.SensorResult(skip_reason=_why_not(missing), cursor=cursor)
    config = {"ops": {STREAMED: {"config": {"matches": due}}}}
    tags = {TAG: "yes"} | day_tags([dt.datetime.now(dt.UTC).date()])
    return dg.SensorResult([dg.RunRequest(run_key=_run_key(due, now), run_config=config, tags=tags)], cursor=cursor)


def _run_key(matches: list[str], now: float) -> str:
    """The same within the hour: a daemon that was killed before it kept the cursor asks for nothing twice."""
    digest = hashlib.sha256("\n".join(matches).encode()).hexdigest()[:16]
    return f"fixtures/{digest}/{now // AGAIN_SECONDS:.0f}"


def _why_not(missing: list[str]) -> str:
    if not missing:
        return "the history has every match with odds"
    return f"{len(missing)} matches were asked for within the hour and are not there, see unknown_matches of {STREAMED}"
