"""What is read from the prediction log: champions and challengers are told apart, and paired by request."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest
from planted_log import FIRST_DAY, Said, at, plant, plant_match

from betting_assets.modelling.performance import DATE_ONLY_START
from betting_assets.warehouse.predictions import read_predictions, read_shadow_pairs, sample_online_reads

pytestmark = pytest.mark.services
M = "xx_1"


def pairs(url: str, replay: bool = False, **only: str) -> pd.DataFrame:
    return read_shadow_pairs(url, "feature_time" if replay else "predicted_at", DATE_ONLY_START, **only)


def champions_word(found: pd.DataFrame) -> list[float]:
    """The first probability of the champion's side: tests give each request one of its own."""
    return [row[0] for row in found["champion_probabilities"]]


def test_what_a_challenger_said_is_no_answer(database: str) -> None:
    shown = Said(M, "v1", at(10), features='{"a": 1}')
    plant(database, [shown, shown.by_challenger("v2", 0.4, 0.3, 0.3)])
    found = read_predictions(database)
    assert found["model_version"].tolist() == ["v1"]
    assert found["features"].tolist() == [{"a": 1}]
    assert read_predictions(database, model_version="v2").empty


def test_the_newest_answers_are_read_in_the_order_of_the_log(database: str) -> None:
    plant(database, [Said(f"xx_{i}", "v1", at(10)) for i in range(5)])
    assert read_predictions(database, most=3)["match_id"].tolist() == ["xx_2", "xx_3", "xx_4"]
    assert read_predictions(database)["match_id"].tolist() == [f"xx_{i}" for i in range(5)]


def test_skew_is_looked_for_in_answers_only(database: str) -> None:
    now = dt.datetime.now(dt.UTC)
    shown = Said(M, "v1", now, features='{"a": 1}')
    plant(database, [shown, Said(M, "v2", now, role="challenger", features='{"a": 1}')])
    assert len(read_predictions(database)) == 1
    assert sample_online_reads(database)["id"].tolist() == read_predictions(database)["id"].tolist()


def test_a_pair_is_of_one_request(database: str) -> None:
    plant_match(database, M)
    asked = Said(M, "v1", at(9), (0.5, 0.3, 0.2), request="a")
    others = [
        Said(M, "v1", at(10), (0.6, 0.2, 0.2), request="b"),
        Said(M, "v1", at(9, 1), (0.7, 0.2, 0.1), request="a"),
        Said(M, "v1", at(9), (0.6, 0.4), request="a", market="over_under"),
        Said("xx_2", "v1", at(9), (0.8, 0.1, 0.1), request="a"),
    ]
    plant_match(database, "xx_2")
    plant(database, [asked.by_challenger("v2", 0.4, 0.3, 0.3), asked, *others])
    found = pairs(database)
    assert champions_word(found) == [0.5]
    row = found.iloc[0]
    assert (row["market"], row["match_id"], row["challenger"], row["champion"]) == ("1x2", M, "v2", "v1")
    assert list(row["challenger_probabilities"]) == [0.4, 0.3, 0.3]
    assert (row["home_score"], row["away_score"], row["match_date"].date()) == (2, 1, FIRST_DAY)


def said_at(*moments: dt.datetime, match: str = M) -> list[Said]:
    """Request i with p = (i + 1) / 100, and what the challenger said to it."""
    shown = [
        Said(match, "v1", moment, ((i + 1) / 100, 0.5, 0.5 - (i + 1) / 100), request=str(i))
        for i, moment in enumerate(moments)
    ]
    return [row for one in shown for row in (one.by_challenger("v2"), one)]


def test_the_last_pair_before_the_start_counts(database: str) -> None:
    plant_match(database, M)
    plant(database, said_at(at(9), at(14, 59), at(11), at(15), at(16)))
    assert champions_word(pairs(database)) == [0.02]


def test_without_a_kickoff_time_a_match_starts_at_noon(database: str) -> None:
    plant_match(database, M, kickoff=False)
    plant(database, said_at(at(11, 59), at(12)))
    assert champions_word(pairs(database)) == [0.01]


def test_a_match_without_a_result_gives_no_pair(database: str) -> None:
    plant_match(database, M, score=None)
    plant(database, said_at(at(9)))
    assert pairs(database).empty


def test_what_was_said_after_the_result_was_known_is_no_evidence(database: str) -> None:
    """Its start is in the data, and wrong."""
    plant_match(database, M, known_at=at(10))
    plant(database, said_at(at(9), at(11)))
    assert champions_word(pairs(database)) == [0.01]


def test_in_a_replay_the_time_of_the_features_decides(database: str) -> None:
    plant_match(database, M)
    now = dt.datetime(2026, 3, 6, tzinfo=dt.UTC)
    before, after = Said(M, "v1", now, features_at=at(10), request="a"), Said(M, "v1", now, features_at=at(16))
    plant(database, [before, before.by_challenger("v2"), after, after.by_challenger("v2")])
    assert len(pairs(database, replay=True)) == 1
    assert pairs(database).empty


def test_pairs_are_of_the_versions_asked_for(database: str) -> None:
    plant_match(database, M)
    first, second = Said(M, "v1", at(9), request="a"), Said(M, "v5", at(10), request="b")
    two = Said(M, "v1", at(9), (0.5, 0.5), request="a", market="over_under")
    plant(database, [first, second, two])
    plant(database, [first.by_challenger("v2"), second.by_challenger("v2"), two.by_challenger("v2")])
    plant(database, [first.by_challenger("v3")])
    columns = ["market", "challenger", "champion"]
    assert pairs(database)[columns].to_numpy().tolist() == [
        ["1x2", "v2", "v1"],
        ["1x2", "v2", "v5"],
        ["1x2", "v3", "v1"],
        ["over_under", "v2", "v1"],
    ]
    found = pairs(database, market="1x2", challenger="v2", champion="v5")
    assert found[columns].to_numpy().tolist() == [["1x2", "v2", "v5"]]
