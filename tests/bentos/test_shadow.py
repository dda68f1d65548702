"""The challenger answers what the champion answered, is counted to the row, and can do no harm."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import psycopg
import pytest
from invented_models import invented_bundle

from bentos.match_odds.log.prediction_log import Fate, LoggedAnswer, PredictionLog
from bentos.match_odds.log.shadow import BATCH, Shadow, ShadowFate
from bentos.match_odds.model.champions import Champion, Champions
from bentos.match_odds.model.rows import CachedRow, ModelRow, RowAnswer, StoredRow
from bentos.match_odds.model.scoring import model_row, score
from bentos.match_odds.model.served import Served

NOW = dt.datetime(2026, 3, 6, 15, 0, tzinfo=dt.UTC)
Offer = list[tuple[CachedRow, LoggedAnswer]]
SCORED, DROPPED, FAILED = ShadowFate.SCORED, ShadowFate.DROPPED, ShadowFate.FAILED


class Fates(Counter[str]):
    def count(self, fate: str, rows: int) -> None:
        self[fate] += rows


class Calls:
    """The real scoring, with its batches kept."""

    def __init__(self) -> None:
        self.batches: list[list[ModelRow]] = []

    def __call__(self, rows: Sequence[ModelRow]) -> list[RowAnswer]:
        self.batches.append(list(rows))
        return score(rows)

    @property
    def rows(self) -> list[ModelRow]:
        return [row for batch in self.batches for row in batch]


@pytest.fixture(scope="session")
def challenger() -> Champion:
    return Champion(invented_bundle("1x2", seed=2)[0], "match_odds_1x2/4")


@pytest.fixture
def served(champions: Champions, challenger: Champion) -> Served:
    return Served("match_odds:b1", champions, Champions({"1x2": challenger}))


@pytest.fixture
def fates() -> Fates:
    return Fates()


@pytest.fixture
def shadows() -> Iterator[Callable[..., Shadow]]:
    """Makes shadows that are closed after the test."""
    made: list[Shadow] = []

    def make(score: Callable[[Sequence[ModelRow]], list[RowAnswer]], fates: Fates, **more: object) -> Shadow:
        arguments: dict[str, object] = {"log": None, "busy": lambda: False, **more}
        made.append(Shadow(score, count=fates.count, **arguments))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for shadow in made:
        shadow.close()


def answered(champions: Champions, n: int, market: str = "1x2", first: int = 0, request: str = "r") -> Offer:
    """What the champion answered to one request about n matches."""
    champion = champions[market]
    rows = []
    for i in range(first, first + n):
        rng = np.random.default_rng(i)
        k = len(champion.bundle.market.selections)
        values = np.append(rng.normal(size=len(champion.bundle.numbers) - k), rng.dirichlet(np.full(k, 5.0)))
        model = ModelRow(champion, values, "XX")
        stored = StoredRow(f"xx_{i}", model, [2.0] * k, False, NOW, {})
        answer = score([model])[0]
        logged = LoggedAnswer(
            predicted_at=NOW,
            request_id=request,
            match_id=stored.match_id,
            market=market,
            variant=answer.variant,
            model_version=champion.version,
            bento_tag="match_odds:b1",
            probabilities=answer.probabilities,
            row=model,
            feature_time=NOW,
            feature_read_at=NOW,
        )
        rows.append((CachedRow(stored, NOW, 0.0), logged))
    return rows


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


@pytest.mark.services
def test_the_challengers_answer_stands_beside_the_champions_in_the_log(
    database: str, champions: Champions, challenger: Champion, served: Served, shadows: Callable[..., Shadow]
) -> None:
    written, fates = Fates(), Fates()
    log = PredictionLog(database, "h:1", written.count)
    shadow = shadows(score, fates, log=log)
    rows = answered(champions, 5)
    log.put([logged for _, logged in rows])
    shadow.offer(served, rows)
    eventually(lambda: fates[SCORED] == 5)
    shadow.close()
    log.close()
    with psycopg.connect(database) as connection:
        found = connection.execute(
            """SELECT a.match_id, a.model_version, b.model_version, b.probabilities, b.variant, b.bento_tag
                 FROM serving.prediction_log a JOIN serving.prediction_log b
                USING (request_id, match_id, market, predicted_at, feature_time, feature_read_at)
                WHERE a.role = 'champion' AND b.role = 'challenger' ORDER BY a.id"""
        ).fetchall()
    expected = score([model_row(challenger, cached.stored.model.features()) for cached, _ in rows])
    assert found == [
        (logged.match_id, "3", "match_odds_1x2/4", answer.probabilities, answer.variant, "match_odds:b1")
        for (_, logged), answer in zip(rows, expected, strict=True)
    ]
    assert [one.probabilities for one in expected] != [list(logged.probabilities) for _, logged in rows]
    assert written == {Fate.WRITTEN: 10}


def test_a_challenger_that_reads_fewer_features_is_given_those(
    champions: Champions, challenger: Champion, shadows: Callable[..., Shadow], fates: Fates
) -> None:
    bundle = challenger.bundle
    fewer = {
        name: replace(variant, features=tuple(f for f in variant.features if f != "month"))
        for name, variant in bundle.variants.items()
    }
    calls: list[ModelRow] = []

    def keep(rows: Sequence[ModelRow]) -> list[RowAnswer]:
        calls.extend(rows)
        return [RowAnswer([1.0], "v")] * len(rows)

    small = Champion(replace(bundle, variants=fewer), "small")
    shadow = shadows(keep, fates)
    rows = answered(champions, 1)
    shadow.offer(Served("b", champions, Champions({"1x2": small})), rows)
    eventually(lambda: fates[SCORED] == 1)
    whole = dict(rows[0][0].stored.model.features())
    whole.pop("month")
    assert dict(calls[0].features()) == whole
    assert calls[0].champion is small


def test_a_challenger_that_reads_more_than_was_read_fails_and_says_what_is_missing(
    champions: Champions,
    challenger: Champion,
    shadows: Callable[..., Shadow],
    fates: Fates,
    caplog: pytest.LogCaptureFixture,
) -> None:
    more = {
        name: replace(variant, features=(*variant.features, "home_xg"))
        for name, variant in challenger.bundle.variants.items()
    }
    shadow = shadows(score, fates)
    greedy = Champions({"1x2": Champion(replace(challenger.bundle, variants=more), "greedy")})
    shadow.offer(Served("b", champions, greedy), answered(champions, 2))
    eventually(lambda: fates[FAILED] == 2)
    assert fates == {FAILED: 2}
    assert "challenger greedy fails" in caplog.text
    assert "missing feature 'home_xg'" in caplog.text


def test_a_challenger_that_breaks_hurts_nobody_else_and_is_told_of_once(
    champions: Champions,
    challenger: Champion,
    shadows: Callable[..., Shadow],
    fates: Fates,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def one_breaks(rows: Sequence[ModelRow]) -> list[RowAnswer]:
        if rows[0].champion.version == "broken":
            raise RuntimeError("no such tree")
        return score(rows)

    shadow = shadows(one_breaks, fates)
    both = Champions({"1x2": Champion(challenger.bundle, "broken"), "over_under": champions["over_under"]})
    served = Served("b", champions, both)
    for i in range(3):
        shadow.offer(served, answered(champions, 2, first=2 * i))
        shadow.offer(served, answered(champions, 1, "over_under", first=i))
    eventually(lambda: sum(fates.values()) == 9)
    assert fates == {FAILED: 6, SCORED: 3}
    assert caplog.text.count("challenger broken fails") == 1


def test_while_requests_wait_nothing_is_taken_in(
    champions: Champions, served: Served, shadows: Callable[..., Shadow], fates: Fates
) -> None:
    waiting, calls = True, Calls()
    shadow = shadows(calls, fates, busy=lambda: waiting)
    shadow.offer(served, answered(champions, 3))
    assert fates == {DROPPED: 3}
    waiting = False
    shadow.offer(served, answered(champions, 2))
    eventually(lambda: fates[SCORED] == 2)
    assert len(calls.rows) == 2


def test_what_does_not_fit_is_dropped_and_every_row_has_one_fate(
    champions: Champions, served: Served, shadows: Callable[..., Shadow], fates: Fates
) -> None:
    free = threading.Event()

    def slow(rows: Sequence[ModelRow]) -> list[RowAnswer]:
        free.wait(10)
        return score(rows)

    shadow = shadows(slow, fates, capacity=50)
    for i in range(10):
        shadow.offer(served, answered(champions, 20, first=20 * i))
    assert fates == {DROPPED: 150}
    free.set()
    eventually(lambda: fates[SCORED] == 50)
    assert fates == {SCORED: 50, DROPPED: 150}


def test_batches_are_short(champions: Champions, served: Served, shadows: Callable[..., Shadow], fates: Fates) -> None:
    calls = Calls()
    shadow = shadows(calls, fates)
    shadow.offer(served, answered(champions, 3 * BATCH))
    eventually(lambda: fates[SCORED] == 3 * BATCH)
    assert max(map(len, calls.batches)) == BATCH


def test_a_row_that_did_not_change_is_scored_once_and_one_that_did_is_scored_anew(
    champions: Champions, challenger: Champion, served: Served, shadows: Callable[..., Shadow], fates: Fates
) -> None:
    calls = Calls()
    shadow = shadows(calls, fates)
    rows = answered(champions, 1)
    moved = answered(champions, 1)
    for _ in range(3):
        shadow.offer(served, rows * 2)
    shadow.offer(served, moved)
    eventually(lambda: fates[SCORED] == 7)
    assert len(calls.rows) == 2
    newer = Champions({"1x2": Champion(challenger.bundle, "5")})
    shadow.offer(Served("b", champions, newer), moved)
    eventually(lambda: fates[SCORED] == 8)
    assert calls.rows[-1].champion is newer["1x2"]


def test_memory_of_answers_is_bounded(
    champions: Champions,
    served: Served,
    shadows: Callable[..., Shadow],
    fates: Fates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bentos.match_odds.log.shadow.REMEMBERED", 100)
    shadow = shadows(score, fates)
    for i in range(10):
        shadow.offer(served, answered(champions, 40, first=40 * i))
        eventually(lambda i=i: fates[SCORED] == 40 * (i + 1))  # type: ignore[misc]
        assert len(shadow._known) <= 100 + BATCH


def test_without_a_challenger_for_the_market_nothing_happens(
    champions: Champions, served: Served, shadows: Callable[..., Shadow], fates: Fates
) -> None:
    shadow = shadows(score, fates)
    shadow.offer(served, answered(champions, 2, "over_under"))
    shadow.offer(served, [])
    shadow.close()
    assert fates == {}


def test_a_challenger_that_hangs_does_not_hold_up_the_end(
    champions: Champions, served: Served, shadows: Callable[..., Shadow], fates: Fates
) -> None:
    free, began = threading.Event(), threading.Event()

    def hang(rows: Sequence[ModelRow]) -> list[RowAnswer]:
        began.set()
        free.wait(30)
        return score(rows)

    shadow = shadows(hang, fates)
    shadow.offer(served, answered(champions, 3))
    assert began.wait(10)
    closer = threading.Thread(target=shadow.close, args=(0.1,))
    closer.start()
    closer.join(5)
    assert not closer.is_alive()
    free.set()
    shadow.offer(served, answered(champions, 1))
    assert fates == {DROPPED: 4}
