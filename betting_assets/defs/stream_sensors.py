"""What looks after the streams: reports what was landed, and has results settled in micro-batches.

Sensors consume no message. They compare offsets in PostgreSQL; the broker is asked for the lag only, within a budget.
"""

import datetime as dt
import json
from collections import Counter

import dagster as dg
import psycopg

from betting_assets.defs.partitions import day_key, day_tags
from betting_assets.defs.resources import Platform
from betting_assets.defs.streams import settle_config
from betting_assets.settings import Settings
from betting_assets.streaming.kafka import servers
from betting_assets.streaming.lag import Answer, EndOffsets
from betting_assets.streaming.topics import MATCH_RESULTS, ODDS_TICKS
from betting_assets.warehouse import ranges, tables
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.landed import Day, LandedTable, Marks, Summary, lag, sum_up
from betting_assets.warehouse.live import days_of

JOB = "settle_live"
INTERVAL = 5
BROKER_SECONDS = 0.15
REPORT_SECONDS = 0.06
MOST_EVENTS = 40
"""Reported in one tick, for each asset: the daemon writes each of them in some 20 ms."""
SUMMARY = 200
"""Characters of a run tag."""
GIVE_UP = dt.timedelta(minutes=10)
"""A micro-batch takes a minute; one that was started so long ago died without a word. Merging twice does no harm."""
PAUSE = dt.timedelta(seconds=30)
LONGEST_PAUSE = dt.timedelta(minutes=30)
"""Between a failed run and the next attempt at its ranges; doubled with each attempt."""


