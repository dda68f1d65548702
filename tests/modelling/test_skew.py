"""What was served against what is found offline: every difference is found, named and counted once."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betting_assets.modelling.skew import Skew, feature_skew

WRONG = ["mismatch", "missing", "extra"]
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


def reads(served: list[dict[str, Any]], market: str = "1x2") -> pd.DataFrame:
    return pd.DataFrame({"match_id": [f"m{i}" for i in range(len(served))], "market": market, "features": served})


def compare(served: list[Any], offline: pd.Series[Any], rewritten: list[bool] | None = None) -> Skew:
    """One feature of one market."""
    late = {} if rewritten is None else {"elo": np.array(rewritten)}
    return feature_skew(reads([{"elo": value} for value in served]), {"1x2": pd.DataFrame({"elo": offline})}, late)


def row(skew: Skew) -> dict[str, Any]:
    (only,) = skew.table.to_dict("records")
    return only


@given(st.lists(numbers, min_size=1))
def test_what_went_through_json_to_the_log_is_no_skew(values: list[float | None]) -> None:
    served = json.loads(json.dumps(values))
    found = compare(served, pd.Series(values, dtype="float64"))
    assert (found.skewed, found.compared, found.share) == (0, len(values), 0.0)


@given(st.lists(st.tuples(numbers, numbers, st.booleans()), min_size=1))
def test_every_cell_is_counted_once_and_only_where_it_belongs(cells: list[tuple[Any, Any, bool]]) -> None:
    served, offline, late = (list(column) for column in zip(*cells, strict=True))
    found = row(compare(served, pd.Series(offline, dtype="float64"), late))
    kept = [(a, b) for a, b, skip in cells if not skip]
    assert found["n"] == len(kept)
    assert found["rewritten"] == len(cells) - len(kept)
    assert found["missing"] == sum(a is None and b is not None for a, b in kept)
    assert found["extra"] == sum(a is not None and b is None for a, b in kept)
    far = sum(None not in (a, b) and not math.isclose(a, b, rel_tol=2e-9, abs_tol=2e-12) for a, b in kept)
    apart = sum(None not in (a, b) and a != b for a, b in kept)
    assert far <= found["mismatch"] <= apart


@given(st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)), min_size=1))
def test_smape_lies_in_0_to_1_and_does_not_care_which_side_is_which(pairs: list[tuple[float, float]]) -> None:
    left, right = [list(side) for side in zip(*pairs, strict=True)]
    there = row(compare(left, pd.Series(right)))["smape"]
    back = row(compare(right, pd.Series(left)))["smape"]
    assert 0 <= there <= 1
    assert there == pytest.approx(back, abs=1e-8)


def test_smape_is_the_mean_over_pairs_of_difference_by_sum() -> None:
    found = row(compare([3.0, 0.0, -1.0, None, 7.0], pd.Series([1.0, 0.0, 1.0, 5.0, np.nan])))
    assert found["smape"] == pytest.approx((0.5 + 0.0 + 1.0) / 3)


def test_another_order_of_summing_is_no_skew_but_float32_is() -> None:
    values = np.random.default_rng(1).normal(size=200).cumsum()
    offline = pd.Series(values)
    assert compare((values * (1 + 1e-12)).tolist(), offline).skewed == 0
    assert compare(values.astype(np.float32).astype(float).tolist(), offline).skewed > 190


def test_the_worst_cell_is_the_example() -> None:
    found = row(compare([1.0, 2.0, 30.0, 4.0], pd.Series([1.0, 2.1, 3.0, 4.1])))
    assert (found["match_id"], found["served"], found["recomputed"]) == ("m2", "30.0", "3.0")
    found = row(compare([1.0, None, 4.0], pd.Series([1.0, 3.0, 4.1])))
    assert (found["match_id"], found["served"], found["recomputed"]) == ("m1", "null", "3.0")


def test_text_and_booleans_compare_for_equality() -> None:
    text = row(compare(["E0", "E0", None, "E1"], pd.Series(["E0", "E1", "E0", None], dtype=object)))
    assert [text[kind] for kind in WRONG] == [1, 1, 1]
    assert math.isnan(text["smape"])
    # The service sends a boolean as a number.
    flags = row(compare([1.0, 0.0, True, None, 0.0], pd.Series([True, True, True, pd.NA, pd.NA], dtype="boolean")))
    assert [flags[kind] for kind in WRONG] == [1, 0, 1]


def test_the_largest_numbers_that_differ_are_a_mismatch() -> None:
    assert row(compare([1.7e308, -1.7e308], pd.Series([1e308, 1.7e308])))["mismatch"] == 2


def test_text_where_a_number_belongs_is_a_mismatch() -> None:
    assert row(compare(["1.0"], pd.Series([1.0])))["mismatch"] == 1


def test_a_feature_that_is_skewed_in_one_market_is_named_with_it_and_comes_first() -> None:
    log = pd.concat(
        [reads([{"elo": 1.0, "pi": 2.0}] * 4), reads([{"elo": 1.5, "pi": 2.0}] * 4, "over_under")], ignore_index=True
    )
    offline = pd.DataFrame({"elo": 1.0, "pi": 2.0}, index=log.index)
    found = feature_skew(log, {"1x2": offline.iloc[:4], "over_under": offline.iloc[4:]}, {})
    assert found.table[["market", "feature", "mismatch"]].iloc[0].tolist() == ["over_under", "elo", 4]
    assert (found.skewed, found.compared) == (4, 16)
    assert found.told(0.001).startswith("over_under elo: 4 of 4, as m0 served 1.5, recomputed 1.0 – 4 of 16 values")


def test_a_model_that_did_not_read_a_feature_was_not_served_null() -> None:
    found = feature_skew(
        reads([{"elo": 1.0}, {"elo": 1.0, "pi": None}]),
        {"1x2": pd.DataFrame({"elo": [1.0, 1.0], "pi": [2.0, 2.0]})},
        {},
    )
    assert found.table.set_index("feature")["n"].to_dict() == {"elo": 2, "pi": 1}
    assert found.table.set_index("feature")["missing"].to_dict() == {"elo": 0, "pi": 1}


def test_a_feature_that_is_no_longer_defined_is_named_not_dropped_in_silence() -> None:
    found = feature_skew(reads([{"elo": 1.0, "old": 1.0}]), {"1x2": pd.DataFrame({"elo": [1.0]})}, {})
    assert found.unknown == ("old",)
    assert "no longer defined: old" in found.told(0.001)


def test_nothing_to_compare_says_why() -> None:
    assert feature_skew(reads([]), {}, {}).told(0.001) == "nothing to compare: no online read is in the log"
    late = compare([1.0], pd.Series([2.0]), [True])
    assert late.share == 0.0
    assert "were rewritten since" in late.told(0.001)
