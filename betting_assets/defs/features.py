"""From history to features: ratings, form and the market as they stood when each match's odds were taken."""

from collections.abc import Iterator

import dagster as dg
import pandas as pd

from betting_assets.betting.odds import MarginMethod
from betting_assets.defs.automation import STREAMED, follow_upstream, watch_store
from betting_assets.defs.metadata import (
    OWNERS,
    expectation_result,
    expectation_spec,
    feature_metadata,
    picture,
    table,
)
from betting_assets.defs.resources import Platform
from betting_assets.modelling import feature_tables
from betting_assets.modelling.freshness import freshness
from betting_assets.warehouse.bulk import read_frame
from betting_assets.warehouse.features import write_feature_table
from betting_assets.warehouse.fixtures import upcoming_matches
from betting_assets.warehouse.history import read_books, read_matches, read_results, read_statistics

GROUP = "2_features"
VIEWS = ("match_strength", "match_market")
"""Feast's views by name. A test holds it to the list in feature_repo, whose import takes seconds of Feast."""
FRESHNESS_CRON = "*/30 * * * *"
WORST_ROWS = 20


@dg.asset(
    deps=["match_results", "bookmaker_odds", STREAMED],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"python", "postgres"},
    automation_condition=follow_upstream(),
    check_specs=[expectation_spec("team_ratings")],
)
def team_ratings(
    platform: dg.ResourceParam[Platform],
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Pi-ratings (Constantinou and Fenton) and Elo with margin of victory, before each match.

    A whole date is rated from the state before it, and a match sees only results known when its odds were taken.
    """
    matches, results = read_matches(platform.url), read_results(platform.url)
    ratings = feature_tables.ratings_table(matches, results, _decided_at(platform.url, matches))
    counts = write_feature_table(platform.url, "team_ratings", ratings, replace=True)
    yield dg.MaterializeResult(
        asset_key="team_ratings",
        metadata={
            **feature_metadata(ratings, counts, "team_ratings"),
            "ratings_over_time": _ratings_picture(ratings, matches),
        },
    )
    yield expectation_result(platform.url, "team_ratings", "features.team_ratings")


@dg.asset(
    deps=["match_results", "bookmaker_odds", STREAMED],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"python", "postgres"},
    automation_condition=follow_upstream(),
    check_specs=[expectation_spec("team_form")],
)
def team_form(platform: dg.ResourceParam[Platform]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Exponentially weighted goals, shots, shots on target and points of both teams, before each match."""
    matches, results = read_matches(platform.url), read_results(platform.url)
    statistics = read_statistics(platform.url)
    form = feature_tables.form_table(matches, results, statistics, _decided_at(platform.url, matches))
    counts = write_feature_table(platform.url, "team_form", form, replace=True)
    yield dg.MaterializeResult(asset_key="team_form", metadata=feature_metadata(form, counts, "team_form"))
    yield expectation_result(platform.url, "team_form", "features.team_form")


@dg.asset(
    deps=["match_results", "bookmaker_odds", STREAMED],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"python", "postgres"},
    automation_condition=follow_upstream(),
    check_specs=[expectation_spec("market_consensus")],
)
def market_consensus(platform: dg.ResourceParam[Platform]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Margin-free probabilities of the reference book before the close, for every modelled market."""
    books = read_books(platform.url, phases=["pre_close"])
    method = MarginMethod(platform.settings.margin_method)
    consensus = feature_tables.match_market(books, reference=platform.settings.reference_book, method=method)
    counts = write_feature_table(platform.url, "market_consensus", consensus, replace=True)
    yield dg.MaterializeResult(
        asset_key="market_consensus",
        metadata={
            **feature_metadata(consensus, counts, "market_consensus"),
            "margin_method": method.value,
            "fallbacks": table(_fallbacks(consensus)),
            "overround": _margin_picture(consensus, read_matches(platform.url)),
        },
    )
    yield expectation_result(platform.url, "market_consensus", "features.market_consensus")


@dg.asset(
    deps=[team_ratings, team_form, market_consensus],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres"},
    automation_condition=follow_upstream(),
    check_specs=[
        expectation_spec("match_features", "strength_expectations"),
        expectation_spec("match_features", "market_expectations"),
    ],
)
def match_features(platform: dg.ResourceParam[Platform]) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """The two tables that Feast reads: match_strength (no odds) and match_market (no closing odds)."""
    matches = read_matches(platform.url)
    ratings, form, market = (
        _read_features(platform.url, name) for name in ("team_ratings", "team_form", "market_consensus")
    )
    strength = feature_tables.match_strength(matches, ratings, form)
    counts = write_feature_table(platform.url, "match_strength", strength, replace=True)
    market_counts = write_feature_table(platform.url, "match_market", market, replace=True)
    yield dg.MaterializeResult(
        asset_key="match_features",
        metadata={
            **feature_metadata(strength, counts, "match_strength"),
            "market_rows": len(market),
            "market_inserted": market_counts.inserted,
            "market_updated": market_counts.updated,
        },
    )
    yield expectation_result(platform.url, "match_features", "features.match_strength", "strength_expectations")
    yield expectation_result(platform.url, "match_features", "features.match_market", "market_expectations")


@dg.asset(
    deps=[match_features],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"feast", "postgres"},
    automation_condition=follow_upstream(),
)
def feature_definitions(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Feast's registry: one entity, a view for strength and one for the market, a feature service for every model."""
    from feature_repo.operations import VIEWS, apply_definitions
    from feature_repo.services import FEATURE_SERVICES

    changes = apply_definitions(platform.feature_store)
    views = pd.DataFrame([{"view": v.name, "features": len(v.features), "ttl": str(v.ttl)} for v in VIEWS])
    services = pd.DataFrame([{"service": s.name, "description": s.description} for s in FEATURE_SERVICES])
    return dg.MaterializeResult(
        metadata={
            "changes": dg.MetadataValue.md("\n".join(f"- {change}" for change in changes) or "none"),
            "views": table(views),
            "services": table(services),
        }
    )


@dg.asset(
    deps=[feature_definitions],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"feast", "postgres"},
    automation_condition=follow_upstream(),
)
def online_features(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Features of the upcoming matches in Feast's online store, where the service reads them by match id."""
    from feature_repo.operations import materialize_upcoming

    upcoming = upcoming_matches(platform.url)
    if upcoming.empty:
        return dg.MaterializeResult(metadata={"dagster/row_count": 0, "why": "there is no upcoming match"})
    start, end = upcoming["event_timestamp"].min(), upcoming["odds_time"].fillna(upcoming["event_timestamp"]).max()
    counts = materialize_upcoming(platform.feature_store, start.to_pydatetime(), end.to_pydatetime())
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": max(counts.values()),
            "written": counts,
            "upcoming": len(upcoming),
            "matches": table(upcoming),
        }
    )


