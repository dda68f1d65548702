"""The simulated world: canonical, deterministic, with a known truth that looks like football."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from canonical_records import objections
from pandas.testing import assert_frame_equal

from betting_assets.sources.batch import FRAMES
from betting_assets.sources.simulation import calendar, goals
from betting_assets.sources.simulation.names import team_names
from betting_assets.sources.simulation.prices import PINNACLE
from betting_assets.sources.simulator import SimulatedWorld, SimulatorConfig, simulate

SMALL = SimulatorConfig(seed=3, leagues=("SIM1", "SIM2"), seasons=2, teams=6)
TRUTH = ["p_home", "p_draw", "p_away"]


def outcome(world: SimulatedWorld) -> np.ndarray:
    difference = world.batch.results["home_score"] - world.batch.results["away_score"]
    return 1 - np.sign(difference.to_numpy())


def test_every_simulated_row_is_a_canonical_record() -> None:
    assert objections(simulate(SMALL).batch) == []


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    first, again, other = simulate(SMALL), simulate(SMALL), simulate(SimulatorConfig(4, ("SIM1", "SIM2"), 2, 6))
    for name in FRAMES:
        assert_frame_equal(getattr(first.batch, name), getattr(again.batch, name))
    assert_frame_equal(first.truth, again.truth)
    assert not first.batch.results["home_score"].equals(other.batch.results["home_score"])


def test_every_pair_meets_once_at_each_ground_and_nobody_plays_twice_a_day(world: SimulatedWorld) -> None:
    matches = world.batch.matches
    for _, season in matches.groupby(["league", "season"]):
        assert len(season) == 380
        assert not season.duplicated(["home", "away"]).any()
        sides = pd.concat(
            [season[["match_date", side]].set_axis(["date", "team"], axis=1) for side in ("home", "away")]
        )
        assert not sides.duplicated().any()


@pytest.mark.parametrize("teams", [4, 6, 18, 20, 24])
def test_home_and_away_alternate_fairly(teams: int) -> None:
    fixtures = calendar.double_round_robin(teams)
    assert (np.sort(fixtures.reshape(len(fixtures), -1), axis=1) == np.arange(teams)).all()
    at_home = np.array([np.isin(np.arange(teams), pairs[:, 0]) for pairs in fixtures[: teams - 1]])
    assert (np.abs(at_home.sum(axis=0) - (teams - 1) / 2) <= 1).all()


def test_clubs_go_down_and_others_come_up(world: SimulatedWorld) -> None:
    clubs = world.batch.matches.groupby(["league", "season"])["home"].agg(set)
    for league in ("SIM1", "SIM2", "SIM3"):
        seasons = clubs[league].tolist()
        assert all(len(before & after) == 17 for before, after in pairwise(seasons))


def test_truth_is_a_probability_and_agrees_with_the_frequencies(world: SimulatedWorld) -> None:
    probabilities = world.truth[TRUTH].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(world.truth[["p_over", "p_under"]].sum(axis=1), 1, atol=1e-12)
    frequency = np.bincount(outcome(world), minlength=3) / len(probabilities)
    band = 4 * np.sqrt(0.25 / len(probabilities))
    assert np.abs(frequency - probabilities.mean(axis=0)).max() < band
    goals_over = (world.batch.results[["home_score", "away_score"]].sum(axis=1) > 2.5).mean()
    assert abs(goals_over - world.truth["p_over"].mean()) < band


def test_the_truth_beats_the_close_beats_the_early_price_beats_the_base_rate(world: SimulatedWorld) -> None:
    """On expected log-loss under the truth, where chance plays no part."""
    truth = world.truth[TRUTH].to_numpy()
    config = world.truth.set_index("match_id")[TRUTH]
    expected = {"truth": -(truth * np.log(truth)).sum(axis=1).mean()}
    for phase in ("close", "pre_close"):
        books = world.batch.books
        wanted = (books["bookmaker"] == "pinnacle") & (books["phase"] == phase) & (books["market"] == "1x2")
        usable = books[wanted & books["flag"].isna()]
        implied = 1 / np.array(usable["prices"].tolist())
        market = np.log(implied / implied.sum(axis=1, keepdims=True))
        expected[phase] = -(config.loc[usable["match_id"]].to_numpy() * market).sum(axis=1).mean()
    base = truth.mean(axis=0)
    expected["base"] = -(base * np.log(base)).sum()
    assert expected["truth"] < expected["close"] < expected["pre_close"] < expected["base"]
    assert 0.95 < expected["truth"] < 0.99
    assert 1.06 < expected["base"] < 1.08
    assert expected["pre_close"] - expected["truth"] < 0.006


def test_margins_and_the_favourite_longshot_bias_are_as_declared(world: SimulatedWorld) -> None:
    books = world.batch.books[(world.batch.books["market"] == "1x2") & world.batch.books["flag"].isna()]
    margin = books.groupby("bookmaker")["prices"].apply(
        lambda column: (1 / np.array(column.tolist())).sum(axis=1).mean() - 1
    )
    assert margin["pinnacle"] == pytest.approx(0.025, abs=0.003)
    assert margin["old-crown"] == pytest.approx(0.08, abs=0.003)
    assert margin["market-maximum"] < margin["pinnacle"] < margin["market-average"]
    truth = world.truth.set_index("match_id")[TRUTH]
    crown = books[(books["bookmaker"] == "old-crown") & (books["phase"] == "close")]
    implied = 1 / np.array(crown["prices"].tolist())
    ratio = implied / truth.loc[crown["match_id"]].to_numpy()
    long_shots, favourites = ratio[implied < 0.15].mean(), ratio[implied > 0.6].mean()
    assert long_shots > favourites + 0.03


def test_shots_follow_strength_and_hold_the_goals(world: SimulatedWorld) -> None:
    table = world.batch.statistics.merge(world.truth, on="match_id").merge(world.batch.results, on="match_id")
    assert (table["home_shots"] >= table["home_shots_on_target"]).all()
    assert (table["home_shots_on_target"] >= table["home_score"]).all()
    shots = np.corrcoef(table["home_shots_on_target"].astype(float), table["home_intensity"])[0, 1]
    scored = np.corrcoef(table["home_score"].astype(float), table["home_intensity"])[0, 1]
    assert shots > scored > 0.1


def test_rare_quirks_of_real_files_occur(world: SimulatedWorld) -> None:
    assert set(world.batch.books["flag"].dropna()) == {"incomplete", "overround_high", "overround_below_one"}
    assert 0 < len(world.batch.matches) - len(world.batch.statistics) < 0.01 * len(world.batch.matches)


def test_the_last_match_day_is_one_day_and_played(world: SimulatedWorld) -> None:
    last = world.batch.matches[world.batch.matches["match_date"] == world.batch.matches["match_date"].max()]
    assert last.groupby("league").size().to_dict() == {"SIM1": 10, "SIM2": 10, "SIM3": 10}
    assert last["match_id"].isin(world.batch.results["match_id"]).all()


def test_a_single_sharp_book_is_enough_of_a_market() -> None:
    batch = simulate(SimulatorConfig(leagues=("SIM1",), seasons=1, teams=4, bookmakers=(PINNACLE,))).batch
    assert set(batch.books["bookmaker"]) == {"pinnacle", "market-average", "market-maximum"}


def test_dixon_coles_moves_draws_but_no_expected_total() -> None:
    home, away = np.array([1.5]), np.array([1.1])
    corrected = goals.score_matrix(home, away)[0].reshape(11, 11)
    poisson = np.exp(-2.6) * np.array([[1.0, 1.1], [1.5, 1.65]])
    factors = np.array([[1 - 1.65 * goals.RHO, 1 + 1.5 * goals.RHO], [1 + 1.1 * goals.RHO, 1 - goals.RHO]])
    np.testing.assert_allclose(corrected[:2, :2], poisson * factors, rtol=1e-5)
    assert (corrected.sum(axis=1) * np.arange(11)).sum() == pytest.approx(1.5, abs=1e-4)


def test_scores_are_drawn_with_the_probabilities_of_the_matrix() -> None:
    matrix = np.repeat(goals.score_matrix(np.array([1.5]), np.array([1.1])), 40_000, axis=0)
    home, away = goals.draw_scores(matrix, np.random.default_rng(1))
    found = np.bincount(home * 11 + away, minlength=121) / len(matrix)
    assert np.abs(found - matrix[0]).max() < 4 * np.sqrt(matrix[0].max() / len(matrix))


def test_a_league_has_no_two_teams_of_one_name() -> None:
    for league in range(80):
        assert len(set(team_names(40, league))) == 40


@pytest.mark.parametrize("wrong", [{"teams": 5}, {"teams": 2}, {"teams": 60}, {"seasons": 0}, {"leagues": ()}])
def test_a_world_that_no_calendar_holds_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"teams must be even|at least one league"):
        SimulatorConfig(**wrong)