@dg.sensor(
    minimum_interval_seconds=INTERVAL,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports ticks and results that were landed as materializations of odds_ticks and live_results, one"
    " for each day and tick, with counts, offsets, lag and dead letters.",
)
def landed(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
    """What was reported twice, because the daemon was killed in between, names the same offsets."""
    settings = platform.settings
    broker = _broker("landed", settings)
    broker.ask()
    cursor: dict[str, dict[str, int]] = json.loads(context.cursor) if context.cursor else {}
    events: list[dg.AssetMaterialization] = []
    with connect(platform.url) as conn:
        for asset, one in _landed_tables(settings).items():
            marks = _marks(cursor.get(one.topic, {}))
            found = sum_up(conn, one, marks, seconds=REPORT_SECONDS, most_days=MOST_EVENTS)
            cursor[one.topic] = {f"{epoch}.{partition}": mark for (epoch, partition), mark in found.marks.items()}
            if found.days:
                behind = _lag(conn, broker.answer(BROKER_SECONDS), one.topic)
                events += _events(asset, found, behind)
    if not events:
        return dg.SensorResult(skip_reason="nothing new was landed", cursor=json.dumps(cursor))
    return dg.SensorResult(asset_events=events, cursor=json.dumps(cursor))


@dg.sensor(
    job_name=JOB,
    minimum_interval_seconds=INTERVAL,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Plans ranges of landed results, in PostgreSQL, and requests one run of settle_live for all that are"
    " new, one run at a time. Ranges of a run that failed or was killed are given out again.",
)
def settle_results(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """A plan that was committed when the daemon was killed is requested again by its key, which Dagster takes once."""
    topic = MATCH_RESULTS.name(platform.settings)
    broker = _broker("settle_results", platform.settings)
    broker.ask()
    with connect(platform.url) as conn:
        planned, why_not = _next_plan(conn, context.instance, topic)
        days = days_of(conn, planned.ranges) if planned else []
        if planned and not days:
            ranges.mark_done(conn, planned.ranges)
            planned, why_not = None, "nothing but dead letters was landed"
        behind = _lag(conn, broker.answer(BROKER_SECONDS), topic)
    if planned is None:
        return dg.SkipReason(f"{why_not}; {behind}")
    context.log.info(f"{planned.run_key}: {len(planned.ranges)} ranges; {behind}")
    summary = " ".join(str(one) for one in planned.ranges)
    tags = {"betting/topic": topic, "betting/offsets": summary[:SUMMARY]} | day_tags(days)
    config = {"ops": {op: {"config": values} for op, values in settle_config(planned.ranges).items()}}
    return dg.SensorResult([dg.RunRequest(run_key=planned.run_key, run_config=config, tags=tags)])


def _next_plan(conn: psycopg.Connection, instance: dg.DagsterInstance, topic: str) -> tuple[ranges.Plan | None, str]:
    """The plan to request now, or why there is none."""
    _end_dead_runs(instance)
    for plan in ranges.unfinished(conn, topic):
        run = _run_of(instance, plan)
        if run is None:
            return plan, ""
        if not run.dagster_run.is_finished:
            return None, f"run {run.dagster_run.run_id[:8]} deals with {plan.run_key}"
        if _age(run.end_time) > min(PAUSE * 2 ** min(plan.attempt - 1, 10), LONGEST_PAUSE):
            return ranges.hand_out_again(conn, plan), "somebody else was faster"
    return ranges.plan(conn, topic, tables.match_result), "no new result was landed"


def _end_dead_runs(instance: dg.DagsterInstance) -> None:
    """Their slot in the pool would keep the next one waiting for hours: the launcher cannot tell that they are dead."""
    under_way = dg.RunsFilter(job_name=JOB, statuses=[dg.DagsterRunStatus.STARTED])
    for record in instance.get_run_records(under_way, limit=10, ascending=True):
        if _age(record.start_time) > GIVE_UP:
            instance.report_run_failed(record.dagster_run, f"It has not ended in {GIVE_UP}: it is taken for dead.")
            instance.event_log_storage.free_concurrency_slots_for_run(record.dagster_run.run_id)


def _run_of(instance: dg.DagsterInstance, plan: ranges.Plan) -> dg.RunRecord | None:
    found = instance.get_run_records(dg.RunsFilter(tags={"dagster/run_key": plan.run_key}), limit=1)
    return found[0] if found else None


def _age(seconds: float | None) -> dt.timedelta:
    """Of a moment in seconds since 1970; of none: none."""
    return dt.timedelta() if seconds is None else dt.timedelta(seconds=dt.datetime.now(dt.UTC).timestamp() - seconds)


def _events(asset: str, found: Summary, behind: str) -> list[dg.AssetMaterialization]:
    """One event for each partition: the first minutes of tomorrow belong to today."""
    days: dict[str, list[Day]] = {}
    for day, one in sorted(found.days.items()):
        days.setdefault(day_key(day), []).append(one)
    return [
        dg.AssetMaterialization(
            asset,
            partition=key,
            description=f"{sum(one.rows for one in parts)} landed",
            metadata={
                "landed": sum(one.rows for one in parts),
                "by_source": _counts([one.sources for one in parts]),
                "by_kind": _counts([one.what for one in parts]),
                "offsets": {log: list(ends) for one in parts for log, ends in one.offsets.items()},
                "newest": dg.MetadataValue.timestamp(max(one.newest for one in parts if one.newest)),
                "dead_letters_since": found.dead_letters,
                "all_reported": found.complete,
                "lag": behind,
            },
        )
        for key, parts in days.items()
    ]


def _counts(counters: list[Counter[str]]) -> dict[str, int]:
    return {name: sum(one[name] for one in counters) for name in sorted({name for one in counters for name in one})}


def _lag(conn: psycopg.Connection, answer: Answer, topic: str) -> str:
    """How many messages wait for the lander, or the one line why nobody knows."""
    if answer.error:
        return f"lag is not known: {answer.error}; what is landed is dealt with"
    return f"{lag(conn, answer.ends, topic)} messages wait for the lander"


def _landed_tables(settings: Settings) -> dict[str, LandedTable]:
    return {
        "odds_ticks": LandedTable(ODDS_TICKS.name(settings), tables.odds_tick, "taken_at", "bookmaker"),
        "live_results": LandedTable(MATCH_RESULTS.name(settings), tables.match_result, "finished_at", "status"),
    }


def _marks(kept: dict[str, int]) -> Marks:
    split = ((key.partition("."), mark) for key, mark in kept.items())
    return {(int(epoch), int(partition)): mark for (epoch, _, partition), mark in split}


_ASKERS: dict[tuple[str, str, str], EndOffsets] = {}


def _broker(sensor: str, settings: Settings) -> EndOffsets:
    """The client of one sensor, kept from tick to tick."""
    key = (sensor, servers(settings), settings.topic_prefix)
    if key not in _ASKERS:
        _ASKERS[key] = EndOffsets(settings, [topic.name(settings) for topic in (ODDS_TICKS, MATCH_RESULTS)])
    return _ASKERS[key]
