"""From a request to its answer, the same for both protocols: features, model, value, log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bentos.match_odds.contract import (
    Answer,
    Degraded,
    Models,
    PredictRequest,
    ScoreRequest,
    ScoreRow,
    WatchRequest,
)
from bentos.match_odds.errors import BadRequest
from bentos.match_odds.log.prediction_log import LoggedAnswer
from bentos.match_odds.model.batching import Batcher
from bentos.match_odds.model.champions import Champion
from bentos.match_odds.model.rows import CachedRow, ModelRow, RowAnswer, StoredRow
from bentos.match_odds.model.scoring import model_row
from bentos.match_odds.model.served import Served
from bentos.match_odds.model.value import prediction, scored_prediction
from bentos.match_odds.observing.tracing import span

if TYPE_CHECKING:
    from bentos.match_odds.features.feature_cache import FeatureCache
    from bentos.match_odds.log.prediction_log import PredictionLog
    from bentos.match_odds.log.shadow import Shadow
    from bentos.match_odds.observing.metrics import Metrics


class Answering:
    """Attributes of one process, and what it does with them.

    Args:
        served: gives the models of this moment; a request asks once, so that its answer is of one model.
        log, shadow: get what was answered; None where the service runs without a database.
        bound: seconds above which a cached row makes the answer a degraded one.
        max_odds_age: seconds, see `value.prediction`.
    """

    def __init__(
        self,
        served: Callable[[], Served],
        cache: FeatureCache,
        batcher: Batcher,
        log: PredictionLog | None,
        shadow: Shadow | None,
        metrics: Metrics,
        bound: float,
        max_odds_age: float,
    ) -> None:
        self._served = served
        self._cache = cache
        self._batcher = batcher
        self._log = log
        self._shadow = shadow
        self._metrics = metrics
        self._bound = bound
        self._max_odds_age = max_odds_age

    @property
    def must_wait(self) -> bool:
        """Whether a request may have to wait for long, so that it is worth knowing when its client goes away."""
        return self._batcher.is_busy or not self._cache.reachable

    async def predict(self, request: PredictRequest | WatchRequest, request_id: str) -> Answer:
        """Matches by id.

        Raises:
            NotFound: there is no model for the market.
            Unavailable: the online store cannot be reached, or not in time.
            Overloaded: see `Batcher.score`.
        """
        served = self._served()
        champion = served.champions.of(request.market)
        rows = self._cache.peek(champion, request.match_ids)
        self._metrics.cache_read(rows is not None)
        if rows is None:
            with span("features", matches=len(request.match_ids)):
                rows = await self._cache.get(champion, request.match_ids)
        with span("score", rows=len(rows)):
            answers = await self._batcher.score([row.stored.model for row in rows])
        kept = [(row, row.read_at) for row in rows]
        self._keep(served, champion, kept, answers, request_id)
        return Answer(
            market=request.market,
            selections=list(champion.bundle.market.selections),
            model_version=champion.version,
            bento=served.bento,
            request_id=request_id,
            predictions=[
                prediction(row, answer, request.staking, self._max_odds_age)
                for row, answer in zip(rows, answers, strict=True)
            ],
            degraded=[Degraded.FEATURES_FROM_CACHE] if any(row.age > self._bound for row in rows) else [],
        )

    async def score(self, request: ScoreRequest, request_id: str) -> Answer:
        """Explicit features.

        Raises:
            BadRequest: names the first row that the model cannot answer, and why.
            NotFound: there is no model for the market.
            Overloaded: see `Batcher.score`.
        """
        served = self._served()
        champion = served.champions.of(request.market)
        selections = champion.bundle.market.selections
        for i, row in enumerate(request.rows):
            if row.prices and len(row.prices) != len(selections):
                raise BadRequest(f"rows.{i}.prices: give {len(selections)} prices, of {', '.join(selections)}")
        rows = [model_row(champion, row.features) for row in request.rows]
        with span("score", rows=len(rows)):
            answers = await self._batcher.score(rows)
        for i, answer in enumerate(answers):
            if answer.error is not None:
                raise BadRequest(f"rows.{i}: {answer.error}")
        named = [i for i, given in enumerate(request.rows) if given.match_id is not None]
        if named:
            kept = [(_given(request.rows[i], rows[i]), None) for i in named]
            self._keep(served, champion, kept, [answers[i] for i in named], request_id)
        return Answer(
            market=request.market,
            selections=list(selections),
            model_version=champion.version,
            bento=served.bento,
            request_id=request_id,
            predictions=[
                scored_prediction(row, given.prices or None, answer, request.staking)
                for row, given, answer in zip(rows, request.rows, answers, strict=True)
            ],
        )

    def models(self) -> Models:
        """What is served, and which features it reads."""
        served = self._served()
        return Models(bento=served.bento, models=[champion.card() for champion in served.champions.values()])

    def _keep(
        self,
        served: Served,
        champion: Champion,
        rows: Sequence[tuple[CachedRow, dt.datetime | None]],
        answers: Sequence[RowAnswer],
        request_id: str,
    ) -> None:
        """Hand what was answered to the prediction log, and to the challenger.

        Args:
            rows: with the store's clock when they were read; None where they were not.
        """
        if self._log is None:
            return
        now = dt.datetime.now(dt.UTC)
        market = champion.bundle.market.market.value
        kept = [
            LoggedAnswer(
                predicted_at=now,
                request_id=request_id,
                match_id=row.stored.match_id,
                market=market,
                variant=answer.variant,
                model_version=champion.version,
                bento_tag=served.bento,
                probabilities=answer.probabilities,
                row=row.stored.model,
                feature_time=row.stored.feature_time,
                feature_read_at=read_at,
            )
            for (row, read_at), answer in zip(rows, answers, strict=True)
            if answer.error is None
        ]
        self._log.put(kept)
        if self._shadow is not None and market in served.challengers:
            good = [row for (row, _), answer in zip(rows, answers, strict=True) if answer.error is None]
            self._shadow.offer(served, list(zip(good, kept, strict=True)))


def _given(row: ScoreRow, model: ModelRow) -> CachedRow:
    """A row that the client gave, as if it had been stored."""
    assert row.match_id is not None
    stored = StoredRow(
        match_id=row.match_id,
        model=model,
        best_prices=row.prices or [],
        suspended=False,
        feature_time=row.feature_time,
        event_times={},
    )
    return CachedRow(stored, dt.datetime.now(dt.UTC), 0.0)
