"""Have the features moved? Compares recent rows with the rows that the model was trained on, column by column.

The distance is Evidently's normed Wasserstein: the mean shift of a value, in standard deviations of the reference. It
needs a yardstick, because few rows, a team's season or the time of year move every column: a column drifts when its
distance is above 0.1 and above what stretches of the reference itself, of the same length, show against the whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.settings import NO_TELEMETRY

Floats = npt.NDArray[np.float64]

FEWEST_ROWS = 50
LEAST_SCORE = 0.1
"""Evidently's default threshold for the normed Wasserstein distance."""

STRETCHES = 40
USUAL = 0.95
"""A column drifts when its distance exceeds this share of the distances of the reference's own stretches."""

MISSING_CHANGE = 0.2
"""Change of the share of missing values above which a column drifts, whatever the values say."""

PICTURED = 12
"""Columns drawn in the HTML report, the most drifted first: every one adds 0.2 s and 0.25 MB."""


@dataclass(frozen=True)
class DriftResult:
    """What was compared and what moved.

    share    of the compared columns that drifted
    drifted  every compared column, worst first: column, score, threshold, drifted, why
    passed   `share` is at most the share allowed, or there were too few rows to tell (then `reason` says so)
    """

    share: float
    drifted: pd.DataFrame
    n_reference: int
    n_current: int
    passed: bool
    reason: str


def drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    columns: Sequence[str],
    html: Path | None = None,
    max_share: float = 0.3,
) -> DriftResult:
    """Compare `columns` of the current rows with those of the reference.

    Args:
        reference: rows that the model was trained on, in order of time.
        columns: numeric columns; leave out those that move by nature, such as the month or a count of matches so far.
        html: where Evidently's report on the worst columns is written, if anywhere.
        max_share: share of drifted columns above which the check fails.

    Raises:
        ValueError: no column is given, or one is missing from the reference.
    """
    _check(reference, columns)
    sizes = {"n_reference": len(reference), "n_current": len(current)}
    if len(current) < FEWEST_ROWS or len(reference) < FEWEST_ROWS:
        fewest = min(sizes.values())
        nothing = pd.DataFrame(columns=["column", "score", "threshold", "drifted", "why"])
        return DriftResult(0.0, nothing, **sizes, passed=True, reason=f"too few rows ({fewest}) to tell")
    table = pd.DataFrame([_compare(column, reference, current) for column in columns])
    table = table.sort_values(["drifted", "score"], ascending=False, na_position="first", ignore_index=True)
    share = float(table["drifted"].mean())
    if html is not None:
        _render(reference, current, table.loc[table["score"].notna(), "column"].head(PICTURED).tolist(), html)
    reason = f"{int(table['drifted'].sum())} of {len(table)} columns drifted, {max_share:.0%} are allowed"
    return DriftResult(share, table, **sizes, passed=share <= max_share, reason=reason)


def _check(reference: pd.DataFrame, columns: Sequence[str]) -> None:
    if not columns:
        raise ValueError("drift: no column to compare")
    if missing := [column for column in columns if column not in reference]:
        raise ValueError(f"drift: the reference has no column {', '.join(missing)}")


def _compare(column: str, reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, Any]:
    """One row of the table. What cannot be measured is drift by itself and never reaches Evidently."""
    if column not in current:
        return _row(column, True, "missing from the current rows")
    old, new = _values(reference[column]), _values(current[column])
    for values, where in ((old, "reference"), (new, "current rows")):
        if np.isinf(values).any():
            return _row(column, True, f"{int(np.isinf(values).sum())} infinite values in the {where}")
    lost, gone = float(np.isnan(old).mean()), float(np.isnan(new).mean())
    if lost == gone == 1.0:
        return _row(column, False, "empty in both")
    if abs(gone - lost) > MISSING_CHANGE:
        return _row(column, True, f"{gone:.0%} missing, {lost:.0%} in the reference")
    score, usual = _distance(old, new), _usual_distance(old, len(new))
    threshold = max(LEAST_SCORE, usual)
    why = f"distance {score:.2f} > {threshold:.2f}" if score > threshold else ""
    return _row(column, score > threshold, why, score, threshold)


def _row(
    column: str, drifted: bool, why: str, score: float = float("nan"), threshold: float = float("nan")
) -> dict[str, Any]:
    return {"column": column, "score": score, "threshold": threshold, "drifted": drifted, "why": why}


def _values(column: pd.Series[Any]) -> Floats:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _distance(old: Floats, new: Floats) -> float:
    """Evidently's normed Wasserstein distance of the values that are there."""
    os.environ.update({name: os.environ.get(name, value) for name, value in NO_TELEMETRY.items()})
    from evidently.legacy.calculations.stattests import wasserstein_stat_test
    from evidently.legacy.core import ColumnType

    there = [pd.Series(values[~np.isnan(values)]) for values in (old, new)]
    return float(wasserstein_stat_test(*there, ColumnType.Numerical, LEAST_SCORE).drift_score)


def _usual_distance(old: Floats, length: int) -> float:
    """Distance from the whole that stretches of `length` consecutive reference rows stay below, in most cases."""
    starts = np.linspace(0, max(0, len(old) - length), STRETCHES).astype(int)
    whole = np.sort(old[~np.isnan(old)])
    scale = max(float(whole.std()), 0.001)
    distances = [
        _sorted_distance(whole, stretch[~np.isnan(stretch)]) for stretch in (old[s : s + length] for s in starts)
    ]
    return float(np.quantile(distances, USUAL)) / scale


def _sorted_distance(whole: Floats, part: Floats) -> float:
    """Wasserstein distance of a part from the sorted whole, by quantiles."""
    if len(part) == 0:
        return 0.0
    quantiles = ((np.arange(len(part)) + 0.5) * (len(whole) / len(part))).astype(int)
    return float(np.abs(np.sort(part) - whole[quantiles]).mean())


def _render(reference: pd.DataFrame, current: pd.DataFrame, columns: list[str], html: Path) -> None:
    """Evidently's own report on a few columns, for people."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    if not columns:
        return
    definition = DataDefinition(numerical_columns=columns)
    new, old = (Dataset.from_pandas(frame[columns].astype("float64"), definition) for frame in (current, reference))
    preset = DataDriftPreset(columns=columns, num_method="wasserstein", num_threshold=LEAST_SCORE)
    snapshot = Report([preset], include_tests=False).run(new, old)
    html.parent.mkdir(parents=True, exist_ok=True)
    snapshot.save_html(str(html))
