"""What holds for ratings and form alike: nothing learned later than the decision may show in a feature."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from betting_assets.betting.form import team_form
from betting_assets.betting.ratings import team_ratings


def ratings(world):
    return team_ratings(world.matches, world.results, world.decided_at)


def form(world):
    return team_form(world.matches, world.results, world.statistics, world.decided_at)


both = pytest.mark.parametrize("features", [ratings, form])


@both
@pytest.mark.parametrize("seed", range(3))
def test_deleting_or_changing_later_results_changes_no_earlier_feature(features, make_world, seed):
    world = make_world(seed)
    cut = world.decided_at.quantile(0.3 + 0.2 * seed)
    before = world.decided_at <= cut
    expected = features(world)[before]
    later = world.results["known_at"] > cut
    changed = world.results.assign(home_score=world.results["home_score"] + 3 * later)
    assert_frame_equal(features(world.with_results(world.results[~later]))[before], expected)
    assert_frame_equal(features(world.with_results(changed))[before], expected)
    assert not features(world.with_results(changed)).equals(features(world))  # the change does reach later features


@both
def test_a_result_known_late_is_not_used_early(features, world):
    held_back = world.results.assign(known_at=world.results["known_at"] + pd.Timedelta(days=9, hours=5))
    table = features(world.with_results(held_back))
    assert (table["last_input_at"].dropna() <= world.decided_at[table["last_input_at"].notna()]).all()
    never = features(world.with_results(world.results.iloc[:0]))
    first = world.decided_at < held_back["known_at"].min()
    assert first.sum() > 5
    assert_frame_equal(table[first], never[first])


@both
def test_the_order_of_rows_means_nothing(features, world):
    expected = features(world)
    actual = features(world.shuffled(5)).loc[expected.index]
    assert_frame_equal(actual, expected, check_exact=False, rtol=1e-12)


@both
def test_matches_of_one_date_do_not_see_each_other_even_for_a_team_that_plays_twice(features, world):
    date = world.matches["match_date"].iloc[40]
    double = world.matches.assign(match_date=world.matches["match_date"].where(world.matches["home"] != "Town 1", date))
    midnight = pd.to_datetime(double["match_date"]).dt.tz_localize("UTC")
    known_at = double.set_index("match_id")["match_date"].dt.tz_localize("UTC") + pd.Timedelta(days=1)
    results = world.results.assign(known_at=world.results["match_id"].map(known_at))
    crowded = type(world)(double, results, world.statistics, midnight + pd.Timedelta(hours=12))
    expected = features(crowded)
    twice = double["home"] == "Town 1"
    assert twice.sum() > 5
    side = [c for c in expected if c.startswith("home_") and "days_since" not in c and "product" not in c]
    assert (expected.loc[twice, side].nunique(dropna=False) == 1).all()
    assert_frame_equal(features(crowded.shuffled(3)).loc[expected.index], expected, check_exact=False, rtol=1e-9)


@both
def test_last_input_is_the_newest_known_result_of_either_team(features, world):
    facts = world.matches.merge(world.results, on="match_id")
    table = features(world)
    for row in world.matches.sample(40, random_state=1).itertuples():
        theirs = facts[facts[["home", "away"]].isin([row.home, row.away]).any(axis=1)]
        known = theirs.loc[theirs["known_at"] <= world.decided_at[row.Index], "known_at"]
        assert (
            table.loc[row.Index, "last_input_at"] is pd.NaT
            if known.empty
            else (table.loc[row.Index, "last_input_at"] == known.max())
        )


@both
def test_a_result_on_the_stroke_of_its_known_time_counts_and_a_second_earlier_not(features, world):
    target = world.matches.index[world.decided_at.argmax()]
    home = world.matches.loc[target, "home"]
    played = world.matches[(world.matches[["home", "away"]] == home).any(axis=1)]["match_id"]
    newest = world.results[world.results["match_id"].isin(played)]["known_at"].sort_values().iloc[-3]
    assert newest < world.decided_at[target]
    for moment, reached in ((newest, True), (newest - pd.Timedelta(seconds=1), False)):
        decided_at = world.decided_at.where(world.decided_at.index != target, moment)
        table = features(type(world)(world.matches, world.results, world.statistics, decided_at))
        assert bool(table.loc[target, "last_input_at"] >= newest) is reached


@both
def test_a_match_without_a_decision_has_no_features_but_still_teaches(features, world):
    undecided = world.decided_at.where(np.arange(len(world.decided_at)) % 3 > 0)
    table = features(type(world)(world.matches, world.results, world.statistics, undecided))
    numbers = table.drop(columns=["match_id", "last_input_at", "home_matches", "away_matches"], errors="ignore")
    assert numbers[undecided.isna()].isna().all(axis=None)
    assert_frame_equal(table[undecided.notna()], features(world)[undecided.notna()])


@both
def test_the_table_has_one_row_a_match_in_the_order_of_the_matches(features, world):
    table = features(world)
    assert table.index.equals(world.matches.index)
    assert table["match_id"].equals(world.matches["match_id"])
    assert str(table["last_input_at"].dtype) == "datetime64[ns, UTC]"


@both
def test_no_matches_give_an_empty_table_with_all_columns(features, world):
    empty = type(world)(
        world.matches.iloc[:0], world.results.iloc[:0], world.statistics.iloc[:0], world.decided_at.iloc[:0]
    )
    assert features(empty).columns.equals(features(world).columns)


@both
def test_a_decision_after_its_own_result_is_refused(features, world):
    late = world.decided_at + pd.Timedelta(days=4)
    with pytest.raises(ValueError, match="after the result of their own match"):
        features(type(world)(world.matches, world.results, world.statistics, late))


@both
@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (
            lambda w: type(w)(w.matches, w.results, w.statistics, w.decided_at.reset_index(drop=True)),
            "index of matches",
        ),
        (lambda w: w.with_results(pd.concat([w.results, w.results.iloc[:1]])), "results: match_id m0 occurs more"),
        (lambda w: w.with_results(w.results.assign(match_id="x" + w.results["match_id"])), "belong to no row"),
        (
            lambda w: type(w)(w.matches.assign(match_id="m1"), w.results, w.statistics, w.decided_at),
            "matches: match_id m1 occurs more",
        ),
    ],
)
def test_inconsistent_frames_are_refused_in_one_clear_line(features, world, break_it, complaint):
    with pytest.raises(ValueError, match=complaint):
        features(break_it(world))
