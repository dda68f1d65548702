"""The OpenAPI 3.1 page, written from the types in `contract`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bentos.match_odds.contract import (
    MAX_BODY,
    Answer,
    BatchRequest,
    Error,
    Models,
    PredictRequest,
    RowAnswer,
    ScoreRequest,
)
from bentos.match_odds.guard import BATCH_ROUTE

REFERENCE = "#/components/schemas/{model}"

MESSAGES = (PredictRequest, ScoreRequest, BatchRequest, RowAnswer, Answer, Models, Error)

REFUSALS = {
    400: "The request breaks its schema or its rules; one line says which row and which feature.",
    404: "A match that the online store does not have, or a market without a champion in this Bento.",
    409: "The stored features of a match do not fit the model.",
    413: f"The body is larger than {MAX_BODY} bytes.",
    415: "The body is not application/json.",
    503: "The online store cannot be reached, or there is more work than can be done: try again.",
}


def document(bento: str) -> dict[str, Any]:
    """The page for one Bento."""
    _, schemas = models_json_schema([(model, "validation") for model in MESSAGES], ref_template=REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "match_odds", "version": bento.partition(":")[2]},
        "paths": {
            "/v1/predict": _post(
                "Probabilities for matches by id.", PredictRequest, Answer, 400, 404, 409, 413, 415, 503
            ),
            "/v1/score": _post("Probabilities for explicit features.", ScoreRequest, Answer, 400, 404, 413, 415, 503),
            BATCH_ROUTE: _operation(
                "Rows of any market, scored together; a bad row has an error in its place.",
                _reference(BatchRequest),
                {"type": "array", "items": _reference(RowAnswer)},
                *(400, 413, 415, 503),
            ),
            "/v1/models": {"get": {"summary": "What is served.", "responses": _responses(_reference(Models))}},
            "/livez": {"get": {"summary": "The process answers.", "responses": _plain("Alive.")}},
            "/readyz": {"get": {"summary": "The models are loaded and warm.", "responses": _plain("Ready.")}},
        },
        "components": {"schemas": schemas["$defs"]},
    }


def _post(summary: str, body: type[BaseModel], answer: type[BaseModel], *refusals: int) -> dict[str, Any]:
    return _operation(summary, _reference(body), _reference(answer), *refusals)


def _operation(summary: str, body: dict[str, Any], answer: dict[str, Any], *refusals: int) -> dict[str, Any]:
    content = {"required": True, "content": {"application/json": {"schema": body}}}
    return {"post": {"summary": summary, "requestBody": content, "responses": _responses(answer, *refusals)}}


def _responses(answer: dict[str, Any], *refusals: int) -> dict[str, Any]:
    good = {"200": {"description": "The answer.", "content": {"application/json": {"schema": answer}}}}
    error = {"application/json": {"schema": _reference(Error)}}
    return good | {str(code): {"description": REFUSALS[code], "content": error} for code in refusals}


def _plain(text: str) -> dict[str, Any]:
    return {"200": {"description": text, "content": {"text/plain": {"schema": {"type": "string"}}}}}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model.__name__)}
