"""The training table: it counts what it leaves out, keeps time in order, and refuses every leak."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from simulated_tables import Tables, with_frame

from betting_assets.modelling.dataset import Dataset, LeakError, from_joined
from betting_assets.modelling.markets import modelled_market
from betting_assets.modelling.snapshot import freeze, load

SPEC = modelled_market("1x2")


def joined(dates: list[str], seasons: list[str], **changes: object) -> pd.DataFrame:
    n = len(dates)
    frame = pd.DataFrame(
        {
            "match_id": [f"m{i}" for i in range(n)],
            "season": seasons,
            "match_date": pd.to_datetime(dates),
            "league": "L1",
            "elo_difference": np.arange(n, dtype=float),
            "home_score": 1.0,
            "away_score": 0.0,
            **dict.fromkeys(SPEC.market_columns, 1 / 3),
            **dict.fromkeys(SPEC.closing_columns, 0.3),
        }
    ).assign(**changes)
    return frame.assign(event_timestamp=frame["match_date"].dt.tz_localize("UTC") - pd.Timedelta(hours=9))


def small(*args: object, **changes: object) -> Dataset:
    return from_joined(SPEC, joined(*args, **changes), ("elo_difference", "league"))  # type: ignore[arg-type]


def test_what_is_left_out_is_counted_by_reason_and_season() -> None:
    dataset = small(
        ["2020-01-01", "2020-01-02", "2020-01-03", "2021-01-01", "2021-01-02"],
        ["1920", "1920", "1920", "2021", "2021"],
        home_score=[1.0, np.nan, np.nan, 2.0, 1.0],
        market_home=[1 / 3, np.nan, 1 / 3, 1 / 3, np.nan],
    )
    assert dataset.frame["match_id"].tolist() == ["m0", "m3"]
    assert dataset.dropped == {"no_result": 2, "no_price_before_close": 1}
    assert dataset.of_seasons(["2021"]).dropped == {"no_result": 0, "no_price_before_close": 1}


def test_rows_are_in_order_of_date() -> None:
    dataset = small(["2020-01-03", "2020-01-01", "2020-01-02"], ["1920"] * 3)
    assert dataset.frame["match_id"].tolist() == ["m1", "m2", "m0"]


def test_seasons_are_in_order_of_time_also_across_the_turn_of_the_century() -> None:
    dates = ["2000-08-19", "1998-08-15", "2001-08-18", "1999-08-14"]
    assert small(dates, ["0001", "9899", "0102", "9900"]).seasons == ["9899", "9900", "0001", "0102"]


def test_only_results_known_at_the_first_odds_of_a_season_come_before_it() -> None:
    """Seasons of different leagues overlap: 1920 ended in August 2020 in one, 2021 began in July in another."""
    dataset = small(
        ["2020-07-29", "2020-07-30", "2020-07-31", "2020-08-02", "2020-08-01"], ["1920", "1920", "1920", "1920", "2021"]
    )
    # The first odds of 2021 were taken on 31 July at 15:00; what was played that day was not known.
    assert dataset.before_season("2021").frame["match_id"].tolist() == ["m0", "m1"]
    assert dataset.of_seasons(["2021"]).frame["match_id"].tolist() == ["m4"]


def test_a_closing_column_among_the_features_is_refused() -> None:
    frame = joined(["2020-01-01"], ["1920"])
    with pytest.raises(LeakError, match="closing prices are labels, not features: close_home"):
        from_joined(SPEC, frame, ("elo_difference", "close_home"))


@pytest.mark.parametrize("column", ["feature_time", "last_input_at"])
def test_a_feature_is_never_later_than_the_odds_it_is_bet_against(column: str) -> None:
    frame = joined(["2020-01-01", "2020-01-02"], ["1920"] * 2)
    late = frame["event_timestamp"] + pd.to_timedelta([0, 1], unit="s")
    with pytest.raises(LeakError, match=rf"1 rows of 1x2 have {column} after the odds .* first m1"):
        from_joined(SPEC, frame.assign(**{column: late}), ("elo_difference",))
    assert len(from_joined(SPEC, frame.assign(**{column: frame["event_timestamp"]}), ("elo_difference",))) == 2


def test_closing_prices_in_the_place_of_the_price_before_the_close_are_refused(tables: Tables) -> None:
    """The canary: bets chosen with closing odds at earlier prices show a yield that nobody could have had."""
    dataset = tables.dataset()
    market, closing = dataset.market.market_columns, dataset.market.closing_columns
    with pytest.raises(LeakError, match="the closing line stands in the place of the price before the close"):
        with_frame(dataset, **{m: dataset.frame[c] for m, c in zip(market, closing, strict=True)})


def test_closing_prices_in_one_season_only_are_refused_when_that_season_is_tested(tables: Tables) -> None:
    dataset = tables.dataset()
    last = dataset.frame["season"] == dataset.seasons[-1]
    columns = zip(dataset.market.market_columns, dataset.market.closing_columns, strict=True)
    leaky = with_frame(dataset, **{m: dataset.frame[m].mask(last, dataset.frame[c]) for m, c in columns})
    with pytest.raises(LeakError):
        leaky.of_seasons([dataset.seasons[-1]])


def test_assembled_features_hold_nothing_of_the_market_or_of_the_future(tables: Tables) -> None:
    dataset = tables.dataset("over_under")
    assert not [name for name in dataset.strength if name.startswith(("market_", "close_")) or name.endswith("_score")]
    assert {"season", "match_id", "outcome", "event_timestamp"}.isdisjoint(dataset.strength)
    assert len(dataset) + sum(dataset.dropped.values()) == len(tables.batch.matches)


def test_assembled_outcomes_are_those_of_the_results(tables: Tables) -> None:
    dataset = tables.dataset()
    results = tables.batch.results.set_index("match_id").loc[dataset.frame["match_id"]]
    difference = (results["home_score"] - results["away_score"]).to_numpy()
    assert dataset.outcomes.tolist() == [0 if d > 0 else 1 if d == 0 else 2 for d in difference]


def test_a_match_without_a_result_or_without_a_price_is_left_out(tables: Tables) -> None:
    batch = tables.batch
    played, priced = batch.matches["match_id"].iloc[10], batch.matches["match_id"].iloc[20]
    fewer = replace(
        tables,
        batch=replace(batch, results=batch.results[batch.results["match_id"] != played]),
        prices=tables.prices[tables.prices["match_id"] != priced],
    )
    dataset, whole = fewer.dataset(), tables.dataset()
    assert dataset.dropped["no_result"] == whole.dropped["no_result"] + 1
    assert dataset.dropped["no_price_before_close"] == whole.dropped["no_price_before_close"] + 1
    assert {played, priced}.isdisjoint(dataset.frame["match_id"])


def test_a_training_table_survives_a_snapshot_unchanged(tables: Tables, tmp_path: Path) -> None:
    before = tables.dataset()
    scores = tables.batch.results[["match_id", "home_score", "away_score"]]
    frozen = load(freeze(before.frame.merge(scores, on="match_id"), tmp_path, "1x2").path)
    after = from_joined(SPEC, frozen, before.strength)
    pd.testing.assert_frame_equal(after.frame[before.frame.columns], before.frame)
