"""Walk-forward evaluation: no model sees its test season, and every number equals its direct computation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_tables import Tables, with_frame

from betting_assets.betting.score import (
    brier,
    expected_calibration_error,
    log_loss,
    paired_difference,
    ranked_probability_score,
    simulated_ece_band,
)
from betting_assets.modelling.evaluation import (
    BASE_RATE,
    MARKET_CLOSE,
    MARKET_PRE,
    MODELS,
    Forecasts,
    compare,
    score,
    walk_forward,
)
from betting_assets.modelling.variants import VariantName

LINEAR = (VariantName.FUNDAMENTALS_LINEAR,)


def test_corrupting_the_test_season_and_all_after_it_changes_no_forecast(tables: Tables) -> None:
    dataset = tables.dataset()
    season = dataset.seasons[-2]
    late = dataset.frame["season"].isin(dataset.seasons[-2:]).to_numpy()
    features = [name for name in dataset.strength if name != "league"]
    last = (dataset.frame["season"] == dataset.seasons[-1]).to_numpy()
    corrupt = with_frame(
        dataset,
        outcome=np.where(late, 2, dataset.outcomes),
        **{name: dataset.frame[name].mask(last, 1e6) for name in features},
    )
    expected, actual = (walk_forward(data, [season], MODELS).probabilities for data in (dataset, corrupt))
    assert set(expected) == {BASE_RATE, MARKET_PRE, MARKET_CLOSE, *(name.value for name in MODELS)}
    for name, forecast in expected.items():
        assert np.array_equal(actual[name], forecast, equal_nan=True), name


def test_a_column_that_gives_the_test_season_away_helps_nothing(tables: Tables) -> None:
    """The outcome, planted in the rows of the test season only: a model that had trained on them would use it."""
    dataset = tables.dataset()
    last = (dataset.frame["season"] == dataset.seasons[-1]).to_numpy()
    planted = replace(
        with_frame(dataset, planted=np.where(last, dataset.outcomes, 0.0)), strength=(*dataset.strength, "planted")
    )
    expected, actual = (walk_forward(d, dataset.seasons[-1:], LINEAR).probabilities for d in (dataset, planted))
    assert actual[LINEAR[0]] == pytest.approx(expected[LINEAR[0]], abs=1e-6)


def test_every_season_is_forecast_by_a_model_of_its_own(tables: Tables, forecasts: Forecasts) -> None:
    dataset = tables.dataset()
    last = walk_forward(dataset, dataset.seasons[-1:], MODELS)
    rows = (forecasts.dataset.frame["season"] == dataset.seasons[-1]).to_numpy()
    assert last.dataset.frame["match_id"].tolist() == forecasts.dataset.frame.loc[rows, "match_id"].tolist()
    for name, forecast in last.probabilities.items():
        assert np.array_equal(forecasts.probabilities[name][rows], forecast, equal_nan=True), name


def test_the_order_in_which_test_seasons_are_named_means_nothing(tables: Tables) -> None:
    dataset = tables.dataset()
    one, other = (walk_forward(dataset, seasons, LINEAR) for seasons in (dataset.seasons[-2:], dataset.seasons[:-3:-1]))
    assert one.dataset.frame.equals(other.dataset.frame)
    assert np.array_equal(one.probabilities[LINEAR[0]], other.probabilities[LINEAR[0]])


def test_scores_equal_their_direct_computation(forecasts: Forecasts) -> None:
    name, outcomes = "fundamentals_linear", forecasts.dataset.outcomes
    p, market = forecasts.probabilities[name], forecasts.probabilities[MARKET_PRE]
    row = score(forecasts)[name]
    assert row["n"] == len(outcomes)
    assert row["log_loss"] == pytest.approx(-np.log(p[np.arange(len(p)), outcomes]).mean())
    assert row["rps"] == pytest.approx(ranked_probability_score(p, outcomes).mean())
    assert row["brier"] == pytest.approx(brier(p, outcomes).mean())
    assert row["ece"] == pytest.approx(expected_calibration_error(p, outcomes))
    assert row["ece_band"] == list(simulated_ece_band(p, seed=0))
    direct = paired_difference(log_loss(p, outcomes), log_loss(market, outcomes), forecasts.dataset.dates, seed=0)
    assert row["diff_vs_market_pre"]["log_loss"] == vars(direct)
    assert direct.lo < direct.mean < direct.hi


def test_the_market_differs_from_itself_by_nothing(forecasts: Forecasts) -> None:
    scores = score(forecasts)
    for market, against in ((MARKET_PRE, "diff_vs_market_pre"), (MARKET_CLOSE, "diff_vs_market_close")):
        for difference in scores[market][against].values():
            assert (difference["mean"], difference["lo"], difference["hi"]) == (0.0, 0.0, 0.0)


def test_a_pair_is_compared_on_the_matches_that_both_forecast(forecasts: Forecasts) -> None:
    p, outcomes = forecasts.probabilities[MARKET_PRE], forecasts.dataset.outcomes
    other = np.full_like(p, 1 / 3)
    other[:100] = np.nan
    difference = compare(forecasts, MARKET_PRE, other)["log_loss"]
    assert difference["n"] == len(p) - 100
    assert difference["mean"] == pytest.approx((log_loss(p, outcomes)[100:] - np.log(3)).mean())
    assert compare(forecasts, MARKET_PRE, np.full_like(p, np.nan)) == {}


def test_what_a_forecaster_leaves_out_is_counted_beside_what_the_test_seasons_lack(forecasts: Forecasts) -> None:
    dataset = replace(
        forecasts.dataset, left_out={forecasts.dataset.seasons[0]: {"no_result": 2, "no_price_before_close": 1}}
    )
    gaps = forecasts.probabilities[MARKET_CLOSE].copy()
    gaps[:7] = np.nan
    some = Forecasts(dataset, {**forecasts.probabilities, MARKET_CLOSE: gaps})
    row = score(some)[MARKET_CLOSE]
    assert row["n"] == len(gaps) - np.isnan(gaps).any(axis=1).sum()
    assert row["n_dropped"] == {"no_result": 2, "no_price_before_close": 1, "no_forecast": len(gaps) - row["n"]}
    assert score(some)["fundamentals"]["diff_vs_market_close"]["log_loss"]["n"] == row["n"]


def test_matches_left_out_of_earlier_seasons_are_not_counted(tables: Tables) -> None:
    dataset = tables.dataset()
    gaps = {season: {"no_result": 0, "no_price_before_close": i} for i, season in enumerate(dataset.seasons)}
    forecasts = walk_forward(replace(dataset, left_out=gaps), dataset.seasons[-1:], ())
    assert score(forecasts)[BASE_RATE]["n_dropped"]["no_price_before_close"] == len(dataset.seasons) - 1


def test_a_forecaster_without_forecasts_has_no_scores(forecasts: Forecasts) -> None:
    none = np.full_like(forecasts.probabilities[MARKET_CLOSE], np.nan)
    row = score(Forecasts(forecasts.dataset, {MARKET_PRE: forecasts.probabilities[MARKET_PRE], MARKET_CLOSE: none}))
    assert row[MARKET_CLOSE]["n"] == 0
    assert row[MARKET_PRE]["diff_vs_market_close"] == {}


def test_the_base_rate_is_that_of_earlier_seasons(tables: Tables, forecasts: Forecasts) -> None:
    dataset = tables.dataset()
    earlier = dataset.frame["season"].isin(dataset.seasons[:-2])
    expected = np.bincount(dataset.outcomes[earlier], minlength=3) / earlier.sum()
    assert forecasts.probabilities[BASE_RATE][0] == pytest.approx(expected)


def test_an_unknown_season_is_refused_with_those_that_exist(tables: Tables) -> None:
    dataset = tables.dataset()
    with pytest.raises(ValueError, match=r"test season 9495 is not in the data; it has 1920, .*2324$"):
        walk_forward(dataset, ["9495"])
    with pytest.raises(ValueError, match="no test season given"):
        walk_forward(dataset, [])


def test_too_little_training_data_is_refused_with_the_number(tables: Tables) -> None:
    dataset = tables.dataset()
    with pytest.raises(
        ValueError, match=r"only 180 usable matches come before test season 2021; at least 300"
    ) as error:
        walk_forward(dataset, [dataset.seasons[1]])
    assert "\n" not in str(error.value)
