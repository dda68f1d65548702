"""From features to a champion: training set, candidates, walk-forward evaluation, gate. One partition a market."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from betting_assets.betting.odds import MarginMethod
from betting_assets.defs.automation import after_gate, follow_upstream, retrain
from betting_assets.defs.cause_log import last_trained, trained_metadata
from betting_assets.defs.causes import find_all, tag_with_cause
from betting_assets.defs.metadata import OWNERS, picture, table
from betting_assets.defs.partitions import by_market
from betting_assets.defs.resources import Platform
from betting_assets.modelling import feature_tables, summaries
from betting_assets.modelling.causes import ASKED_FOR
from betting_assets.modelling.dataset import Dataset, from_joined, strength_features
from betting_assets.modelling.gate import GATE_CHECKS, GateCheck, not_worse_in_shadow
from betting_assets.modelling.markets import modelled_market
from betting_assets.modelling.performance import DATE_ONLY_START, time_column
from betting_assets.modelling.prequential import on_newest
from betting_assets.modelling.recipe import RECIPE_TAG, Refresh, recipe, refresh_of
from betting_assets.modelling.shadow_evidence import ShadowEvidence, shadow_evidence
from betting_assets.modelling.variants import VariantName
from betting_assets.settings import settings
from betting_assets.warehouse.bulk import read_frame
from betting_assets.warehouse.history import read_books
from betting_assets.warehouse.models import find_snapshot, read_forecasts, record_evaluation, record_snapshot
from betting_assets.warehouse.predictions import read_shadow_pairs

if TYPE_CHECKING:
    from betting_assets.modelling.registry import Registered

GROUP = "3_training"
GATED = VariantName.MARKET_RESIDUAL
"""The variant that answers wherever there are odds, and so the one that the gate judges."""
GATE_TAG, PASSED = "gate", "passed"


@dg.asset(
    deps=["match_features", "feature_definitions"],
    partitions_def=by_market,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"feast", "parquet"},
    automation_condition=retrain(settings().retrain_cooldown_minutes),
)
def training_set(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """Feast's point-in-time join at the time of the odds, with outcomes and closing line; frozen, with its hash.

    The first of the chain that makes a champion: the run is tagged with the causes that hold when it begins.
    """
    from betting_assets.modelling.snapshot import freeze

    began, findings = time.time(), find_all(platform, context.instance, context.partition_key)
    cause = tag_with_cause(context.instance, context.run_id, context.partition_key, findings)
    spec = modelled_market(context.partition_key)
    frame = training_frame(platform, context.partition_key)
    dataset = from_joined(spec, frame, _strength_columns(frame))
    snapshot = freeze(frame, platform.home / "snapshots", context.partition_key)
    record_snapshot(
        platform.url,
        context.partition_key,
        f"{context.partition_key}_training",
        snapshot.sha256,
        len(frame),
        list(frame.columns),
        str(snapshot.path.relative_to(platform.home)),
    )
    return dg.MaterializeResult(
        metadata={
            **trained_metadata(began, findings, cause),
            "dagster/row_count": len(dataset),
            "snapshot": snapshot.sha256,
            "path": dg.MetadataValue.path(str(snapshot.path)),
            "dropped": dataset.dropped,
            "features": len(dataset.strength),
            "seasons": ", ".join(dataset.seasons),
            "newest": table(dataset.frame.tail(10)),
        }
    )


@dg.asset(
    deps=[training_set],
    partitions_def=by_market,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"lightgbm", "mlflow"},
    automation_condition=follow_upstream(),
    pool="training",
)
def candidate_models(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform], mlflow: dg.ResourceParam[Any]
) -> dg.MaterializeResult:
    """A bundle of both variants fitted on every row, registered in MLflow as the challenger."""
    import tempfile
    from pathlib import Path

    from betting_assets.modelling.bundle import fit_bundle

    market = context.partition_key
    dataset, digest = load_training_set(platform, market)
    bundle = fit_bundle(dataset, platform.settings.margin_method, digest)
    run_id = mlflow.active_run().info.run_id
    made = last_trained(context.instance, market)
    tags = {
        "dagster_run_id": context.run_id,
        "data_hash": digest,
        "feature_service": f"{market}_training",
        "cause": made.cause if made else ASKED_FOR,
        RECIPE_TAG: recipe(bundle),
    }
    mlflow.set_tags({**tags, "market": market})
    mlflow.log_params(summaries.parameters(bundle))
    with tempfile.TemporaryDirectory() as folder:
        registered = platform.registry.register(market, run_id, bundle.save(Path(folder) / "bundle"), tags)
    return dg.MaterializeResult(
        metadata={
            "model_version": registered.name,
            "mlflow_run": run_id,
            "snapshot": digest,
            "dagster/row_count": bundle.training_rows,
            "calibration": table(summaries.calibrations(bundle)),
            "strongest_features": table(summaries.importance(bundle)),
        }
    )


@dg.asset(
    deps=[candidate_models],
    partitions_def=by_market,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"lightgbm", "mlflow"},
    automation_condition=after_gate(),
    check_specs=[
        # Cut by market like the asset: else one market's pass would stand for the other's refusal.
        dg.AssetCheckSpec(name, asset="model_evaluation", blocking=True, partitions_def=by_market)
        for name in GATE_CHECKS
    ],
    pool="training",
)
def model_evaluation(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform], mlflow: dg.ResourceParam[Any]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Walk-forward by season against the market on the same matches, then the gate as blocking checks."""
    from betting_assets.modelling.backtest import flat_stakes
    from betting_assets.modelling.evaluation import MODELS, newest_testable, score, walk_forward
    from betting_assets.modelling.gate import gate
    from betting_assets.modelling.registry import CHALLENGER

    market = context.partition_key
    challenger = platform.registry.by_alias(market, CHALLENGER)
    if challenger is None:
        raise dg.Failure(f"no challenger is registered for {market}: materialize candidate_models first")
    dataset, digest = load_training_set(platform, market, challenger.tags["data_hash"])
    seasons = newest_testable(dataset, platform.settings.test_seasons)
    forecasts = walk_forward(dataset, seasons, MODELS, context.log.info)
    scores = score(forecasts)
    bets = {name.value: flat_stakes(forecasts, name) for name in MODELS}
    record_evaluation(
        platform.url,
        challenger.run_id,
        market,
        forecasts.dataset.frame["match_id"],
        forecasts.dataset.frame["season"],
        forecasts.probabilities,
        {name: {**values, "paper_bets": bets.get(name, {})} for name, values in scores.items()},
    )
    _log_metrics(mlflow, market, scores)
    champion, refresh = champion_forecasts(platform, market), _refresh(platform, challenger, dataset)
    yield dg.MaterializeResult(
        asset_key="model_evaluation",
        metadata={
            "model_version": challenger.name,
            "snapshot": digest,
            "test_seasons": ", ".join(seasons),
            "scores": table(summaries.score_table(scores)),
            "paper_bets": table(summaries.bet_table(bets)),
            "against_the_market": _evaluation_picture(scores, market),
            "reliability": _reliability_picture(forecasts, GATED),
        },
    )
    checks = gate(forecasts, scores, GATED, champion, _in_shadow(platform, challenger), refresh)
    _record_gate(platform, challenger, checks)
    for check in checks:
        yield dg.AssetCheckResult(
            asset_key="model_evaluation",
            check_name=check.name,
            passed=check.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=check.reason,
            metadata={"market": market, "reason": check.reason},
        )


