"""Settlement of what is new leaves what a settlement of everything would, whatever happened in between."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted_log import FIRST_DAY, Said, at, plant, plant_match

from betting_assets.modelling.performance import DATE_ONLY_START
from betting_assets.modelling.settlement import Settlement, settle_new
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.outcomes import (
    count_outcomes,
    newest_outcomes,
    read_counting_outcomes,
    read_logged,
    write_outcomes,
)

pytestmark = pytest.mark.services
M, OTHER = "xx_1", "xx_2"
LATE = "not made before the result was known"
MIDNIGHT = dt.datetime.combine(FIRST_DAY + dt.timedelta(days=1), dt.time(), dt.UTC)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        return connection.execute(query).fetchall()


def do(url: str, *statements: str) -> None:
    with connect(url) as connection:
        for statement in statements:
            connection.execute(statement)


def settle(url: str, replay: bool = False, **more: int) -> Settlement:
    return settle_new(url, "feature_time" if replay else "predicted_at", **more)


def stored(url: str) -> dict[int, tuple[int, dt.datetime]]:
    found = rows(url, "SELECT prediction_id, outcome, settled_at FROM serving.prediction_outcome")
    return {number: (outcome, settled_at) for number, outcome, settled_at in found}


def test_both_roles_are_settled_and_the_same_again_writes_nothing(database: str) -> None:
    plant_match(database, M)
    early = Said(M, "v1", at(9))
    plant(
        database, [early, early.by_challenger("v1"), early.by_challenger("v2", 0.2, 0.3, 0.5), Said(OTHER, "v1", at(9))]
    )
    assert settle(database) == Settlement(outcomes=3, written=3, waiting=1, refused={})
    assert settle(database) == Settlement(outcomes=3, written=0, waiting=1, refused={})
    assert count_outcomes(database) == 3


def test_what_is_logged_late_is_settled_and_nothing_else_is_read(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_match(database, M)
    plant_match(database, OTHER)
    plant(database, [Said(M, "v1", at(9)), Said(M, "v1", at(10)), Said(OTHER, "v1", at(9))])
    settle(database)
    plant(database, [Said(M, "v1", at(11))])
    read: list[int] = []

    def counted(*given: Any, **named: Any) -> pd.DataFrame:
        frame = read_logged(*given, **named)
        read.append(len(frame))
        return frame

    monkeypatch.setattr("betting_assets.modelling.settlement.read_logged", counted)
    assert settle(database) == Settlement(outcomes=4, written=1, waiting=0, refused={})
    assert read == [1]


def test_a_corrected_result_settles_its_predictions_again(database: str) -> None:
    plant_match(database, M, score=(2, 1))
    plant(database, [Said(M, "v1", at(9), (0.5, 0.3, 0.2)), Said(M, "v1", at(9), (0.6, 0.4), market="over_under")])
    settle(database)
    do(database, "UPDATE core.result SET home_score = 0, away_score = 0")
    assert settle(database) == Settlement(outcomes=2, written=2, waiting=0, refused={})
    found = rows(database, "SELECT outcome, log_loss FROM serving.prediction_outcome ORDER BY prediction_id")
    assert found == [(1, pytest.approx(-math.log(0.3))), (1, pytest.approx(-math.log(0.4)))]


def test_a_result_that_is_taken_back_takes_its_outcomes_with_it(database: str) -> None:
    plant_match(database, M)
    plant(database, [Said(M, "v1", at(9))])
    settle(database)
    do(database, "DELETE FROM core.result")
    assert settle(database) == Settlement(outcomes=0, written=1, waiting=1, refused={})
    assert count_outcomes(database) == 0


def test_an_outcome_that_would_be_refused_now_is_withdrawn(database: str) -> None:
    """The result was known earlier than was thought."""
    plant_match(database, M)
    plant(database, [Said(M, "v1", at(9)), Said(M, "v1", at(11))])
    settle(database)
    with connect(database) as connection:
        connection.execute("UPDATE core.result SET known_at = %s", [at(10)])
    assert settle(database) == Settlement(outcomes=1, written=2, waiting=0, refused={LATE: 1})


def test_what_is_refused_stays_refused_and_is_counted_each_time(database: str) -> None:
    plant_match(database, M)
    plant(
        database,
        [Said(M, "v1", at(9)), Said(M, "v1", MIDNIGHT + dt.timedelta(seconds=1)), Said(M, "v1", at(9), (0.5,))],
    )
    expected = {LATE: 1, "probabilities are not a distribution over the market": 1}
    assert settle(database).refused == expected
    assert settle(database) == Settlement(outcomes=1, written=0, waiting=0, refused=expected)


def test_an_interrupted_settlement_is_made_good_by_the_next(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for match in (M, OTHER):
        plant_match(database, match)
        plant(database, [Said(match, "v1", at(9))])
    chunks = iter([True, False])

    def killed_at_the_second(*given: Any, **named: Any) -> Any:
        if next(chunks):
            return write_outcomes(*given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("betting_assets.modelling.settlement.write_outcomes", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            settle(database, chunk=1)
    assert count_outcomes(database) == 1
    assert settle(database) == Settlement(outcomes=2, written=1, waiting=0, refused={})


def counting(url: str, replay: bool = False, **only: str) -> list[tuple[str, str, float]]:
    found = read_counting_outcomes(url, "feature_time" if replay else "predicted_at", DATE_ONLY_START, **only)
    columns = zip(found["model_version"], found["role"], found["probabilities"], strict=True)
    return [(str(version), str(role), float(said[0])) for version, role, said in columns]


def p(first: float) -> tuple[float, float, float]:
    return (first, 0.5, 0.5 - first)


def test_only_the_last_prediction_before_the_start_counts(database: str) -> None:
    plant_match(database, M)  # at 15:00
    said = [
        Said(M, "v1", at(9), p(0.01)),
        Said(M, "v1", at(14, 59), p(0.02)),
        Said(M, "v1", at(15), p(0.03)),
        Said(M, "v1", at(13), p(0.04)),
        Said(M, "v2", at(10), p(0.05)),
        Said(M, "v1", at(9), (0.06, 0.94), market="over_under"),
        Said(M, "v2", at(8), p(0.07), role="challenger"),
    ]
    plant(database, said)
    settle(database)
    assert counting(database) == [
        ("v1", "champion", 0.02),
        ("v2", "champion", 0.05),
        ("v1", "champion", 0.06),
        ("v2", "challenger", 0.07),
    ]
    assert counting(database, market="1x2", model_version="v1") == [("v1", "champion", 0.02)]


def test_of_two_at_one_moment_the_later_in_the_log_counts(database: str) -> None:
    plant_match(database, M)
    plant(database, [Said(M, "v1", at(9), p(0.01)), Said(M, "v1", at(9), p(0.02))])
    settle(database)
    assert counting(database) == [("v1", "champion", 0.02)]


def test_without_a_kickoff_time_a_match_starts_at_noon(database: str) -> None:
    plant_match(database, M, kickoff=False)
    plant(database, [Said(M, "v1", at(11, 59), p(0.01)), Said(M, "v1", at(12), p(0.02))])
    settle(database)
    assert counting(database) == [("v1", "champion", 0.01)]


def test_in_a_replay_the_time_of_the_features_decides_what_counts(database: str) -> None:
    plant_match(database, M)
    now = dt.datetime(2026, 3, 6, tzinfo=dt.UTC)
    said = [Said(M, "v1", now, p(i / 100), features_at=moment) for i, moment in enumerate([at(9), at(10), at(16)])]
    plant(database, said)
    assert settle(database, replay=True).outcomes == 3
    assert counting(database, replay=True) == [("v1", "champion", 0.01)]
    assert counting(database) == [], "by the clock they were made after the match"


def test_the_newest_outcomes_come_first(database: str) -> None:
    plant_match(database, M)
    plant(database, [Said(M, "v1", at(9))] * 5)
    settle(database)
    numbers = newest_outcomes(database, 3)["prediction_id"].tolist()
    assert numbers == sorted(stored(database), reverse=True)[:3]


MATCHES = ("m_0", "m_1", "m_2")
SCORES = st.tuples(st.integers(0, 3), st.integers(0, 3))
SHAPES = {"1x2": (0.5, 0.3, 0.2), "over_under": (0.6, 0.4), "corners": (0.5, 0.5)}
LOGGED = st.builds(
    lambda match, market, hour, sound: Said(
        match, "v1", MIDNIGHT + dt.timedelta(hours=hour), SHAPES[market] if sound else (0.9,), market=market
    ),
    st.sampled_from((*MATCHES, "never_in_core")),
    st.sampled_from(tuple(SHAPES)),
    st.integers(-3, 3),
    st.sampled_from([True, True, True, False]),
)
RESULTS = st.tuples(
    st.sampled_from(MATCHES),
    st.none() | st.tuples(SCORES, st.integers(-2, 2).map(lambda h: MIDNIGHT + dt.timedelta(hours=h))),
)
EVENTS = st.lists(
    st.tuples(st.just("log"), st.lists(LOGGED, min_size=1, max_size=4))
    | st.tuples(st.just("result"), RESULTS)
    | st.tuples(st.just("settle"), st.integers(1, 5)),
    max_size=20,
)


@dataclass
class World:
    """What was said and what happened, settled from nothing, row by row."""

    said: list[Said] = field(default_factory=list)
    results: dict[str, tuple[tuple[int, int], dt.datetime]] = field(default_factory=dict)

    def fate(self, one: Said) -> tuple[int, dt.datetime] | str:
        if one.match_id not in self.results:
            return "waiting"
        (home, away), known_at = self.results[one.match_id]
        if one.market == "corners":
            return "market is not modelled"
        if len(one.probabilities) == 1:
            return "probabilities are not a distribution over the market"
        if one.at > known_at:
            return LATE
        won = (0 if home > away else 1 if home == away else 2) if one.market == "1x2" else int(home + away < 3)
        return won, known_at


def apply(url: str, world: World, match: str, result: tuple[tuple[int, int], dt.datetime] | None) -> None:
    with connect(url) as connection:
        connection.execute("DELETE FROM core.result WHERE match_id = %s", [match])
        world.results.pop(match, None)
        if result is not None:
            world.results[match] = result
            connection.execute("INSERT INTO core.result VALUES (%s, %s, %s, %s)", [match, *result[0], result[1]])


def check(url: str, world: World, settlement: Settlement) -> None:
    fates = [world.fate(one) for one in world.said]
    numbers = [number for (number,) in rows(url, "SELECT id FROM serving.prediction_log ORDER BY id")]
    expected = {number: fate for number, fate in zip(numbers, fates, strict=True) if isinstance(fate, tuple)}
    assert stored(url) == expected
    refused = Counter(fate for fate in fates if isinstance(fate, str))
    assert settlement.waiting == refused.pop("waiting", 0)
    assert settlement.refused == dict(refused)
    assert settlement.outcomes == len(expected)
    scores = rows(
        url,
        "SELECT o.outcome, o.log_loss, l.probabilities FROM serving.prediction_outcome o"
        " JOIN serving.prediction_log l ON l.id = o.prediction_id",
    )
    assert all(loss == pytest.approx(-np.log(said[won])) for won, loss, said in scores)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS)
def test_settling_what_is_new_equals_settling_everything(database: str, events: list[tuple[str, Any]]) -> None:
    do(database, "TRUNCATE core.match, serving.prediction_log CASCADE")
    world = World()
    for match in MATCHES:
        plant_match(database, match, score=None)
    for kind, what in [*events, ("settle", 2)]:
        if kind == "log":
            plant(database, what)
            world.said += what
        elif kind == "result":
            apply(database, world, *what)
        else:
            check(database, world, settle(database, chunk=what))
