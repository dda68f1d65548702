"""The watch: what became of served predictions, how good they were, and whether the features still look as trained."""

from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.defs.automation import STREAMED, follow_upstream
from betting_assets.defs.deployment import live_deployment
from betting_assets.defs.metadata import OWNERS, table
from betting_assets.defs.resources import Platform
from betting_assets.defs.training import GATED
from betting_assets.modelling.feature_tables import KEYS
from betting_assets.modelling.markets import MARKETS, modelled_market
from betting_assets.modelling.performance import DATE_ONLY_START, performance, time_column
from betting_assets.modelling.settlement import settle_new
from betting_assets.modelling.shadow_evidence import evidence_table, shadow_evidence
from betting_assets.modelling.skew import feature_skew
from betting_assets.warehouse.bulk import read_frame
from betting_assets.warehouse.causes import newest_features
from betting_assets.warehouse.outcomes import count_outcomes, newest_outcomes, read_counting_outcomes
from betting_assets.warehouse.predictions import (
    MadeAt,
    read_shadow_pairs,
    rewritten_since,
    sample_online_reads,
)

if TYPE_CHECKING:
    from feast import FeatureStore

GROUP = "5_monitoring"
STILL = ("month", "home_matches", "away_matches", "home_days_since_match", "away_days_since_match")
"""Features that move by nature, and say nothing about drift."""


class SettlementConfig(dg.Config):
    """How to tell that a prediction came before the result."""

    replay: bool | None = None
    """Old matches served as upcoming: the time of the features counts, not the clock. None: as the platform does."""


@dg.multi_observable_source_asset(  # type: ignore[untyped-decorator]
    specs=[
        dg.AssetSpec(
            "prediction_log",
            group_name=GROUP,
            owners=OWNERS,
            kinds={"bentoml", "postgres"},
            description="Every answered prediction, and what the challenger would have said, written by the service;"
            " observed, not made here.",
            automation_condition=dg.AutomationCondition.on_cron("*/15 * * * *"),
        )
    ]
)
def prediction_log(platform: dg.ResourceParam[Platform]) -> dg.ObserveResult:
    counts = read_frame(
        platform.url,
        "SELECT market, model_version, role, count(*) AS n, max(id) AS newest FROM serving.prediction_log"
        " GROUP BY 1, 2, 3",
    )
    newest = int(counts["newest"].max()) if len(counts) else 0
    return dg.ObserveResult(
        asset_key="prediction_log",
        data_version=dg.DataVersion(str(newest)),
        metadata={"dagster/row_count": int(counts["n"].sum()) if len(counts) else 0, "by_model": table(counts)},
    )


@dg.asset(
    deps=[prediction_log, "match_results", STREAMED, live_deployment],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres"},
    automation_condition=follow_upstream(),
)
def prediction_outcomes(config: SettlementConfig, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Logged predictions, champions' and challengers', settled against results; one made after the result was known
    is refused, and counted. Only what is new or corrected since is read."""
    settlement = settle_new(platform.url, _made_at(platform, config.replay))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": settlement.outcomes,
            "written": settlement.written,
            "waiting": settlement.waiting,
            "refused": settlement.refused,
            "newest": table(newest_outcomes(platform.url)),
        }
    )


class SkewConfig(dg.Config):
    """How much of the prediction log the skew check looks at."""

    reads: int = 2_000
    """Most reads in the sample."""
    days: int = 7
    """How far back it looks."""


@dg.asset_check(
    asset=prediction_outcomes,
    name="skew",
    description="Recomputes a sample of the logged reads of the online store, offline and as of the time of the read."
    " Fails when more of the values differ than settings.max_skewed_share: models are then served what they were not"
    " trained on.",
)
def skew(config: SkewConfig, platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
    """Training/serving skew. It stands on the outcomes, because what was served skewed is no measure of a model."""
    sampled = sample_online_reads(platform.url, config.reads, config.days)
    reads = sampled[sampled["market"].isin(list(MARKETS))]
    recomputed = {
        str(market): _recomputed(platform.feature_store, str(market), part) for market, part in reads.groupby("market")
    }
    # Asked for last: a row that is rewritten in the meantime must not count as served wrong.
    result = feature_skew(reads, recomputed, _rewritten(platform, reads))
    return dg.AssetCheckResult(
        passed=result.share <= platform.settings.max_skewed_share,
        severity=dg.AssetCheckSeverity.ERROR,
        description=result.told(platform.settings.max_skewed_share),
        metadata={
            "features": table(result.table),
            "share": result.share,
            "values": result.compared,
            "skewed": result.skewed,
            "rewritten": result.rewritten,
            "reads": result.reads,
            "read_before_their_time": int((reads["known_at"] > reads["feature_read_at"]).sum()),
            "of_markets_not_modelled": len(sampled) - len(reads),
        },
    )


@dg.asset(
    deps=[prediction_outcomes, "match_features"],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"python"},
    automation_condition=follow_upstream(),
)
def performance_report(config: SettlementConfig, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Scores of the predictions beside the market's on the same matches, by market, model version and role; and of
    challengers beside champions on the same requests."""
    made_at = _made_at(platform, config.replay)
    outcomes = read_counting_outcomes(platform.url, made_at, DATE_ONLY_START)
    market = read_frame(platform.url, "SELECT * FROM features.match_market WHERE pushed_at IS NULL")
    report = performance(outcomes, market)
    pairs = read_shadow_pairs(platform.url, made_at, DATE_ONLY_START)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(report),
            "report": table(report),
            "shadow": table(evidence_table(shadow_evidence(pairs))),
            "settled": count_outcomes(platform.url),
        }
    )


