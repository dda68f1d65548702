"""What comes in from Kafka: ticks and results as the lander lands them, and what they add to the history."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg
import pandas as pd
from pydantic import Field
from sqlalchemy import Table

from betting_assets.defs.automation import STREAMED
from betting_assets.defs.launch import Stage
from betting_assets.defs.metadata import (
    OWNERS,
    Metadata,
    declared_schema,
    expectation_result,
    expectation_spec,
    rows,
    table,
)
from betting_assets.defs.partitions import by_day
from betting_assets.defs.resources import Platform
from betting_assets.settings import Settings
from betting_assets.streaming.topics import MATCH_RESULTS, ODDS_TICKS
from betting_assets.warehouse import tables
from betting_assets.warehouse.live import Merged, merge_live
from betting_assets.warehouse.ranges import OffsetRange

odds_ticks = dg.AssetSpec(
    "odds_ticks",
    group_name="0_streams",
    owners=OWNERS,
    kinds={"kafka", "postgres"},
    partitions_def=by_day,
    description="Every valid odds tick, exactly once, by the day on which its source took it. Landed by"
    " `betting stream land`; the sensor `landed` reports here what came in.",
    metadata=declared_schema(tables.odds_tick),
)

live_results = dg.AssetSpec(
    "live_results",
    group_name="0_streams",
    owners=OWNERS,
    kinds={"kafka", "postgres"},
    partitions_def=by_day,
    description="Every valid result, exactly once, by the day on which its match ended. Landed by"
    " `betting stream land`; the sensor `landed` reports here what came in.",
    metadata=declared_schema(tables.match_result),
)


class OffsetsConfig(dg.Config):
    """Offsets of one partition of a topic; `to_offset` is not among them."""

    topic: str
    partition: int
    from_offset: int
    to_offset: int
    epoch: int = 1
    """Which log of the topic, see stream.topic_log."""


class LiveConfig(dg.Config):
    """What to merge."""

    ranges: list[OffsetsConfig] = Field(default_factory=list)
    """The matches of these messages."""

    matches: list[str] = Field(default_factory=list)
    """These matches. Neither ranges nor matches: those that ended on the days of the run's partitions."""


@dg.asset(
    name=STREAMED,
    deps=[odds_ticks, live_results],
    group_name="1_history",
    owners=OWNERS,
    kinds={"postgres"},
    partitions_def=by_day,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="history",
    check_specs=[expectation_spec(STREAMED), expectation_spec(STREAMED, "score_expectations")],
)
def live_history(
    context: dg.AssetExecutionContext, config: LiveConfig, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """What streams know of matches: fixture and first books, then result, statistics and closing books, merged into the
    history. What files said stays. Merging a day or a range of offsets again changes nothing."""
    if config.ranges or config.matches:
        ranges = [_with_table(one, platform.settings) for one in config.ranges]
        merged = merge_live(platform.url, ranges=ranges, matches=config.matches)
    else:
        merged = merge_live(platform.url, days=[dt.date.fromisoformat(key) for key in context.partition_keys])
    for match, reason in merged.unknown.items():
        context.log.warning(f"{match}: {reason}")
    yield dg.MaterializeResult(asset_key=STREAMED, metadata=_told(merged))
    yield expectation_result(platform.url, STREAMED, "core.match")
    yield expectation_result(platform.url, STREAMED, "core.result", "score_expectations")


def settle_config(ranges: tuple[OffsetRange, ...]) -> dict[str, dict[str, object]]:
    """Configuration of the ops of a run that merges these ranges."""
    return {STREAMED: {"ranges": [vars(one) for one in ranges]}}


def settle_stage(day: dt.date, ranges: tuple[OffsetRange, ...] = ()) -> Stage:
    """The job `settle_live` for one day, or for `ranges` of offsets, for who runs it in this process."""
    return Stage("settle_live", "settle_live", day.isoformat(), ops=settle_config(ranges) if ranges else None)


def _with_table(one: OffsetsConfig, settings: Settings) -> tuple[Table, OffsetRange]:
    known = {
        MATCH_RESULTS.name(settings): tables.match_result,
        ODDS_TICKS.name(settings): tables.odds_tick,
    }
    if one.topic not in known:
        raise dg.Failure(f"ranges: no messages of the topic {one.topic!r} are kept: give {' or '.join(known)}")
    if not 0 <= one.from_offset < one.to_offset:
        raise dg.Failure(f"ranges: from_offset {one.from_offset} must be below to_offset {one.to_offset}")
    return known[one.topic], OffsetRange(one.topic, one.epoch, one.partition, one.from_offset, one.to_offset)


def _told(merged: Merged) -> Metadata:
    unknown = pd.DataFrame(sorted(merged.unknown.items()), columns=["match_id", "reason"])
    return {
        **rows(merged.matches),
        "matches_added": merged.added,
        "results_inserted": merged.results_inserted,
        "results_updated": merged.results_updated,
        "results_removed": merged.results_removed,
        "statistics_written": merged.statistics,
        "books_written": merged.books,
        "kept_from_files": merged.kept,
        "ranges_done": merged.ranges_done,
        "unknown_matches": table(unknown),
    }
