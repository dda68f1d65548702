"""The routes of the service: thin, their work is done in `online`, `scoring` and the batcher."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bentos.match_odds.contract import (
    Answer,
    Models,
    Prediction,
    PredictRequest,
    Row,
    RowAnswer,
    ScoreRequest,
    reason,
)
from bentos.match_odds.errors import BadRequest, ServingError
from bentos.match_odds.openapi import document

if TYPE_CHECKING:
    from bentos.match_odds.champions import Champion
    from bentos.match_odds.service import MatchOdds

Body = TypeVar("Body", bound=BaseModel)


async def predict(request: Request) -> Response:
    """Probabilities for matches by id."""
    service = _service(request)
    wanted = await _body(request, PredictRequest)
    champion = service.champions.of(wanted.market)
    rows = await service.online.rows(champion, wanted.match_ids, _request_id(request))
    return await _answer(service, champion, rows)


async def score(request: Request) -> Response:
    """Probabilities for explicit features."""
    service = _service(request)
    wanted = await _body(request, ScoreRequest)
    champion = service.champions.of(wanted.market)
    rows = [Row.model_construct(market=wanted.market, features=features) for features in wanted.rows]
    return await _answer(service, champion, rows)


async def models(request: Request) -> Response:
    """What is served, and which features it reads."""
    service = _service(request)
    return _json(Models(bento=service.tag, models=[champion.card() for champion in service.champions.values()]))


async def openapi(request: Request) -> Response:
    """This service's own page, instead of BentoML's, which knows nothing of these routes."""
    return JSONResponse(document(_service(request).tag))


async def _answer(service: MatchOdds, champion: Champion, rows: list[Row]) -> Response:
    answers = await service.batcher.score(rows)
    faults = [f"rows.{i}: {answer.error}" for i, answer in enumerate(answers) if answer.error is not None]
    if faults:
        raise BadRequest(faults[0])
    return _json(
        Answer(
            market=rows[0].market,
            selections=list(champion.bundle.market.selections),
            model_version=str(answers[0].model_version),
            bento=service.tag,
            predictions=_predictions(rows, answers),
        )
    )


def _predictions(rows: Sequence[Row], answers: Sequence[RowAnswer]) -> list[Prediction]:
    return [
        Prediction(
            match_id=row.match_id,
            variant=str(answer.variant),
            probabilities=answer.probabilities,
            fair_odds=[1.0 / p for p in answer.probabilities],
            feature_time=row.feature_time,
            feature_age_seconds=min(row.feature_ages.values(), default=None),
            feature_ages=row.feature_ages,
        )
        for row, answer in zip(rows, answers, strict=True)
    ]


async def _body(request: Request, kind: type[Body]) -> Body:
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        raise BadRequest(reason(error)) from error


def _request_id(request: Request) -> str:
    """The client's X-Request-ID where it can be kept as text, else a new one."""
    given = request.headers.get("x-request-id", "")
    return given if 0 < len(given) <= 80 and given.isprintable() else uuid.uuid4().hex


def _service(request: Request) -> MatchOdds:
    service: MatchOdds = request.app.state.service
    return service


def _json(message: BaseModel) -> Response:
    return Response(message.model_dump_json(), media_type="application/json")


async def _serving_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServingError)
    return JSONResponse({"error": str(error)}, error.status)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def make_routes() -> Starlette:
    """The ASGI app that is mounted into the service, which sets `state.service` when it has started."""
    return Starlette(
        routes=[
            Route("/v1/predict", predict, methods=["POST"]),
            Route("/v1/score", score, methods=["POST"]),
            Route("/v1/models", models, methods=["GET"]),
            Route("/docs.json", openapi, methods=["GET"]),
        ],
        exception_handlers={ServingError: _serving_error, HTTPException: _http_error},
    )
