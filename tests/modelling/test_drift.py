"""Drift: what moved is found, what only wobbles is not, and what cannot be measured is drift by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from betting_assets.modelling.drift import FEWEST_ROWS, PICTURED, DriftResult, drift, render

COLUMNS = [f"feature_{n}" for n in range(20)]


VIEW = {"view": COLUMNS}


def pictured(reference: pd.DataFrame, current: pd.DataFrame, html: Path) -> DriftResult:
    result = drift(reference, current, VIEW)
    render(result, reference, current, html)
    return result


def rows(n: int, seed: int) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(n, len(COLUMNS))), columns=COLUMNS)


@pytest.mark.parametrize("n", [FEWEST_ROWS, 150, 1000])
def test_rows_of_the_same_kind_pass_however_few_they_are(n: int) -> None:
    result = drift(rows(4000, 1), rows(n, 2), VIEW)
    assert result.passed
    assert result.share <= 0.2
    assert (result.n_reference, result.n_current) == (4000, n)


def test_a_shift_of_half_a_deviation_is_found_in_the_columns_that_shifted() -> None:
    current = rows(600, 2)
    shifted = COLUMNS[:8]
    current[shifted] += 0.5
    result = drift(rows(4000, 1), current, VIEW, max_share=0.3)
    assert not result.passed
    assert set(result.drifted.loc[result.drifted["drifted"], "column"]) == set(shifted)
    assert result.share == pytest.approx(8 / 20)
    assert result.reason == "8 of 20 columns of view drifted, 30% are allowed"


def test_the_share_allowed_decides() -> None:
    current = rows(600, 2)
    current[COLUMNS[:8]] += 0.5
    assert drift(rows(4000, 1), current, VIEW, max_share=0.4).passed
    assert not drift(rows(4000, 1), current, VIEW, max_share=0.39).passed


def test_a_season_that_the_reference_has_seen_before_is_no_drift() -> None:
    day = np.arange(2000)
    wave = np.sin(2 * np.pi * day / 500)
    reference = pd.DataFrame({"form": wave + np.random.default_rng(1).normal(0, 0.1, 2000)})
    summer = reference["form"].to_numpy()[:125] + np.random.default_rng(2).normal(0, 0.1, 125)
    result = drift(reference, pd.DataFrame({"form": summer}), {"view": ["form"]})
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
    assert drift(reference, current, VIEW).drifted["drifted"].sum() == theirs["count"] == 5


@pytest.mark.parametrize(
    ("value", "why"),
    [(np.nan, "100% missing, 0% in the reference"), (np.inf, "600 infinite values in the current rows")],
)
def test_a_column_that_became_empty_or_infinite_is_drift(value: float, why: str, tmp_path: Path) -> None:
    current = rows(600, 2).assign(feature_3=value)
    result = pictured(rows(4000, 1), current, tmp_path / "drift.html")
    assert result.drifted.iloc[0][["column", "drifted", "why"]].tolist() == ["feature_3", True, why]
    assert (tmp_path / "drift.html").is_file()


def test_a_column_missing_from_the_current_rows_is_drift() -> None:
    result = drift(rows(4000, 1), rows(600, 2).drop(columns="feature_7"), VIEW)
    assert result.drifted.iloc[0]["column"] == "feature_7"
    assert result.drifted.iloc[0]["why"] == "missing from the current rows"


def test_values_that_go_missing_are_drift_even_if_the_rest_stays() -> None:
    current = rows(600, 2)
    current.loc[:299, "feature_0"] = np.nan
    result = drift(rows(4000, 1), current, VIEW)
    assert result.drifted.iloc[0][["column", "drifted"]].tolist() == ["feature_0", True]


def test_a_column_empty_in_both_is_no_drift() -> None:
    result = drift(rows(4000, 1).assign(feature_0=np.nan), rows(600, 2).assign(feature_0=np.nan), VIEW)
    row = result.drifted.set_index("column").loc["feature_0"]
    assert not row["drifted"]
    assert row["why"] == "empty in both"


def test_a_column_that_never_varied_drifts_when_it_moves() -> None:
    reference, current = pd.DataFrame({"tier": np.ones(400)}), pd.DataFrame({"tier": np.ones(100)})
    assert drift(reference, current, {"view": ["tier"]}).passed
    assert not drift(reference, current + 1, {"view": ["tier"]}).passed


def test_too_few_rows_pass_and_say_so() -> None:
    result = drift(rows(4000, 1), rows(FEWEST_ROWS - 1, 2) + 9, VIEW)
    assert result.passed
    assert result.reason == "too few rows (49) to tell"
    assert result.drifted.empty


def test_columns_that_the_reference_lacks_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="the reference has no column elo, form"):
        drift(rows(4000, 1), rows(600, 2), {"view": [*COLUMNS, "elo", "form"]})
    with pytest.raises(ValueError, match="no column to compare"):
        drift(rows(4000, 1), rows(600, 2), {"view": []})


def test_the_html_report_draws_the_worst_columns(tmp_path: Path) -> None:
    current = rows(600, 2)
    current[COLUMNS[-PICTURED:]] += 0.5
    html = tmp_path / "reports" / "drift.html"
    pictured(rows(4000, 1), current, html)
    text = html.read_text()
    assert "feature_19" in text
    assert "feature_1'" not in text
    assert '"feature_1"' not in text


def prices(n: int, rng: np.random.Generator, shift: float = 0.0) -> pd.DataFrame:
    """Margin-free probabilities of n matches; `shift` moves the home side's, in log odds."""
    home = 1 / (1 + np.exp(-rng.normal(-0.2, 0.7, n) - shift))
    draw = (1 - home) * rng.uniform(0.4, 0.5, n)
    return pd.DataFrame({"market_home": home, "market_draw": draw, "market_away": 1 - home - draw})


