"""Drift: what moved is found, what only wobbles is not, and what cannot be measured is drift by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from betting_assets.modelling.drift import FEWEST_ROWS, PICTURED, drift

COLUMNS = [f"feature_{n}" for n in range(20)]


def rows(n: int, seed: int) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(n, len(COLUMNS))), columns=COLUMNS)


@pytest.mark.parametrize("n", [FEWEST_ROWS, 150, 1000])
def test_rows_of_the_same_kind_pass_however_few_they_are(n: int) -> None:
    result = drift(rows(4000, 1), rows(n, 2), COLUMNS)
    assert result.passed
    assert result.share <= 0.2
    assert (result.n_reference, result.n_current) == (4000, n)


def test_a_shift_of_half_a_deviation_is_found_in_the_columns_that_shifted() -> None:
    current = rows(600, 2)
    shifted = COLUMNS[:8]
    current[shifted] += 0.5
    result = drift(rows(4000, 1), current, COLUMNS, max_share=0.3)
    assert not result.passed
    assert set(result.drifted.loc[result.drifted["drifted"], "column"]) == set(shifted)
    assert result.share == pytest.approx(8 / 20)
    assert "8 of 20 columns" in result.reason


def test_the_share_allowed_decides() -> None:
    current = rows(600, 2)
    current[COLUMNS[:8]] += 0.5
    assert drift(rows(4000, 1), current, COLUMNS, max_share=0.4).passed
    assert not drift(rows(4000, 1), current, COLUMNS, max_share=0.39).passed


def test_a_season_that_the_reference_has_seen_before_is_no_drift() -> None:
    day = np.arange(2000)
    wave = np.sin(2 * np.pi * day / 500)
    reference = pd.DataFrame({"form": wave + np.random.default_rng(1).normal(0, 0.1, 2000)})
    summer = reference["form"].to_numpy()[:125] + np.random.default_rng(2).normal(0, 0.1, 125)
    result = drift(reference, pd.DataFrame({"form": summer}), ["form"])
    assert result.drifted["score"].iloc[0] > 0.5
    assert result.passed


def test_the_count_is_the_one_that_evidently_reports() -> None:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import DriftedColumnsCount

    reference, current = rows(4000, 1), rows(2000, 2)
    current[COLUMNS[:5]] += 0.3
    definition = DataDefinition(numerical_columns=COLUMNS)
    old, new = (Dataset.from_pandas(frame, definition) for frame in (reference, current))
    metric = DriftedColumnsCount(columns=COLUMNS, num_method="wasserstein", num_threshold=0.1)
    theirs = Report([metric]).run(new, old).dict()["metrics"][0]["value"]
    assert drift(reference, current, COLUMNS).drifted["drifted"].sum() == theirs["count"] == 5


@pytest.mark.parametrize(
    ("value", "why"),
    [(np.nan, "100% missing, 0% in the reference"), (np.inf, "600 infinite values in the current rows")],
)
def test_a_column_that_became_empty_or_infinite_is_drift(value: float, why: str, tmp_path: Path) -> None:
    current = rows(600, 2).assign(feature_3=value)
    result = drift(rows(4000, 1), current, COLUMNS, html=tmp_path / "drift.html")
    assert result.drifted.iloc[0][["column", "drifted", "why"]].tolist() == ["feature_3", True, why]
    assert (tmp_path / "drift.html").is_file()


def test_a_column_missing_from_the_current_rows_is_drift() -> None:
    result = drift(rows(4000, 1), rows(600, 2).drop(columns="feature_7"), COLUMNS)
    assert result.drifted.iloc[0]["column"] == "feature_7"
    assert result.drifted.iloc[0]["why"] == "missing from the current rows"


def test_values_that_go_missing_are_drift_even_if_the_rest_stays() -> None:
    current = rows(600, 2)
    current.loc[:299, "feature_0"] = np.nan
    result = drift(rows(4000, 1), current, COLUMNS)
    assert result.drifted.iloc[0][["column", "drifted"]].tolist() == ["feature_0", True]


def test_a_column_empty_in_both_is_no_drift() -> None:
    result = drift(rows(4000, 1).assign(feature_0=np.nan), rows(600, 2).assign(feature_0=np.nan), COLUMNS)
    row = result.drifted.set_index("column").loc["feature_0"]
    assert not row["drifted"]
    assert row["why"] == "empty in both"


def test_a_column_that_never_varied_drifts_when_it_moves() -> None:
    reference, current = pd.DataFrame({"tier": np.ones(400)}), pd.DataFrame({"tier": np.ones(100)})
    assert drift(reference, current, ["tier"]).passed
    assert not drift(reference, current + 1, ["tier"]).passed


def test_too_few_rows_pass_and_say_so() -> None:
    result = drift(rows(4000, 1), rows(FEWEST_ROWS - 1, 2) + 9, COLUMNS)
    assert result.passed
    assert result.reason == "too few rows (49) to tell"
    assert result.drifted.empty


def test_columns_that_the_reference_lacks_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="the reference has no column elo, form"):
        drift(rows(4000, 1), rows(600, 2), [*COLUMNS, "elo", "form"])
    with pytest.raises(ValueError, match="no column to compare"):
        drift(rows(4000, 1), rows(600, 2), [])


def test_the_html_report_draws_the_worst_columns(tmp_path: Path) -> None:
    current = rows(600, 2)
    current[COLUMNS[-PICTURED:]] += 0.5
    html = tmp_path / "reports" / "drift.html"
    drift(rows(4000, 1), current, COLUMNS, html=html)
    text = html.read_text()
    assert "feature_19" in text
    assert "feature_1'" not in text
    assert '"feature_1"' not in text