def _freshness_check(view: str) -> dg.AssetChecksDefinition:
    """The check that one view of the online store keeps up with the offline tables."""

    @dg.asset_check(
        asset=online_features,
        name=f"{view}_is_fresh",
        additional_deps=[match_features],
        description=f"Fails when an upcoming match is missing from the online view {view}, behind its offline row, or"
        " expired. Ages are told by the store's clock: in a replay, the time of the data.",
        automation_condition=watch_store("online_features", FRESHNESS_CRON),
    )
    def is_fresh(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        from feast import FeatureService

        from feature_repo.online_read import OUTSIDE_MAX_AGE
        from feature_repo.operations import VIEWS as DEFINED
        from feature_repo.operations import read_online

        upcoming = upcoming_matches(platform.url)["match_id"].drop_duplicates().tolist()
        offline = _newest_rows(platform.url, view, upcoming)
        if offline.empty:
            return dg.AssetCheckResult(passed=True, description="no upcoming match has features")
        everything = FeatureService(name="freshness", features=list(DEFINED))
        rows = read_online(platform.feature_store, everything, upcoming)
        online = pd.Series(rows.event_times[view], upcoming).dt.tz_localize("UTC")
        result = freshness(offline, online, rows.statuses[view] == OUTSIDE_MAX_AGE, pd.Timestamp(rows.read_at))
        return dg.AssetCheckResult(
            passed=result.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=result.told(),
            metadata={
                **result.faults,
                "matches": len(result.table),
                "median_age_hours": result.median_age,
                "oldest_age_hours": result.oldest_age,
                "store_clock": dg.MetadataValue.timestamp(rows.read_at),
                "worst": table(result.table, WORST_ROWS),
            },
        )

    return is_fresh


freshness_checks = [_freshness_check(view) for view in VIEWS]


def _newest_rows(url: str, view: str, match_ids: list[str]) -> pd.Series:
    """Time of the newest offline row by match_id, for matches that have one."""
    if not match_ids:
        return pd.Series(dtype="datetime64[ns, UTC]")
    query = f"SELECT match_id, max(event_timestamp) AS newest FROM features.{view} WHERE match_id = ANY($1) GROUP BY 1"  # noqa: S608
    return read_frame(url, query, [match_ids]).set_index("match_id")["newest"]


def _decided_at(url: str, matches: pd.DataFrame) -> pd.Series:
    """Decision times, from the first price before the close of each match."""
    first = read_frame(
        url, "SELECT match_id, min(taken_at) AS taken_at FROM core.book WHERE phase = 'pre_close' GROUP BY match_id"
    )
    return feature_tables.decision_times(matches, first.set_index("match_id")["taken_at"])


def _read_features(url: str, name: str) -> pd.DataFrame:
    table = read_frame(url, f'SELECT * FROM features."{name}"')  # noqa: S608
    return table.drop(columns=["updated_at", "pushed_at"], errors="ignore")


def _fallbacks(consensus: pd.DataFrame) -> pd.DataFrame:
    """How many matches took which book as the market."""
    columns = [name for name in consensus.columns if name.endswith("_book")]
    counts = [consensus[name].value_counts().rename_axis("book").reset_index(name="matches") for name in columns]
    return pd.concat([c.assign(market=name) for c, name in zip(counts, columns, strict=True)])


def _ratings_picture(ratings: pd.DataFrame, matches: pd.DataFrame) -> dg.MarkdownMetadataValue:
    from betting_assets.modelling.pictures import ratings_picture

    league = str(matches["league"].value_counts().index[0])
    return picture(ratings_picture(ratings, matches, league))


def _margin_picture(consensus: pd.DataFrame, matches: pd.DataFrame) -> dg.MarkdownMetadataValue:
    from betting_assets.modelling.pictures import margin_picture

    return picture(margin_picture(consensus, matches))
