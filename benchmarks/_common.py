"""What the model benchmarks share: from a batch of records to data sets, and the arguments of every script."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from margin_removal import machine

from betting_assets.betting.odds import MarginMethod
from betting_assets.modelling import feature_tables
from betting_assets.modelling.dataset import Dataset, assemble
from betting_assets.modelling.markets import MARKETS
from betting_assets.sources.batch import Batch

PRICES: dict[str, Any] = {"reference": "pinnacle", "method": MarginMethod.POWER}


def datasets(batch: Batch) -> dict[str, Dataset]:
    """The training table of every modelled market, as the asset graph would make it."""
    matches, results = batch.matches, batch.results
    decided = feature_tables.decision_times(matches, feature_tables.first_quotes(batch.books))
    strength = feature_tables.match_strength(
        matches,
        feature_tables.ratings_table(matches, results, decided),
        feature_tables.form_table(matches, results, batch.statistics, decided),
    )
    prices = feature_tables.match_market(batch.books, **PRICES)
    closing = feature_tables.closing_line(batch.books, **PRICES)
    return {name: assemble(spec, matches, results, strength, prices, closing) for name, spec in MARKETS.items()}


def arguments(description: str | None, quick: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, help="write the numbers to this file as well")
    return parser


def print_machine() -> dict[str, Any]:
    where = machine()
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    return where


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    if path:
        path.write_text(json.dumps(content, indent=1) + "\n")
