"""Jobs: the graph in six moves, each also what a person would press in the UI."""

from __future__ import annotations

import dagster as dg

from betting_assets.defs.partitions import by_market, league_season
from betting_assets.defs.resources import end_mlflow_run

CAUSES = dg.AssetSelection.checks_for_assets("training_set")
"""They stand on the training set, but belong to the watch: in a training they would judge the models before."""

WATCH = dg.AssetSelection.assets("prediction_outcomes", "performance_report", "drift_report") | CAUSES

SKEW = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("prediction_outcomes"), "skew"))

ingest = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.assets("match_results", "bookmaker_odds"),
    partitions_def=league_season,
    description="Read the source into PostgreSQL, any number of leagues and seasons in one run.",
)

build_features = dg.define_asset_job(
    "build_features",
    selection=dg.AssetSelection.groups("2_features"),
    description="Ratings, form and market, Feast definitions, online features of the upcoming matches.",
)

train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.groups("3_training") - CAUSES,
    partitions_def=by_market,
    hooks={end_mlflow_run},
    description="Training set, candidates, walk-forward evaluation, gate and promotion of one market.",
)

deploy = dg.define_asset_job(
    "deploy",
    selection=dg.AssetSelection.groups("4_deployment"),
    description="Build the champions into a Bento, prove it, make it live.",
)

monitor = dg.define_asset_job(
    "monitor",
    selection=WATCH,
    description="Settle predictions, score them, look for drift and the other causes to retrain.",
)

settle_live = dg.define_asset_job(
    "settle_live",
    selection=dg.AssetSelection.assets("live_history") | dg.AssetSelection.groups("2_features") | WATCH - SKEW,
    description="A micro-batch: live results into the history, features of the matches to come, what became of the"
    " predictions, causes to retrain. Without the skew check, whose point-in-time join costs more than all of it.",
)

JOBS = [ingest, build_features, train, deploy, monitor, settle_live]
