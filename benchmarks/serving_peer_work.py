"""What the peers share: the same models, store, cache, log and shape of answer as the Bento, without its server.

A peer is what a good engineer would write by hand in a day on the same parts. It has no metrics, keys, limits on what
waits, cancellation, shadow or hot swap: all of that the Bento does on top of the same work.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bentos.match_odds.contract import Answer, PredictRequest
from bentos.match_odds.features.feature_cache import FeatureCache
from bentos.match_odds.front.request_ids import request_id
from bentos.match_odds.log.prediction_log import LoggedAnswer, PredictionLog
from bentos.match_odds.model.champions import Champion
from bentos.match_odds.model.rows import CachedRow, ModelRow, RowAnswer
from bentos.match_odds.model.value import prediction
from betting_assets.modelling.bundle import load_bundle

VARIABLE = "BENCHMARK_PEER"
BOUND = 0.25
MAX_ODDS_AGE = 172_800.0
Score = Callable[[Sequence[ModelRow]], Awaitable[list[RowAnswer]]]


@dataclass(frozen=True)
class PeerConfig:
    """Handed to a peer's processes in the environment. folders, versions: by market."""

    url: str
    tag: str
    folders: dict[str, str]
    versions: dict[str, str]

    def variable(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}


class Peer:
    """One process: `predict` is all it can do.

    Args:
        score: answers rows.
    """

    def __init__(self, score: Score) -> None:
        config = PeerConfig(**json.loads(os.environ[VARIABLE]))
        self._score = score
        self._tag = config.tag
        self._champions = {
            market: Champion(load_bundle(Path(folder)), config.versions[market])
            for market, folder in config.folders.items()
        }
        self._cache = FeatureCache(config.url, BOUND, 0.0)
        self._log = PredictionLog(config.url, f"peer:{os.getpid()}", lambda fate, rows: None)

    async def open(self) -> None:
        await self._cache.open()

    def close(self) -> None:
        self._cache.close()
        self._log.close()

    async def predict(self, request: PredictRequest) -> Answer:
        champion, name = self._champions[request.market], request_id(None)
        rows = self._cache.peek(champion, request.match_ids) or await self._cache.get(champion, request.match_ids)
        answers = await self._score([row.stored.model for row in rows])
        self._keep(champion, rows, answers, name)
        return Answer(
            market=request.market,
            selections=list(champion.bundle.market.selections),
            model_version=champion.version,
            bento=self._tag,
            request_id=name,
            predictions=[
                prediction(row, answer, request.staking, MAX_ODDS_AGE)
                for row, answer in zip(rows, answers, strict=True)
            ],
        )

    def _keep(self, champion: Champion, rows: Sequence[CachedRow], answers: Sequence[RowAnswer], name: str) -> None:
        now = dt.datetime.now(dt.UTC)
        kept = [
            LoggedAnswer(
                predicted_at=now,
                request_id=name,
                match_id=row.stored.match_id,
                market=champion.bundle.market.market.value,
                variant=answer.variant,
                model_version=champion.version,
                bento_tag=self._tag,
                probabilities=answer.probabilities,
                row=row.stored.model,
                feature_time=row.stored.feature_time,
                feature_read_at=row.read_at,
            )
            for row, answer in zip(rows, answers, strict=True)
        ]
        self._log.put(kept)
