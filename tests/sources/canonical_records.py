"""Holds every row of a batch against its Pydantic model, independently of how a source checks itself."""

from __future__ import annotations

from typing import Any

import pandas as pd

from betting_assets.sources.batch import FRAMES, Batch
from betting_assets.sources.records import Book, FootballStatistics, Market, Match, Phase, Rejected, Result
from betting_assets.sources.validation import faults


def objections(batch: Batch) -> list[str]:
    """What is wrong with the frames: columns, dtypes, keys, or a model's words about a row; empty when canonical."""
    found: list[str] = []
    for name, dtypes in FRAMES.items():
        table = getattr(batch, name)
        if {column: str(dtype) for column, dtype in table.dtypes.items()} != dtypes:
            found.append(f"{name}: {dict(table.dtypes)}")
    models = {
        "matches": Match,
        "results": Result,
        "statistics": FootballStatistics,
        "books": Book,
        "rejected": Rejected,
    }
    for name, model in models.items():
        rows = [_record(row) for row in getattr(batch, name).to_dict("records")]
        found += [f"{name}: {fault.reason}" for fault in faults(model, rows)[:3]]
    book_key = ["match_id", "market", "line", "bookmaker", "phase"]
    keys = {"matches": ["match_id"], "results": ["match_id"], "statistics": ["match_id"], "books": book_key}
    for name, key in keys.items():
        if getattr(batch, name).duplicated(key).any():
            found.append(f"{name}: duplicate {key}")
        if not set(getattr(batch, name)["match_id"]) <= set(batch.matches["match_id"]):
            found.append(f"{name}: a match_id without a match")
    return found


def _record(row: dict[str, Any]) -> dict[str, Any]:
    record = {key: _value(key, value) for key, value in row.items()}
    if "market" in record:
        record |= {"market": Market(record["market"]), "phase": Phase(record["phase"])}
    return record


def _value(key: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(None if pd.isna(item) else item for item in value)
    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime().date() if key == "match_date" else value.to_pydatetime()
    return value
