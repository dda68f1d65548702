"""What the causes of a retraining are counted from."""

from __future__ import annotations

import datetime as dt
import json

import psycopg

from betting_assets.warehouse import deployments
from betting_assets.warehouse.causes import count_results_since, newest_features, newest_training, served_versions
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.models import record_snapshot


def played(conn: psycopg.Connection, match: str) -> None:
    conn.execute(
        "INSERT INTO core.match (match_id, sport, league, season, rating_pool, match_date, home, away, source)"
        " VALUES (%s, 'football', 'X', '2021', 'X', '2021-01-01', 'a', 'b', 'test')",
        [match],
    )
    conn.execute(
        "INSERT INTO core.result (match_id, home_score, away_score, known_at) VALUES (%s, 1, 0, '2021-01-02Z')", [match]
    )


def answered(conn: psycopg.Connection, match: str, elo: float, version: str = "v1", role: str = "champion") -> None:
    conn.execute(
        "INSERT INTO serving.prediction_log (request_id, match_id, market, variant, model_version, bento_tag,"
        " probabilities, features, served_by, role)"
        " VALUES ('r', %s, '1x2', 'market_residual', %s, 'b', '{0.4,0.3,0.3}', %s, 'test', %s)",
        [match, version, json.dumps({"home_elo": elo}), role],
    )


def test_new_and_corrected_results_count_from_the_newest_training_of_the_market(database: str) -> None:
    assert newest_training(database, "1x2") is None
    with connect(database) as conn:
        played(conn, "old")
        played(conn, "corrected")
    record_snapshot(database, "1x2", "1x2_training", "digest", 2, ["a"], "a.parquet")
    since = newest_training(database, "1x2")
    assert since is not None
    assert newest_training(database, "over_under") is None
    assert count_results_since(database, since) == 0
    with connect(database) as conn:
        played(conn, "new")
        conn.execute("UPDATE core.result SET home_score = 3, updated_at = now() WHERE match_id = 'corrected'")
    assert count_results_since(database, since) == 2
    assert count_results_since(database, since - dt.timedelta(days=1)) == 3


def test_a_match_counts_once_with_what_it_was_last_given(database: str) -> None:
    with connect(database) as conn:
        for elo in range(20):
            answered(conn, "often", float(elo))
        answered(conn, "once", 50.0)
        answered(conn, "hidden", 60.0, role="challenger")
        answered(conn, "before", 70.0, version="v0")
    found = newest_features(database, "1x2", "v1", most=100)
    assert found.to_dict("list") == {"match_id": ["often", "once"], "home_elo": [19.0, 50.0]}


def test_only_the_newest_matches_are_given(database: str) -> None:
    with connect(database) as conn:
        for match in ("a", "b", "c"):
            answered(conn, match, 1.0)
        answered(conn, "a", 2.0)
    assert newest_features(database, "1x2", "v1", most=2)["match_id"].tolist() == ["c", "a"]
    assert newest_features(database, "1x2", "v1", most=9, reach=1)["match_id"].tolist() == ["a"]
    assert newest_features(database, "1x2", "nobody", most=9).empty


def test_what_is_served_is_what_the_current_deployment_names(database: str) -> None:
    assert served_versions(database) == {}
    deployment = deployments.propose(database, "b:1", {"1x2": "match_odds_1x2/4"}, [])
    assert served_versions(database) == {}
    deployments.mark_healthy(database, deployment)
    deployments.make_current(database, deployment)
    assert served_versions(database) == {"1x2": "match_odds_1x2/4"}