@dg.asset(
    deps=[model_evaluation],
    partitions_def=by_market,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"mlflow"},
    automation_condition=after_gate(),
)
def champion_model(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
    """The challenger that passed the gate becomes the champion: the alias moves, nothing is copied.

    The gate's verdict is read from the version itself: a check that passed may have been about an earlier challenger.
    What the version did in shadow since is asked of the prediction log: after a rollback the verdict is old.
    """
    from betting_assets.modelling.registry import CHALLENGER, CHAMPION

    market = context.partition_key
    before = platform.registry.by_alias(market, CHAMPION)
    challenger = platform.registry.by_alias(market, CHALLENGER)
    if challenger is None:
        raise dg.Failure(f"no challenger is registered for {market}: materialize candidate_models first")
    if (verdict := challenger.tags.get(GATE_TAG, "not evaluated")) != PASSED:
        raise dg.Failure(f"{challenger.name} may not be promoted, the gate says: {verdict}; {_stays(before)}")
    live = not_worse_in_shadow(_in_shadow(platform, challenger))
    if not live.passed:
        raise dg.Failure(f"{challenger.name} may not be promoted, {live.name}: {live.reason}; {_stays(before)}")
    platform.registry.make_champion(market, challenger.version)
    return dg.MaterializeResult(
        metadata={
            "model_version": challenger.name,
            "before": before.name if before else "none",
            "mlflow_run": challenger.run_id,
            "snapshot": challenger.tags["data_hash"],
            "in_shadow": live.reason,
        }
    )


def training_frame(platform: Platform, market: str) -> pd.DataFrame:
    """Features joined point in time, with scores and closing line beside them as labels; played matches only."""
    from feature_repo.operations import point_in_time

    spec = modelled_market(market)
    played = read_frame(
        platform.url,
        """SELECT m.match_id, m.season, m.match_date, r.home_score, r.away_score,
                  coalesce(k.event_timestamp, s.event_timestamp) AS event_timestamp
             FROM core.match m JOIN core.result r USING (match_id)
             JOIN features.match_strength s ON s.match_id = m.match_id AND s.pushed_at IS NULL
             LEFT JOIN features.match_market k ON k.match_id = m.match_id AND k.pushed_at IS NULL
            ORDER BY m.match_date, m.match_id""",
    )
    if played.empty:
        raise dg.Failure("there is no played match with features: materialize match_results and match_features first")
    features = point_in_time(platform.feature_store, market, played[["match_id", "event_timestamp"]])
    books = read_books(platform.url, markets=[market], phases=["close"])
    method = MarginMethod(platform.settings.margin_method)
    closing = feature_tables.closing_line(books, reference=platform.settings.reference_book, method=method)
    frame = played.merge(features, on=["match_id", "event_timestamp"])
    return frame.merge(closing[["match_id", *spec.closing_columns]], on="match_id", how="left")


def load_training_set(platform: Platform, market: str, digest: str | None = None) -> tuple[Dataset, str]:
    """A frozen training set as a data set, with its hash; the newest one unless `digest` names another."""
    from betting_assets.modelling.snapshot import load

    found, path = find_snapshot(platform.url, market, digest)
    frame = load(platform.home / path)
    return from_joined(modelled_market(market), frame, _strength_columns(frame)), found


def champion_forecasts(platform: Platform, market: str) -> pd.DataFrame | None:
    """Out-of-sample forecasts of the champion as it was evaluated, or None without a champion."""
    from betting_assets.modelling.registry import CHAMPION

    champion = platform.registry.by_alias(market, CHAMPION)
    return None if champion is None else read_forecasts(platform.url, champion.run_id, market, GATED.value)


def _in_shadow(platform: Platform, challenger: "Registered") -> ShadowEvidence | None:
    """The challenger beside the present champion on the same requests; None where there is nothing of both."""
    from betting_assets.modelling.registry import CHAMPION

    champion = platform.registry.by_alias(challenger.market, CHAMPION)
    if champion is None:
        return None
    pairs = read_shadow_pairs(
        platform.url,
        time_column(platform.settings.replays),
        DATE_ONLY_START,
        challenger.market,
        challenger.name,
        champion.name,
    )
    return next(iter(shadow_evidence(pairs)), None)


def _refresh(platform: Platform, challenger: "Registered", dataset: Dataset) -> Refresh | None:
    """Whether the challenger is the champion's recipe on newer data; None where there is no champion.

    Args:
        dataset: what the challenger was trained on.
    """
    from betting_assets.modelling.registry import CHAMPION

    champion = platform.registry.by_alias(challenger.market, CHAMPION)
    if champion is None:
        return None
    try:
        theirs, _ = load_training_set(platform, challenger.market, champion.tags["data_hash"])
    except (LookupError, FileNotFoundError):
        return Refresh(False, f"the training set of {champion.name} is not kept any more")
    refresh = refresh_of(challenger.tags.get(RECIPE_TAG), champion.tags.get(RECIPE_TAG), dataset, theirs)
    if not refresh.holds:
        return refresh
    return replace(refresh, newest=on_newest(champion.bundle(), theirs, dataset, GATED))


def _record_gate(platform: Platform, challenger: "Registered", checks: list[GateCheck]) -> None:
    """Write the gate's verdict on the version that it is about, where MLflow shows it and promotion asks for it."""
    from betting_assets.modelling.registry import registered_name

    refusals = [f"{check.name}: {check.reason}" for check in checks if not check.passed]
    name, verdict = registered_name(challenger.market), "; ".join(refusals) or PASSED
    platform.registry.client.set_model_version_tag(name, challenger.version, GATE_TAG, verdict)


def _stays(champion: "Registered | None") -> str:
    return f"{champion.name} stays" if champion else "there is no champion"


def _strength_columns(frame: pd.DataFrame) -> tuple[str, ...]:
    """The strength features of a training frame: neither keys, labels nor anything of the market."""
    labels = {"home_score", "away_score"}
    names = [name for name in strength_features(frame) if name not in labels]
    return tuple(name for name in names if not name.startswith(("market_", "close_")))


def _log_metrics(mlflow: Any, market: str, scores: dict[str, Any]) -> None:
    names = ("log_loss", "rps", "brier", "ece", "n")
    mlflow.log_metrics({f"{market}.{model}.{m}": float(s[m]) for model, s in scores.items() for m in names if m in s})
    mlflow.log_text(json.dumps(scores, indent=1), f"evaluation_{market}.json")


def _evaluation_picture(scores: dict[str, Any], market: str) -> dg.MarkdownMetadataValue:
    from betting_assets.modelling.pictures import evaluation_picture

    return picture(evaluation_picture(scores))


def _reliability_picture(forecasts: Any, name: str) -> dg.MarkdownMetadataValue:
    from betting_assets.modelling.pictures import reliability_picture

    dataset = forecasts.dataset
    return picture(
        reliability_picture(forecasts.probabilities[name], dataset.outcomes, dataset.market.selections, name)
    )
