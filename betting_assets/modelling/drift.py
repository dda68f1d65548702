"""Have the features moved? Compares recent rows with the rows that the model was trained on, column by column.

The distance is the normed Wasserstein, as Evidently has it: the mean shift of a value, in standard deviations of the
reference. It needs a yardstick, because few rows, a team's season or the time of year move every column: a column
drifts when its distance is above 0.1 and above what stretches of the reference itself, of the same length, show against
the whole.

Judged is feature view by feature view: three prices that all moved are drift, and would be lost among fifty ratings
that did not. Where a view has few columns there is no crowd that evens out chance, so each of them is asked for more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from betting_assets.settings import NO_TELEMETRY

Floats = npt.NDArray[np.float64]

FEWEST_ROWS = 50
NEWEST = 100
"""Matches to compare, the newest: among more, a change of the last days is lost."""

LEAST_SCORE = 0.1
"""Evidently's default threshold for the normed Wasserstein distance."""

STRETCHES = 40
USUAL = 0.95
"""A column drifts when its distance exceeds this share of the distances of the reference's own stretches."""

FEW_COLUMNS = 10
BEYOND = 1.5
"""In a view of fewer columns: when it exceeds the farthest of them this many times (calibrated in the tests)."""

FEWEST_DRIFTED = 2
"""Columns of a view that must drift, whatever share of it they are."""

MISSING_CHANGE = 0.2
"""Change of the share of missing values above which a column drifts, whatever the values say."""

PICTURED = 12
"""Columns drawn in the HTML report, the most drifted first: every one adds 0.2 s and 0.25 MB."""


@dataclass(frozen=True)
class DriftResult:
    """What was compared and what moved.

    share    of the columns that drifted, in the view where it is largest
    drifted  every compared column, worst first: view, column, score, threshold, drifted, why
    passed   no view fails, or there were too few rows to tell (then `reason` says so)
    """

    share: float
    drifted: pd.DataFrame
    n_reference: int
    n_current: int
    passed: bool
    reason: str


def drift(
    reference: pd.DataFrame, current: pd.DataFrame, views: Mapping[str, Sequence[str]], max_share: float = 0.3
) -> DriftResult:
    """Compare the columns of each view in the current rows with those of the reference.

    Args:
        reference: rows that the model was trained on, in order of time.
        current: one row a match: a match that was asked for twenty times is one observation.
        views: numeric columns by feature view; leave out those that move by nature, such as the month.
        max_share: share of a view's columns that may drift.

    Raises:
        ValueError: no column is given, or one is missing from the reference.
    """
    columns = [column for names in views.values() for column in names]
    _check(reference, columns)
    sizes = {"n_reference": len(reference), "n_current": len(current)}
    if len(current) < FEWEST_ROWS or len(reference) < FEWEST_ROWS:
        nothing = pd.DataFrame(columns=["view", "column", "score", "threshold", "drifted", "why"])
        return DriftResult(0.0, nothing, **sizes, passed=True, reason=f"too few rows ({min(sizes.values())}) to tell")
    rows = [row for view, names in views.items() for row in _compare_view(view, list(names), reference, current)]
    table = pd.DataFrame(rows).sort_values(["drifted", "score"], ascending=False, na_position="first")
    found = table.groupby("view")["drifted"].agg(["sum", "size"]).reindex([view for view in views if views[view]])
    share = found["sum"] / found["size"]
    failed = (share > max_share) & (found["sum"] >= np.minimum(FEWEST_DRIFTED, found["size"]))
    return DriftResult(
        float(share.max()),
        table.reset_index(drop=True),
        **sizes,
        passed=not failed.any(),
        reason=_told(found[failed] if failed.any() else found, max_share),
    )


def _told(found: pd.DataFrame, max_share: float) -> str:
    counts = ", ".join(f"{int(row['sum'])} of {int(row['size'])} columns of {view}" for view, row in found.iterrows())
    return f"{counts} drifted, {max_share:.0%} are allowed"


