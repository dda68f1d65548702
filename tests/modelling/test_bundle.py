"""The model bundle: what was saved predicts the same, and every row gets the best answer that its features allow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated_tables import Tables, draw, with_frame

from betting_assets.modelling.boosting import BoostingParams
from betting_assets.modelling.bundle import Bundle, fit_bundle, load_bundle
from betting_assets.modelling.summaries import bet_table, calibrations, importance, parameters, score_table
from betting_assets.modelling.variants import VariantName, fit_variant


@pytest.fixture(scope="module")
def boosted(tables: Tables, bundle: Bundle) -> Bundle:
    """The bundle with trees in it: its market does not know that the first outcome follows the Elo difference."""
    dataset = tables.dataset()
    edge = np.where(dataset.frame["elo_difference"] > 0, 1.4, -1.4)[:, None] * np.eye(3)[0]
    truth = dataset.market_probabilities * np.exp(edge)
    blind = with_frame(dataset, outcome=draw(truth / truth.sum(axis=1, keepdims=True), 6))
    quick = BoostingParams(learning_rate=0.1, max_rounds=30, patience=5, min_data_in_leaf=20)
    variant = fit_variant(blind, VariantName.MARKET_RESIDUAL, quick)
    assert variant.booster is not None
    return replace(bundle, variants={**bundle.variants, VariantName.MARKET_RESIDUAL: variant})


@pytest.mark.parametrize("which", ["bundle", "boosted"])
def test_a_saved_bundle_predicts_the_same_to_the_bit(
    which: str, tables: Tables, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(which)
    frame = tables.dataset().frame.tail(100)
    again = load_bundle(bundle.save(tmp_path / "a" / "b"))
    for variant in (None, *bundle.variants):
        one, other = bundle.predict(frame, variant), again.predict(frame, variant)
        assert np.array_equal(one.probabilities, other.probabilities)
        assert one.variants == other.variants
    assert (again.features, again.nullable, again.trained_at) == (bundle.features, bundle.nullable, bundle.trained_at)
    assert (again.data_hash, again.margin_method, again.training_rows) == ("a1b2", "power", bundle.training_rows)


def test_predictions_are_distributions(bundle: Bundle, tables: Tables) -> None:
    p = bundle.predict(tables.dataset().frame).probabilities
    assert (p > 0).all()
    assert p.sum(axis=1) == pytest.approx(1.0)


def test_a_row_without_market_is_answered_by_fundamentals(bundle: Bundle, tables: Tables) -> None:
    frame = tables.dataset().frame.head(6).copy()
    frame.loc[[1, 4], "market_draw"] = np.nan
    found = bundle.predict(frame)
    expected = ["fundamentals" if i in (1, 4) else "market_residual" for i in range(6)]
    assert list(found.variants) == expected
    for i, name in enumerate(expected):
        alone = bundle.predict(frame.iloc[[i]], VariantName(name)).probabilities[0]
        assert found.probabilities[i] == pytest.approx(alone, abs=1e-12)


def test_a_prediction_does_not_depend_on_the_other_rows_of_the_request(boosted: Bundle, tables: Tables) -> None:
    frame = tables.dataset().frame.tail(20)
    whole = boosted.predict(frame).probabilities
    single = np.vstack([boosted.predict(frame.iloc[[i]]).probabilities for i in range(len(frame))])
    assert single == pytest.approx(whole, abs=1e-12)


def test_a_missing_feature_column_is_named(bundle: Bundle, tables: Tables) -> None:
    for column in ("elo_difference", "league"):
        with pytest.raises(KeyError, match=column):
            bundle.predict(tables.dataset().frame.drop(columns=column), VariantName.FUNDAMENTALS)


def test_the_named_features_are_enough_to_predict(bundle: Bundle, tables: Tables) -> None:
    frame = tables.dataset().frame.tail(30)
    assert not [name for name in bundle.features if name.startswith("close_")]
    some = bundle.predict(frame[list(bundle.features)]).probabilities
    assert np.array_equal(some, bundle.predict(frame).probabilities)


def test_nullable_are_the_features_that_training_saw_missing(bundle: Bundle, tables: Tables) -> None:
    frame = tables.dataset().frame
    assert "home_goals_for_short" in bundle.nullable
    assert bundle.nullable == {name for name in tables.dataset().strength if frame[name].isna().any()}


def test_another_format_is_refused_in_one_line(bundle: Bundle, tmp_path: Path) -> None:
    path = bundle.save(tmp_path) / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(ValueError, match="bundle format 99, this version reads 1: train the model anew"):
        load_bundle(tmp_path)


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_bundle(tmp_path)


def test_a_bundle_of_the_two_way_market(tables: Tables, tmp_path: Path) -> None:
    dataset = tables.dataset("over_under")
    bundle = load_bundle(fit_bundle(dataset, "power", "ff").save(tmp_path))
    frame = dataset.frame.tail(10).assign(market_over=[np.nan] + [0.5] * 9)
    found = bundle.predict(frame)
    assert found.probabilities.shape == (10, 2)
    assert found.variants[0] == "fundamentals"


def test_summaries_tell_the_trees_of_each_variant(boosted: Bundle) -> None:
    rows = calibrations(boosted).set_index("variant")
    assert (
        rows.loc["market_residual", "rounds"] == boosted.variants[VariantName.MARKET_RESIDUAL].booster.num_trees() / 3
    )  # type: ignore[union-attr]
    assert parameters(boosted)["1x2.market_residual.trees"] == rows.loc["market_residual", "rounds"]
    strongest = importance(boosted).query("variant == 'market_residual'")
    assert len(strongest) == 20
    assert strongest["feature"].iloc[0] in boosted.features
    assert strongest["gain"].is_monotonic_decreasing


def test_a_bundle_without_trees_has_no_importance(bundle: Bundle) -> None:
    bare = replace(bundle, variants={name: replace(v, booster=None) for name, v in bundle.variants.items()})
    assert importance(bare).empty
    assert (calibrations(bare)["rounds"] == 0).all()


def test_score_and_bet_tables_have_a_row_for_each_forecaster_also_without_scores() -> None:
    difference = {"mean": -0.1, "lo": -0.2, "hi": 0.0}
    scores = {"a": {"n": 3, "log_loss": 1.0, "diff_vs_market_pre": {"log_loss": difference}}, "b": {"n": 0}}
    table = score_table(scores).set_index("model")
    assert table.loc["a", ["n", "vs_market_mean", "vs_market_hi"]].tolist() == [3, -0.1, 0.0]
    assert np.isnan(table.loc["b", "log_loss"])
    bets = bet_table({"a": {"n": 0}, "b": {"n": 2, "yield": difference, "clv": difference}}).set_index("model")
    assert bets.loc["b", "clv_lo"] == -0.2
    assert bets["bets"].tolist() == [0, 2]
