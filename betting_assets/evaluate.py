"""The walk-forward evaluation alone: files in, table and JSON out, without Dagster or services."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from betting_assets.betting.odds import MarginMethod
from betting_assets.modelling import feature_tables
from betting_assets.modelling.backtest import flat_stakes
from betting_assets.modelling.dataset import Dataset, assemble
from betting_assets.modelling.evaluation import MODELS, WITH_BASELINE_MODELS, score, walk_forward
from betting_assets.modelling.markets import modelled_market
from betting_assets.settings import Settings
from betting_assets.sources.batch import Batch
from betting_assets.sources.source import configured_source

Report = dict[str, dict[str, Any]]


def evaluate(
    settings: Settings, test_seasons: Sequence[str], market: str, progress: Callable[[str], None] | None = None
) -> Report:
    """Scores of every model and baseline on the test seasons, with paper bets for the models.

    Raises:
        SourceError, ValueError: one line that says what is wrong with the input or the choice.
    """
    spec = modelled_market(market)
    source = configured_source(settings.data, settings.leagues.split(","))
    dataset = dataset_of(source.load(), spec.market.value, settings)
    seasons = list(test_seasons) or dataset.seasons[-settings.test_seasons :]
    forecasts = walk_forward(dataset, seasons, WITH_BASELINE_MODELS, progress)
    scores = score(forecasts)
    bets = {name.value: flat_stakes(forecasts, name.value) for name in MODELS}
    return {name: {**values, **({"paper_bets": bets[name]} if name in bets else {})} for name, values in scores.items()}


def steps(test_seasons: Sequence[str], settings: Settings) -> int:
    """How often `progress` will be called."""
    return (len(test_seasons) or settings.test_seasons) * len(WITH_BASELINE_MODELS)


def dataset_of(batch: Batch, market: str, settings: Settings) -> Dataset:
    """Canonical frames → the data set of one market, features as of each match's decision time."""
    decided_at = feature_tables.decision_times(batch.matches, feature_tables.first_quotes(batch.books))
    ratings = feature_tables.ratings_table(batch.matches, batch.results, decided_at)
    form = feature_tables.form_table(batch.matches, batch.results, batch.statistics, decided_at)
    strength = feature_tables.match_strength(batch.matches, ratings, form)
    method, reference = MarginMethod(settings.margin_method), settings.reference_book
    prices = feature_tables.match_market(batch.books, reference=reference, method=method)
    closing = feature_tables.closing_line(batch.books, reference=reference, method=method)
    return assemble(modelled_market(market), batch.matches, batch.results, strength, prices, closing)


def write_json(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1))
