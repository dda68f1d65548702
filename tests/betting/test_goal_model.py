"""The goal model: it recovers known strengths, and knows nothing before its time."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from betting_assets.betting.goal_model import COLUMNS, GoalParameters, goal_forecasts


def goals(world):
    return goal_forecasts(world.matches, world.results, world.statistics, world.decided_at)


def league_with_known_strengths(seasons=6, teams=10, seed=4):
    """Double round robins of teams whose log attack runs from -0.4 to 0.4, one round a week; no shots."""
    rng = np.random.default_rng(seed)
    attack = np.linspace(-0.4, 0.4, teams)
    pairs = [(h, a) for h in range(teams) for a in range(teams) if h != a]
    fixtures = [pairs[i] for _ in range(seasons) for i in rng.permutation(len(pairs))]
    home, away = np.array(fixtures).T
    matches = pd.DataFrame(
        {
            "match_id": [f"m{i}" for i in range(len(home))],
            "league": "N1",
            "rating_pool": "north",
            "match_date": pd.Timestamp(2020, 8, 1) + pd.to_timedelta(7 * (np.arange(len(home)) // 5), unit="D"),
            "home": [f"Town {i}" for i in home],
            "away": [f"Town {i}" for i in away],
        }
    )
    intensity = np.exp(np.column_stack([0.35 + attack[home], 0.1 + attack[away]]))
    scores = rng.poisson(intensity)
    midnight = matches["match_date"].dt.tz_localize("UTC")
    results = pd.DataFrame(
        {
            "match_id": matches["match_id"],
            "home_score": scores[:, 0],
            "away_score": scores[:, 1],
            "known_at": midnight + pd.Timedelta(days=1),
        }
    )
    return matches, results, matches[["match_id"]].iloc[:0], midnight, intensity


def test_strengths_that_stay_are_recovered():
    matches, results, statistics, decided_at, intensity = league_with_known_strengths()
    forecast = goal_forecasts(matches, results, statistics, decided_at, GoalParameters(drift=1e-7))
    known = np.log(forecast[["goal_model_home", "goal_model_away"]].to_numpy()[-90:])
    error = np.abs(known - np.log(intensity[-90:])).mean()
    knowing_nothing = np.abs(np.log(intensity[-90:]) - np.log(1.35)).mean()
    assert error < 0.12 < knowing_nothing / 2


def test_log_ratio_and_mismatch_follow_from_the_goals(world):
    table = goals(world)
    assert list(table.columns) == [*COLUMNS, "match_id"]
    ratio = np.log(table["goal_model_home"] / table["goal_model_away"])
    assert table["goal_model_log_ratio"].to_numpy() == pytest.approx(ratio.to_numpy())
    assert table["goal_model_mismatch"].to_numpy() == pytest.approx(ratio.abs().to_numpy())


def test_deleting_or_changing_later_results_changes_no_earlier_forecast(world):
    cut = world.decided_at.quantile(0.5)
    before, later = world.decided_at <= cut, world.results["known_at"] > cut
    expected = goals(world)[before]
    changed = world.with_results(world.results.assign(home_score=world.results["home_score"] + 3 * later))
    assert_frame_equal(goals(world.with_results(world.results[~later]))[before], expected)
    assert_frame_equal(goals(changed)[before], expected)
    assert not goals(changed).equals(goals(world))


def test_the_order_of_rows_means_nothing(world):
    expected = goals(world)
    assert_frame_equal(goals(world.shuffled(5)).loc[expected.index], expected, check_exact=False, rtol=1e-12)


def test_a_match_without_statistics_is_learned_from_its_goals(world):
    none = goal_forecasts(world.matches, world.results, world.statistics[["match_id"]].iloc[:0], world.decided_at)
    nothing = goal_forecasts(world.matches, world.results.iloc[:0], world.statistics.iloc[:0], world.decided_at)
    assert none["goal_model_home"].std() > 0.05
    assert nothing["goal_model_home"].dropna().to_numpy() == pytest.approx(1.35)


def test_more_shots_on_target_for_a_team_mean_more_goals_expected_of_it(world):
    home = world.matches["home"] == "Town 1"
    theirs = world.statistics["match_id"].isin(world.matches.loc[home, "match_id"])
    more = world.statistics.assign(home_shots_on_target=world.statistics["home_shots_on_target"] + 10 * theirs)
    table = goal_forecasts(world.matches, world.results, more, world.decided_at)
    later = home & (world.decided_at > world.decided_at.median())
    assert (table.loc[later, "goal_model_home"] > 1.2 * goals(world).loc[later, "goal_model_home"]).all()


def test_an_undecided_match_has_no_forecast(world):
    undecided = world.decided_at.where(world.decided_at > world.decided_at.median())
    table = goal_forecasts(world.matches, world.results, world.statistics, undecided)
    assert table["goal_model_home"].isna().equals(undecided.isna())