@dg.asset(
    deps=[prediction_log, live_deployment],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"evidently"},
    automation_condition=follow_upstream(),
)
def drift_report(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Features that the service saw against those its champion was trained on, by feature view; of the newest matches,
    each once. An HTML report a market is kept, of the last time that something drifted."""
    from betting_assets.modelling.drift import drift, render

    metadata: dict[str, dg.MetadataValue | int | float | str | bool] = {}
    for market in MARKETS:
        compared = _reference_and_current(platform, market)
        if compared is None:
            metadata[f"{market}_passed"], metadata[f"{market}_reason"] = True, "there is no champion"
            continue
        champion, reference, current, views = compared
        html = platform.home / "reports" / f"drift_{market}.html"
        result = drift(reference, current, views, platform.settings.max_drifted_share)
        if not result.passed:
            render(result, reference, current, html)
        metadata |= {
            f"{market}_champion": champion,
            f"{market}_share": result.share,
            f"{market}_passed": result.passed,
            f"{market}_reason": result.reason,
            f"{market}_rows": result.n_current,
            f"{market}_columns": table(result.drifted),
        }
        if html.exists():
            metadata[f"{market}_html"] = dg.MetadataValue.path(str(html))
    return dg.MaterializeResult(metadata=metadata)


def _made_at(platform: Platform, replay: bool | None) -> MadeAt:
    return time_column(platform.settings.replays if replay is None else replay)


def _reference_and_current(
    platform: Platform, market: str
) -> tuple[str, pd.DataFrame, pd.DataFrame, dict[str, list[str]]] | None:
    """The champion's name, its training rows, what it was given for the newest matches, the columns by view."""
    from betting_assets.defs.training import load_training_set
    from betting_assets.modelling.drift import NEWEST
    from betting_assets.modelling.registry import CHAMPION

    champion = platform.registry.by_alias(market, CHAMPION)
    if champion is None:
        return None
    dataset, _ = load_training_set(platform, market, champion.tags["data_hash"])
    columns = [name for name in champion.bundle().variants[GATED].features if name not in STILL]
    priced = set(modelled_market(market).market_columns)
    views = {
        "match_strength": [name for name in columns if name not in priced],
        "match_market": [name for name in columns if name in priced],
    }
    logged = newest_features(platform.url, market, champion.name, NEWEST)
    return champion.name, dataset.frame, logged.reindex(columns=columns).astype("float64"), views


def _recomputed(store: "FeatureStore", market: str, reads: pd.DataFrame) -> pd.DataFrame:
    """The features of each read from the offline store, as of its time; the index is that of `reads`."""
    from feature_repo.operations import point_in_time

    asked = reads[["match_id", "known_at"]].set_axis(KEYS, axis=1)
    found = point_in_time(store, market, asked.drop_duplicates(ignore_index=True))
    return asked.merge(found, on=KEYS, how="left", validate="many_to_one").set_index(reads.index)


def _rewritten(platform: Platform, reads: pd.DataFrame) -> dict[str, npt.NDArray[np.bool_]]:
    """By feature: which reads' offline rows were rewritten after the answer."""
    if reads.empty:
        return {}
    from feature_repo.operations import VIEWS

    late = {view.name: rewritten_since(platform.url, view.name, reads["id"].tolist()) for view in VIEWS}
    return {feature.name: late[view.name] for view in VIEWS for feature in view.features}