THREE_WAY = {"match_market": ["market_home", "market_draw", "market_away"]}
TWO_WAY = {"match_market": ["market_home", "market_away"]}


@pytest.mark.parametrize("views", [THREE_WAY, TWO_WAY])
@pytest.mark.parametrize(("reference", "current"), [(300, 60), (528, 60), (528, 100), (4000, 60), (4000, 100)])
def test_a_small_view_that_stays_as_it_was_rarely_raises_an_alarm(
    views: dict[str, list[str]], reference: int, current: int
) -> None:
    """At most 2 of 60; by chance alone 3 in 100 and more would be, without the threshold of small views."""
    rng = np.random.default_rng(5)
    alarms = sum(not drift(prices(reference, rng), prices(current, rng), views).passed for _ in range(60))
    assert alarms <= 2


@pytest.mark.parametrize("reference", [528, 4000])
def test_sixty_matches_whose_home_odds_moved_are_drift(reference: int) -> None:
    rng = np.random.default_rng(6)
    found = [drift(prices(reference, rng), prices(60, rng, shift=-0.6), THREE_WAY) for _ in range(30)]
    assert sum(not one.passed for one in found) >= 29


def test_sixty_moved_matches_are_drift_among_the_newest_hundred() -> None:
    rng = np.random.default_rng(7)
    current = pd.concat([prices(40, rng), prices(60, rng, shift=-0.6)], ignore_index=True)
    assert not drift(prices(2000, rng), current, THREE_WAY).passed


def test_a_view_that_moved_is_not_lost_beside_one_that_did_not() -> None:
    rng = np.random.default_rng(8)
    reference = pd.concat([rows(2000, 1), prices(2000, rng)], axis=1)
    current = pd.concat([rows(60, 2), prices(60, rng, shift=-0.9)], axis=1)
    result = drift(reference, current, {"match_strength": COLUMNS, **THREE_WAY}, max_share=0.5)
    assert not result.passed
    assert result.reason == "3 of 3 columns of match_market drifted, 50% are allowed"
    assert result.share == 1.0
    assert drift(reference, current, {"both": [*COLUMNS, *THREE_WAY["match_market"]]}, max_share=0.5).passed


def test_one_drifted_column_of_a_small_view_is_no_drift() -> None:
    rng = np.random.default_rng(9)
    current = prices(60, rng).assign(market_draw=0.9)
    result = drift(prices(2000, rng), current, THREE_WAY)
    assert result.drifted["drifted"].sum() == 1
    assert result.passed


def test_matches_without_prices_say_nothing_about_the_prices() -> None:
    rng = np.random.default_rng(10)
    current = prices(100, rng)
    current.iloc[:40] = np.nan
    assert drift(prices(2000, rng), current, THREE_WAY).passed
    current.iloc[:60] = np.nan
    result = drift(prices(2000, rng), current, THREE_WAY)
    assert result.passed
    assert set(result.drifted["why"]) == {"too few rows (40) have anything of match_market"}
