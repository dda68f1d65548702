"""A refresh is the champion's recipe on newer data: what belongs to a recipe, and what newer means."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_tables import Tables

from betting_assets.modelling import recipe as recipes
from betting_assets.modelling.boosting import BoostingParams
from betting_assets.modelling.bundle import Bundle, fit_bundle
from betting_assets.modelling.dataset import Dataset
from betting_assets.modelling.recipe import recipe, refresh_of
from betting_assets.modelling.variants import VariantName


@pytest.fixture(scope="module")
def whole(tables: Tables) -> Dataset:
    return tables.dataset()


def first(dataset: Dataset, n: int) -> Dataset:
    return replace(dataset, frame=dataset.frame.head(n))


def test_the_same_recipe_on_other_data_is_the_same_recipe(bundle: Bundle, whole: Dataset) -> None:
    assert recipe(fit_bundle(first(whole, 700), "power", "other")) == recipe(bundle)


def test_features_margin_market_and_parameters_belong_to_the_recipe(
    bundle: Bundle, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = bundle.variants[VariantName.FUNDAMENTALS]
    fewer = {**bundle.variants, VariantName.FUNDAMENTALS: replace(variant, features=variant.features[1:])}
    others = [
        recipe(replace(bundle, margin_method="shin")),
        recipe(replace(bundle, variants=fewer)),
        recipe(replace(bundle, market=tables.dataset("over_under").market)),
    ]
    monkeypatch.setattr(recipes, "BoostingParams", lambda: BoostingParams(num_leaves=31))
    others.append(recipe(bundle))
    monkeypatch.undo()
    assert len({recipe(bundle), *others}) == 5


def test_one_match_that_the_champion_did_not_see_is_newer(whole: Dataset) -> None:
    found = refresh_of("a", "a", whole, first(whole, len(whole) - 1))
    assert found.holds
    assert found.told == "the champion's recipe with 1 more matches"


def test_the_same_data_again_are_no_refresh(whole: Dataset) -> None:
    found = refresh_of("a", "a", whole, whole)
    assert not found.holds
    assert found.told == "no match that the champion did not see"


def test_a_training_set_that_lost_its_history_is_no_refresh(whole: Dataset) -> None:
    newest = replace(whole, frame=whole.frame.tail(600))
    found = refresh_of("a", "a", newest, first(whole, len(whole) - 1))
    assert not found.holds
    assert found.told == f"600 matches, the champion saw {len(whole) - 1}"


def test_another_recipe_and_an_unknown_one_are_no_refresh(whole: Dataset) -> None:
    earlier = first(whole, 800)
    assert not refresh_of("a", "b", whole, earlier).holds
    assert "not recorded" in refresh_of("a", None, whole, earlier).told
    assert not refresh_of(None, None, whole, earlier).holds