def _check(reference: pd.DataFrame, columns: Sequence[str]) -> None:
    if not columns:
        raise ValueError("drift: no column to compare")
    if missing := [column for column in columns if column not in reference]:
        raise ValueError(f"drift: the reference has no column {', '.join(missing)}")


def _compare_view(view: str, names: list[str], reference: pd.DataFrame, current: pd.DataFrame) -> list[dict[str, Any]]:
    """A match that has nothing of a view, such as one without prices, says nothing about it."""
    there = current.reindex(columns=names).notna().any(axis=1)
    if there.sum() < FEWEST_ROWS:
        why = f"too few rows ({int(there.sum())}) have anything of {view}"
        return [{"view": view, **_row(column, False, why)} for column in names]
    few = len(names) < FEW_COLUMNS
    return [{"view": view, **_compare(column, reference, current[there], few=few)} for column in names]


def _compare(column: str, reference: pd.DataFrame, current: pd.DataFrame, *, few: bool) -> dict[str, Any]:
    """One row of the table. What cannot be measured is drift by itself."""
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
    own = _own_distances(old, len(new))
    score, usual = _distance(old, new), BEYOND * own.max() if few else np.quantile(own, USUAL)
    threshold = max(LEAST_SCORE, float(usual))
    why = f"distance {score:.2f} > {threshold:.2f}" if score > threshold else ""
    return _row(column, score > threshold, why, score, threshold)


def _row(
    column: str, drifted: bool, why: str, score: float = float("nan"), threshold: float = float("nan")
) -> dict[str, Any]:
    return {"column": column, "score": score, "threshold": threshold, "drifted": drifted, "why": why}


def _values(column: pd.Series[Any]) -> Floats:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _distance(old: Floats, new: Floats) -> float:
    """The normed Wasserstein distance of the values that are there."""
    from scipy.stats import wasserstein_distance

    there, here = (values[~np.isnan(values)] for values in (old, new))
    return float(wasserstein_distance(there, here)) / _scale(there)


def _scale(values: Floats) -> float:
    """Evidently's: a column that never varied has one too."""
    return max(float(values.std()), 0.001)


def _own_distances(old: Floats, length: int) -> Floats:
    """How far `length` new rows of the same kind would be from the reference, as its own stretches tell.

    A stretch is itself a part of the whole, so it lies nearer than new rows do: by sampling theory its variance is
    1/stretch - 1/whole, theirs 1/length + 1/whole. A stretch is at most half of the reference.
    """
    stretch = max(1, min(length, len(old) // 2))
    starts = np.linspace(0, len(old) - stretch, STRETCHES).astype(int)
    whole = np.sort(old[~np.isnan(old)])
    parts = (old[start : start + stretch] for start in starts)
    distances = np.array([_sorted_distance(whole, one[~np.isnan(one)]) for one in parts])
    nearer = (1 / length + 1 / len(old)) / (1 / stretch - 1 / len(old))
    return np.asarray(distances * np.sqrt(nearer) / _scale(whole))


def _sorted_distance(whole: Floats, part: Floats) -> float:
    """Wasserstein distance of a part from the sorted whole, by quantiles."""
    if len(part) == 0:
        return 0.0
    quantiles = ((np.arange(len(part)) + 0.5) * (len(whole) / len(part))).astype(int)
    return float(np.abs(np.sort(part) - whole[quantiles]).mean())


def render(result: DriftResult, reference: pd.DataFrame, current: pd.DataFrame, html: Path) -> None:
    """Evidently's own report on the worst columns, for people; nothing where nothing could be measured."""
    columns = result.drifted.loc[result.drifted["score"].notna(), "column"].head(PICTURED).tolist()
    if not columns:
        return
    os.environ.update({name: os.environ.get(name, value) for name, value in NO_TELEMETRY.items()})
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=columns)
    new, old = (Dataset.from_pandas(frame[columns].astype("float64"), definition) for frame in (current, reference))
    preset = DataDriftPreset(columns=columns, num_method="wasserstein", num_threshold=LEAST_SCORE)
    snapshot = Report([preset], include_tests=False).run(new, old)
    html.parent.mkdir(parents=True, exist_ok=True)
    snapshot.save_html(str(html))
