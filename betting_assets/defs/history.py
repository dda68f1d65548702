"""Raw odds and results: what the configured source says, as canonical rows in PostgreSQL."""

import hashlib
from collections.abc import Iterator

import dagster as dg
import pandas as pd

from betting_assets.defs.metadata import OWNERS, declared_schema, expectation_result, expectation_spec, rows, table
from betting_assets.defs.partitions import league_season, range_tags, register_partitions, season_start
from betting_assets.defs.resources import Platform
from betting_assets.sources.batch import Batch
from betting_assets.sources.hold_back import hold_back_last_match_days, upcoming
from betting_assets.warehouse import tables
from betting_assets.warehouse.history import count_rows, write_batch

GROUP = "1_history"


class HistoryConfig(dg.Config):
    """How to read the source."""

    hold_back: bool | None = None
    """Keep the last match day's results back, so that it is upcoming; None: as the settings say."""


@dg.multi_asset(
    name="history",
    specs=[
        dg.AssetSpec(
            "match_results",
            group_name=GROUP,
            owners=OWNERS,
            kinds={"postgres", "pydantic"},
            description="Fixtures, results and statistics. Rejected rows are kept with file, line and reason.",
            metadata=declared_schema(tables.match),
        ),
        dg.AssetSpec(
            "bookmaker_odds",
            group_name=GROUP,
            owners=OWNERS,
            kinds={"postgres", "pydantic"},
            description="Books: one bookmaker's decimal odds on one line, before the close and at the close.",
            metadata=declared_schema(tables.book),
        ),
    ],
    check_specs=[
        expectation_spec("match_results"),
        expectation_spec("match_results", "score_expectations"),
        expectation_spec("bookmaker_odds"),
    ],
    partitions_def=league_season,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="history",
)
def history(
    context: dg.AssetExecutionContext, config: HistoryConfig, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Read each file once, write matches, results, statistics and books in one transaction."""
    wanted = _pairs(context.partition_keys)
    hold_back = platform.settings.replays if config.hold_back is None else config.hold_back
    batch, held = _load(platform, wanted, hold_back)
    counts = write_batch(platform.url, batch, source=platform.source.name)
    for warning in batch.warnings:
        context.log.warning(warning)
    if len(batch.rejected):
        context.log.warning(f"{len(batch.rejected)} rows of the input were rejected; see raw.rejected_row")
    context.log.info(f"{len(wanted)} partitions: {counts}")
    by_partition = count_rows(platform.url)
    yield dg.MaterializeResult(
        asset_key="match_results",
        metadata={
            **rows(len(batch.matches)),
            "results": len(batch.results),
            "upcoming": len(upcoming(batch)),
            "held_back": len(held),
            "rejected": len(batch.rejected),
            "rejected_rows": table(batch.rejected),
            "inserted": counts["matches"].inserted + counts["results"].inserted,
            "updated": counts["matches"].updated + counts["results"].updated,
            "leagues_and_seasons": table(by_partition),
        },
    )
    yield expectation_result(platform.url, "match_results", "core.match")
    yield expectation_result(platform.url, "match_results", "core.result", "score_expectations")
    yield dg.MaterializeResult(
        asset_key="bookmaker_odds",
        metadata={
            **rows(len(batch.books)),
            "prices": int(batch.books["prices"].map(len).sum()) if len(batch.books) else 0,
            "flagged": int(batch.books["flag"].notna().sum()),
            "inserted": counts["books"].inserted,
            "updated": counts["books"].updated,
            "by_bookmaker": table(_by_bookmaker(batch.books)),
        },
    )
    yield expectation_result(platform.url, "bookmaker_odds", "core.book")


def _pairs(keys: list[str] | tuple[str, ...]) -> list[tuple[str, str]]:
    """(league, season) of every multi-partition key, 'E0|1718'."""
    return [(league, season) for league, _, season in (key.partition("|") for key in keys)]


def _load(platform: Platform, wanted: list[tuple[str, str]], hold_back: bool) -> tuple[Batch, list[str]]:
    """The wanted partitions; with `hold_back`, each league's newest season loses its last match day."""
    leagues, seasons = sorted({league for league, _ in wanted}), sorted({season for _, season in wanted})
    batch = platform.source.load(leagues, seasons)
    if not hold_back:
        return batch, []
    newest = max((season for _, season in platform.source.partitions()), key=season_start)
    if newest not in seasons:
        return batch, []
    older = batch.select(None, [season for season in seasons if season != newest])
    latest, held = hold_back_last_match_days(batch.select(None, [newest]), platform.settings.hold_back_days)
    return Batch.merge([older, latest]), held


def _by_bookmaker(books: pd.DataFrame) -> pd.DataFrame:
    groups = books.groupby(["bookmaker", "market", "phase"], observed=True)
    return groups.agg(books=("match_id", "size"), flagged=("flag", "count")).reset_index()


@dg.sensor(
    job_name="ingest",
    minimum_interval_seconds=60,
    description="Registers leagues and seasons that appear in the source, and reads the whole source in one run.",
)
def new_partitions(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.SensorResult | dg.SkipReason:
    """One run for any number of new partitions: reading again changes nothing that is there already."""
    keys = ",".join(f"{league}|{season}" for league, season in register_partitions(context.instance, platform.source))
    if keys == context.cursor:
        return dg.SkipReason("the source has no new league or season")
    request = dg.RunRequest(run_key=hashlib.sha256(keys.encode()).hexdigest(), tags=range_tags(context.instance))
    return dg.SensorResult([request], cursor=keys)
