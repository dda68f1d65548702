"""How the graph is cut: history by league and season, what streams bring by day, models by market."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from betting_assets.modelling.markets import MARKETS
from betting_assets.sources.source import Source

LEAGUES = dg.DynamicPartitionsDefinition(name="league")
SEASONS = dg.DynamicPartitionsDefinition(name="season")

league_season = dg.MultiPartitionsDefinition({"league": LEAGUES, "season": SEASONS})
"""Dynamic: the leagues and seasons are those of the configured source, and grow with it."""

by_day = dg.DailyPartitionsDefinition(start_date="2000-01-01", end_offset=1)
"""Days in UTC up to today. The lander takes no older message: recordings of old matches are replayed, too."""

by_market = dg.StaticPartitionsDefinition(list(MARKETS))

MOST_DAYS = 400
"""A run reports each day of its range by an event of its own."""

WHOLE_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def register_partitions(instance: dg.DagsterInstance, source: Source) -> list[tuple[str, str]]:
    """Add the source's leagues and seasons to the instance; returns its (league, season) pairs in order of time."""
    pairs = sorted(source.partitions(), key=lambda pair: (season_start(pair[1]), pair[0]))
    instance.add_dynamic_partitions("league", sorted({league for league, _ in pairs}))
    instance.add_dynamic_partitions("season", sorted({season for _, season in pairs}, key=season_start))
    return pairs


def range_tags(instance: dg.DagsterInstance) -> dict[str, str]:
    """Run tags that cover every league and season in one run.

    A single-run backfill from the UI makes one run a league, because it cuts the product of two dimensions into ranges
    of the first; a range that spans both dimensions is one run.
    """
    leagues, seasons = (instance.get_dynamic_partitions(name) for name in ("league", "season"))
    if not leagues or not seasons:
        raise ValueError("no league or season is registered yet: ingest data first")
    ends = (f"{leagues[0]}|{seasons[0]}", f"{leagues[-1]}|{seasons[-1]}")
    return dict(zip(WHOLE_RANGE, ends, strict=True))


def day_tags(days: Sequence[dt.date]) -> dict[str, str]:
    """Run tags that cover `days` and what lies between, in one run; no more than MOST_DAYS up to the last one."""
    last = _within(max(days))
    first = max(_within(min(days)), last - dt.timedelta(days=MOST_DAYS - 1))
    return dict(zip(WHOLE_RANGE, (first.isoformat(), last.isoformat()), strict=True))


def day_key(day: dt.date) -> str:
    """The partition of a day; that of the nearest one where it has none, as the first minutes of tomorrow."""
    return _within(day).isoformat()


def _within(day: dt.date) -> dt.date:
    today = dt.datetime.now(dt.UTC).date()
    return min(max(day, by_day.start.date()), today)


def season_start(season: str) -> int:
    """The year in which a four-digit season code begins: '9394' → 1993, '1718' → 2017."""
    if not (season.isdigit() and len(season) == 4):
        raise ValueError(f"season {season!r} is not a four-digit code such as 1718 for 2017/18")
    year = int(season[:2])
    return (1900 if year >= 50 else 2000) + year
