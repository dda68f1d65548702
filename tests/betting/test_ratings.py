"""Pi and Elo ratings against small examples worked out by hand and against a plain loop."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betting_assets.betting.ratings import (
    EloParameters,
    NewcomerRule,
    PiParameters,
    RatingParameters,
    elo_change,
    margin_weight,
    pi_changes,
    pi_goal_difference,
    team_ratings,
)

rating = st.floats(-3.0, 3.0)


def table(*rows, pool="north"):
    """Frames of matches given as (league, day, home, away, home score, away score), decided at noon of their day."""
    matches = pd.DataFrame([r[:4] for r in rows], columns=["league", "day", "home", "away"])
    matches["match_id"] = [f"m{i}" for i in range(len(rows))]
    matches["match_date"] = pd.Timestamp(2020, 8, 1) + pd.to_timedelta(matches["day"], unit="D")
    matches["rating_pool"] = pool
    midnight = matches["match_date"].dt.tz_localize("UTC")
    results = pd.DataFrame(
        {
            "match_id": matches["match_id"],
            "home_score": [r[4] for r in rows],
            "away_score": [r[5] for r in rows],
            "known_at": midnight + pd.Timedelta(days=1),
        }
    )
    return matches, results[results["home_score"].notna()], midnight + pd.Timedelta(hours=12)


def test_pi_ratings_follow_the_formulas_of_constantinou_and_fenton():
    # By hand, with λ = 0.1 and γ = 0.3. A side rated 1.6 at home against one rated -1.2 away: expected goals
    # 10^(1.6/3) - 1 = 2.41455 and -(10^(1.2/3) - 1) = -1.51189, a difference of 3.92644. It wins 4-1: the error of
    # -0.92644 counts as 3 log10(1.92644) = 0.85427, so the home rating falls by 0.085427, the other by 0.025628.
    params = PiParameters(learning_rate=0.1, carry_over=0.3)
    home, away = np.array([[1.6, 0.4]]), np.array([[0.3, -1.2]])
    assert pi_goal_difference(home[:, 0], away[:, 1], params) == pytest.approx(3.92644, abs=1e-5)
    home_change, away_change = pi_changes(home, away, np.array([3.0]), params)
    np.testing.assert_allclose(home + home_change, [[1.514573, 0.374372]], atol=2e-6)
    np.testing.assert_allclose(away + away_change, [[0.325628, -1.114573]], atol=2e-6)


@given(rating, rating, rating, rating)
def test_a_result_as_expected_changes_no_pi_rating(a, b, c, d):
    home, away = np.array([[a, b]]), np.array([[c, d]])
    expected = pi_goal_difference(home[:, 0], away[:, 1], PiParameters())
    for change in pi_changes(home, away, expected, PiParameters()):
        np.testing.assert_array_equal(np.abs(change), 0.0)


def test_elo_moves_by_what_was_not_expected():
    # Equal teams, 65 points of home advantage: the home team is expected to score 1 / (1 + 10^(-65/400)) = 0.592466.
    equal, advantage = np.array([1500.0]), 65.0
    change = [elo_change(equal, equal, np.array([d]), 20.0, advantage)[0] for d in (1.0, 0.0, -1.0)]
    np.testing.assert_allclose(change, [8.150675, -1.849325, -11.849325], atol=1e-6)


def test_margin_weight_is_the_goal_index_of_the_world_football_elo_ratings():
    np.testing.assert_array_equal(margin_weight(np.array([0, 1, -1, 2, 3, -4, 5.0])), [1, 1, 1, 1.5, 1.75, 1.875, 2])


def test_ratings_before_each_match_on_a_worked_example():
    matches, results, decided_at = table(
        ("L", 0, "Ash", "Birch", 2, 0), ("L", 7, "Birch", "Ash", 1, 1), ("L", 14, "Ash", "Birch", None, None)
    )
    params = RatingParameters(elo=EloParameters(k=20.0, k_margin=10.0, home_advantage=65.0))
    ratings = team_ratings(matches, results, decided_at, params)
    # First match: even. Then Ash has won 8.150675 (margin: 10 × 1.5 × 0.407534 = 6.113006) from Birch.
    assert ratings["home_elo"].tolist()[:2] == pytest.approx([1500.0, 1491.849325])
    assert ratings["away_elo_margin"].tolist()[:2] == pytest.approx([1500.0, 1506.113006])
    # Pi after 2-0 between unrated teams: 0.035 × 3 log10(3) = 0.050098 at the venue, 0.7 of it at the other.
    assert ratings.loc[1, ["away_pi_home", "away_pi_away"]].tolist() == pytest.approx([0.0500976, 0.0350683], abs=1e-6)
    assert ratings.loc[1, ["home_pi_home", "home_pi_away"]].tolist() == pytest.approx(
        [-0.0350683, -0.0500976], abs=1e-6
    )
    # Birch at home against Ash: expected 1 / (1 + 10^(-(65 - 16.30135)/400)) = 0.569628, so a draw costs 1.392553.
    assert ratings.loc[2, "elo_difference"] == pytest.approx(2 * (8.150675 + 1.392553), abs=1e-5)
    assert ratings["home_matches"].tolist() == [0, 1, 2]
    assert ratings.loc[2, "last_input_at"] == pd.Timestamp("2020-08-09", tz="UTC")


def test_elo_agrees_with_a_plain_loop_over_matches(world):
    params = RatingParameters(newcomers=NewcomerRule(teams=1_000))  # everyone starts even
    facts = world.matches.reset_index().merge(world.results, on="match_id", how="left")
    decided = facts["index"].map(world.decided_at)
    ratings = team_ratings(world.matches, world.results, world.decided_at, params)
    for row, moment in zip(facts.itertuples(), decided, strict=True):
        if row.Index % 10:
            continue
        elo: dict[str, float] = {}
        for _, day in facts[facts["known_at"] <= moment].groupby("known_at"):
            before = dict(elo)
            for m in day.itertuples():
                home, away = before.get(m.home, 1500.0), before.get(m.away, 1500.0)
                score = 1.0 if m.home_score > m.away_score else 0.5 if m.home_score == m.away_score else 0.0
                moved = 20.0 * (score - 1.0 / (1.0 + 10.0 ** ((away - home - 65.0) / 400.0)))
                elo[m.home], elo[m.away] = elo.get(m.home, 1500.0) + moved, elo.get(m.away, 1500.0) - moved
        assert ratings.loc[row.index, "home_elo"] == pytest.approx(elo.get(row.home, 1500.0))
        assert ratings.loc[row.index, "away_elo"] == pytest.approx(elo.get(row.away, 1500.0))


def test_a_team_keeps_its_rating_when_it_changes_league_within_a_pool_and_not_beyond():
    rows = [("L1", day, "Ash", "Birch", 3, 0) for day in range(0, 70, 7)] + [("L2", 100, "Birch", "Cedar", None, None)]
    matches, results, decided_at = table(*rows)
    relegated = team_ratings(matches, results, decided_at).iloc[-1]
    assert relegated["home_matches"] == 10
    assert relegated["home_elo"] < 1460
    matches.loc[10, "rating_pool"] = "south"
    elsewhere = team_ratings(matches, results, decided_at).iloc[-1]
    assert elsewhere["home_matches"] == 0
    assert elsewhere["home_elo"] == 1500.0


def test_a_newcomer_is_taken_for_the_weakest_quarter_of_its_league():
    order = ["Ash", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Gorse", "Hazel"]  # each beats all that come after it
    rounds = [(h, a) for i, h in enumerate(order) for a in order[i + 1 :]]
    rows = [("L", day, h, a, 1, 0) for day, (h, a) in enumerate(rounds * 2)]
    rows += [
        ("L", 60, "Newtown", "Ash", None, None),
        ("L", 60, "Gorse", "Hazel", None, None),
        ("M", 60, "X", "Y", 0, 0),
    ]
    matches, results, decided_at = table(*rows)
    newcomer, weakest, other_league = (team_ratings(matches, results, decided_at).iloc[i] for i in (-3, -2, -1))
    assert newcomer["home_elo"] == pytest.approx((weakest["home_elo"] + weakest["away_elo"]) / 2)
    assert newcomer["home_pi_away"] == pytest.approx((weakest["home_pi_away"] + weakest["away_pi_away"]) / 2)
    assert pd.isna(newcomer["last_input_at"]) is False  # Ash has played
    assert other_league["home_elo"] == 1500.0


def test_a_newcomer_moves_on_from_where_it_was_placed():
    rows = [("L", day, f"T{day % 4}", f"T{4 + day % 3}", 2, day % 2) for day in range(60)]
    rows += [("L", 70, "Newtown", "T0", 0, 0), ("L", 77, "Newtown", "T0", None, None)]
    matches, results, decided_at = table(*rows)
    before, after = (team_ratings(matches, results, decided_at).iloc[i] for i in (-2, -1))
    assert before["home_elo"] < 1480.0
    expected = 1.0 / (1.0 + 10.0 ** (-(before["elo_difference"] + 65.0) / 400.0))
    assert after["home_elo"] == pytest.approx(before["home_elo"] + 20.0 * (0.5 - expected))


def test_elo_points_are_only_handed_over_never_made():
    rng = np.random.default_rng(3)
    names = [f"T{i}" for i in range(6)]
    rows = [("L", int(d), *rng.choice(names, 2, replace=False), *rng.poisson(1.5, 2)) for d in rng.integers(0, 80, 120)]
    matches, results, _ = table(*rows, *[("L", 200, name, "Other", None, None) for name in names])
    decided_at = matches["match_date"].dt.tz_localize("UTC")
    final = team_ratings(matches, results, decided_at, RatingParameters(newcomers=NewcomerRule(teams=99))).tail(6)
    assert final["home_elo"].mean() == pytest.approx(1500.0)
    assert final["home_elo_margin"].mean() == pytest.approx(1500.0)
    assert final["home_matches"].sum() == 240


def test_a_result_without_a_score_teaches_nothing():
    matches, results, decided_at = table(("L", 0, "Ash", "Birch", 2, 0), ("L", 7, "Birch", "Ash", None, None))
    ratings = team_ratings(matches, results.assign(home_score=np.nan), decided_at)
    assert ratings["home_elo"].tolist() == [1500.0, 1500.0]
    assert ratings["last_input_at"].isna().all()
