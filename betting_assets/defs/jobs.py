"""Jobs: the graph in five moves, each also what a person would press in the UI."""

from __future__ import annotations

import dagster as dg

from betting_assets.defs.partitions import by_market, league_season
from betting_assets.defs.resources import end_mlflow_run

DRIFT = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("candidate_models"), "drift"))
"""Stands on the model, but belongs to the watch: in a training it would judge the model before."""

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
    selection=dg.AssetSelection.groups("3_training") - DRIFT,
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
    selection=dg.AssetSelection.assets("prediction_outcomes", "performance_report", "drift_report") | DRIFT,
    description="Settle predictions, score them, look for drift.",
)

JOBS = [ingest, build_features, train, deploy, monitor]
