"""Form against a recomputation from scratch for every match, and the rules for gaps."""

import numpy as np
import pandas as pd
import pytest

from betting_assets.betting.form import FormParameters, team_form

HALF_LIVES = {"short": 5.0, "long": 20.0}
SHOTS = ("shots", "shots_on_target")


def long_format(world):
    """One row a team and match, from the team's point of view."""
    facts = world.matches.merge(world.results, on="match_id").merge(world.statistics, on="match_id", how="left")
    sides = []
    for me, other in (("home", "away"), ("away", "home")):
        side = pd.DataFrame(
            {
                "match_id": facts["match_id"],
                "team": facts[me],
                "venue": me,
                "date": facts["match_date"],
                "known_at": facts["known_at"],
            }
        )
        side["goals_for"], side["goals_against"] = facts[f"{me}_score"], facts[f"{other}_score"]
        for name in SHOTS:
            side[f"{name}_for"], side[f"{name}_against"] = facts[f"{me}_{name}"], facts[f"{other}_{name}"]
        side["difference"] = side["goals_for"] - side["goals_against"]
        side["points"] = side["difference"].map(lambda d: 3.0 if d > 0 else 1.0 if d == 0 else 0.0)
        sides.append(side)
    return pd.concat(sides).sort_values("date", kind="stable")


def weighted(matches, column, half_life):
    """Mean with weights that halve every `half_life` dates on which the team was seen."""
    seen = matches[["date", column]].dropna()
    age = seen["date"].rank(method="dense", ascending=False) - 1.0
    return np.average(seen[column], weights=0.5 ** (age / half_life)) if len(seen) else np.nan


def recomputed(row, moment, history):
    """Every documented column of one match, from nothing but the results known at `moment`."""
    known = history[history["known_at"] <= moment]
    expected = {}
    for name, half_life in HALF_LIVES.items():
        for side, venue in (("home", "at_home"), ("away", "away")):
            mine = known[known["team"] == getattr(row, side)]
            for column in (
                "goals_for",
                "goals_against",
                "points",
                *(f"{s}_{d}" for s in SHOTS for d in ("for", "against")),
            ):
                expected[f"{side}_{column}_{name}"] = weighted(mine, column, half_life)
            at_venue = mine[mine["venue"] == side]
            expected[f"{side}_goal_difference_{venue}_{name}"] = weighted(at_venue, "difference", half_life)
            if len(mine):
                expected[f"{side}_days_since_match"] = (row.match_date - mine["date"].max()).days
        e = {key: expected[f"{key}_{name}"] for key in (k[: -len(name) - 1] for k in expected if k.endswith(name))}
        net = {s: e[f"{s}_shots_on_target_for"] - e[f"{s}_shots_on_target_against"] for s in ("home", "away")}
        expected[f"shots_on_target_difference_{name}"] = net["home"] - net["away"]
        expected[f"points_difference_{name}"] = e["home_points"] - e["away_points"]
        expected[f"home_goals_product_{name}"] = e["home_goals_for"] * e["away_goals_against"]
        expected[f"away_goals_product_{name}"] = e["away_goals_for"] * e["home_goals_against"]
    return expected


@pytest.mark.parametrize("seed", range(2))
def test_form_equals_a_recomputation_from_scratch_for_each_match(make_world, seed):
    world = make_world(seed)
    form, history = team_form(world.matches, world.results, world.statistics, world.decided_at), long_format(world)
    for row in world.matches.sample(30, random_state=seed).itertuples():
        expected = pd.Series(recomputed(row, world.decided_at[row.Index], history))
        actual = form.loc[row.Index].drop(["match_id", "last_input_at"]).astype(float)
        pd.testing.assert_series_equal(
            actual, expected.reindex(actual.index), check_names=False, check_dtype=False, rtol=1e-9
        )


def test_missing_statistics_leave_their_means_unchanged_and_the_others_move(world):
    kept, other = team_form(world.matches, world.results, world.statistics, world.decided_at), world.statistics.copy()
    played = world.matches.merge(world.results, on="match_id").sort_values("match_date")
    target = played["match_id"].iloc[30]
    home = played["home"].iloc[30]
    columns = ["home_shots", "away_shots"]
    other.loc[other["match_id"] == target, columns] = np.nan
    form = team_form(world.matches, world.results, other, world.decided_at)
    theirs = world.matches[world.matches["home"] == home].sort_values("match_date")
    later = theirs.index[world.decided_at[theirs.index] > played["known_at"].iloc[30]]
    assert not np.allclose(form.loc[later, "home_shots_for_short"], kept.loc[later, "home_shots_for_short"])
    assert form["home_goals_for_short"].equals(kept["home_goals_for_short"])
    assert form["home_shots_on_target_for_long"].equals(kept["home_shots_on_target_for_long"])


def test_matches_without_any_statistics_still_have_goals_and_points(world):
    form = team_form(world.matches, world.results, world.statistics[["match_id"]].iloc[:0], world.decided_at)
    assert form["home_shots_for_short"].isna().all()
    assert form["points_difference_short"].notna().mean() > 0.9


def test_form_is_the_adjusted_exponentially_weighted_mean_of_pandas(world):
    history, last = long_format(world), world.decided_at.idxmax()
    home = world.matches.loc[last, "home"]
    mine = history[(history["team"] == home) & (history["known_at"] <= world.decided_at[last])]
    single = mine.groupby("date").filter(lambda day: len(day) == 1)
    kept = world.with_results(world.results[world.results["match_id"].isin(single["match_id"])])
    form = team_form(kept.matches, kept.results, kept.statistics, kept.decided_at, FormParameters(short=3.0, long=9.0))
    for name, half_life in (("short", 3.0), ("long", 9.0)):
        expected = single["goals_for"].ewm(halflife=half_life, adjust=True).mean().iloc[-1]
        assert form.loc[last, f"home_goals_for_{name}"] == pytest.approx(expected)
