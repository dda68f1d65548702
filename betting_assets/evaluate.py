"""The walk-forward evaluation alone: files in, table and JSON out, without Dagster or services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from betting_assets.betting.odds import MarginMethod
from betting_assets.modelling import feature_tables
from betting_assets.modelling.backtest import flat_stakes
from betting_assets.modelling.dataset import Dataset, assemble
from betting_assets.modelling.evaluation import MODELS, WITH_BASELINE_MODELS, newest_testable, score, walk_forward
from betting_assets.modelling.markets import modelled_market
from betting_assets.settings import Settings
from betting_assets.sources.batch import Batch
from betting_assets.sources.source import configured_source
from betting_assets.terminal import Stages

Report = dict[str, dict[str, Any]]


def evaluate(settings: Settings, test_seasons: Sequence[str], market: str, stages: Stages) -> Report:
    """Scores of every model and baseline on the test seasons (none given: the newest), with paper bets for the models.

    Raises:
        SourceError, EvaluationError, UnknownMarketError: one line that says what is wrong with the input or the choice.
    """
    spec = modelled_market(market)
    source = configured_source(settings.data, settings.leagues.split(","))
    with stages.stage("read"):
        batch = source.load()
    with stages.stage("features"):
        dataset = dataset_of(batch, spec.market.value, settings)
    seasons = list(dict.fromkeys(test_seasons)) or newest_testable(dataset, settings.test_seasons)
    with stages.stage("walk-forward", len(seasons) * len(WITH_BASELINE_MODELS)) as advance:
        forecasts = walk_forward(dataset, seasons, WITH_BASELINE_MODELS, lambda _: advance())
    with stages.stage("scores"):
        scores = score(forecasts)
        bets = {name.value: flat_stakes(forecasts, name.value) for name in MODELS}
    return {name: {**values, **({"paper_bets": bets[name]} if name in bets else {})} for name, values in scores.items()}


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
