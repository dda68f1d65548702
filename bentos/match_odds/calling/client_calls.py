"""What can be asked of the service, in the words of both protocols.

Nothing is validated here: the service is the judge, so that a refusal is the same whoever asks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from bentos.match_odds.contract import Answer, Models, ScoreRow, Staking, Value, WatchEvent
from bentos.match_odds.proto import match_odds_pb2 as pb
from bentos.match_odds.proto import messages

Reply = TypeVar("Reply", bound=BaseModel)
Rows = Sequence[Mapping[str, Value] | ScoreRow]


@dataclass(frozen=True)
class Call(Generic[Reply]):
    """One question.

    Attributes:
        path, body, query: of HTTP: POST of the body as JSON, or GET with the query where there is no body.
        method, message: of gRPC: its name, and what makes the request.
        reply: the type of the answer, or of each event.
        read: makes it of gRPC's message.
    """

    path: str
    method: str
    reply: type[Reply]
    read: Callable[[Any], Reply]
    message: Callable[[], Any]
    body: Mapping[str, object] | None = None
    query: Sequence[tuple[str, str]] = ()


class Transport(Protocol):
    """One protocol's way to ask. `silence`: seconds without an event after which a stream is given up."""

    def ask(self, call: Call[Reply], request_id: str | None) -> Reply: ...

    def watch(
        self, call: Call[WatchEvent], request_id: str | None, silence: float
    ) -> Generator[WatchEvent, None, None]: ...

    def ready(self) -> bool: ...

    def close(self) -> None: ...


class AsyncTransport(Protocol):
    """As Transport, on asyncio."""

    async def ask(self, call: Call[Reply], request_id: str | None) -> Reply: ...

    def watch(
        self, call: Call[WatchEvent], request_id: str | None, silence: float
    ) -> AsyncGenerator[WatchEvent, None]: ...

    async def ready(self) -> bool: ...

    async def close(self) -> None: ...


def predict(market: str, match_ids: Sequence[str], staking: Staking | None) -> Call[Answer]:
    return Call(
        path="/v1/predict",
        method="Predict",
        reply=Answer,
        read=messages.answer,
        message=lambda: messages.predict_message(market, match_ids, staking),
        body={"market": market, "match_ids": list(match_ids), **_staking(staking)},
    )


def score(market: str, rows: Rows, staking: Staking | None) -> Call[Answer]:
    given = [row if isinstance(row, ScoreRow) else ScoreRow.model_construct(features=dict(row)) for row in rows]
    return Call(
        path="/v1/score",
        method="Score",
        reply=Answer,
        read=messages.answer,
        message=lambda: messages.score_message(market, given, staking),
        body={
            "market": market,
            "rows": [_row(row) for row in given],
            **_staking(staking),
        },
    )


def watch(market: str, match_ids: Sequence[str], staking: Staking | None, heartbeat_seconds: float) -> Call[WatchEvent]:
    shares = {} if staking is None else staking.model_dump()
    return Call(
        path="/v1/watch",
        method="Watch",
        reply=WatchEvent,
        read=messages.watch_event,
        message=lambda: messages.watch_message(market, match_ids, staking, heartbeat_seconds),
        query=[
            ("market", market),
            *(("match_id", match_id) for match_id in match_ids),
            ("heartbeat_seconds", repr(float(heartbeat_seconds))),
            *((name, repr(share)) for name, share in shares.items()),
        ],
    )


def models() -> Call[Models]:
    return Call(path="/v1/models", method="Models", reply=Models, read=messages.models, message=pb.ModelsRequest)


def _row(row: ScoreRow) -> dict[str, object]:
    time = row.feature_time
    return {
        "features": row.features,
        "prices": row.prices,
        "match_id": row.match_id,
        "feature_time": None if time is None else time.isoformat().replace("+00:00", "Z"),
    }


def _staking(staking: Staking | None) -> dict[str, object]:
    return {} if staking is None else {"staking": staking.model_dump()}
