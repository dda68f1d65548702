"""The OpenAPI 3.1 page, written from the types in `contract`."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bentos.match_odds.board.contract import BoardData
from bentos.match_odds.contract import (
    LONGEST_HEARTBEAT,
    MAX_BODY,
    MAX_ROWS,
    Answer,
    Error,
    Health,
    Models,
    PredictRequest,
    ScoreRequest,
    Staking,
    WatchEvent,
    WatchRequest,
)

REFERENCE = "#/components/schemas/{model}"

MESSAGES = (PredictRequest, ScoreRequest, WatchRequest, Staking, Answer, WatchEvent, Models, Health, BoardData, Error)

REFUSALS = {
    400: "The request breaks its schema or its rules; one line says which row and which feature.",
    401: "The service asks for an API key, and this is none.",
    404: "A market without a model in this Bento.",
    413: f"The body is larger than {MAX_BODY} bytes.",
    415: "The body is not application/json.",
    503: "The online store cannot be reached, or there is more work than can be done: try again after `Retry-After`.",
}


@lru_cache(maxsize=4)
def document(bento: str) -> bytes:
    """The page for one Bento, as JSON."""
    return json.dumps(page(bento)).encode()


def page(bento: str) -> dict[str, Any]:
    _, schemas = models_json_schema([(model, "validation") for model in MESSAGES], ref_template=REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "match_odds", "version": bento.partition(":")[2]},
        "paths": {
            "/v1/predict": _post(
                "Probabilities for matches by id; what is missing for one match is said in its place.",
                PredictRequest,
                *(400, 401, 404, 413, 415, 503),
            ),
            "/v1/score": _post(
                "Probabilities for explicit features; a bad row refuses the request.",
                ScoreRequest,
                *(400, 401, 404, 413, 415, 503),
            ),
            "/v1/watch": {"get": _watch()},
            "/v1/models": {
                "get": {"summary": "What is served.", "responses": _responses(_reference(Models), 401)},
            },
            "/board": {
                "get": {"summary": "The live page.", "responses": _content("text/html", "The page."), "security": []}
            },
            "/board/data": {
                "get": {
                    "summary": "What the live page shows: the newest prediction of every market of matches not over.",
                    "responses": _responses(_reference(BoardData), 401, 503),
                }
            },
            "/board/events": {
                "get": {
                    "summary": "Server-sent events: `board` with all of a BoardData, then each `change` of it.",
                    "responses": _content("text/event-stream", "The stream.") | _refusals(401, 503),
                }
            },
            "/livez": {"get": {"summary": "The process answers.", "responses": _plain("Alive.")}},
            "/readyz": {"get": {"summary": "May this process be asked?", "responses": _health()}},
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Where keys are asked for."}
            },
        },
        "security": [{}, {"key": []}],
    }


def _post(summary: str, body: type[BaseModel], *refusals: int) -> dict[str, Any]:
    content = {"required": True, "content": {"application/json": {"schema": _reference(body)}}}
    return {
        "post": {
            "summary": summary,
            "requestBody": content,
            "responses": _responses(_reference(Answer), *refusals),
        }
    }


def _watch() -> dict[str, Any]:
    market = {"$ref": REFERENCE.format(model="MarketName")}
    matches = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_ROWS}
    share = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    seconds = {"type": "number", "minimum": 0.1, "maximum": LONGEST_HEARTBEAT}
    stream = {"text/event-stream": {"schema": {"type": "string"}}}
    return {
        "summary": "Server-sent events: all matches, then those whose odds moved; `data` is a WatchEvent.",
        "parameters": [
            _query("market", market, True),
            _query("match_id", matches, True),
            _query("heartbeat_seconds", seconds, False),
            _query("kelly_fraction", share, False),
            _query("max_stake", share, False),
        ],
        "responses": {
            "200": {"description": "The stream.", "content": stream},
            **_refusals(400, 401, 404, 503),
        },
    }


def _query(name: str, schema: dict[str, Any], required: bool) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _responses(answer: dict[str, Any], *refusals: int) -> dict[str, Any]:
    good = {"200": {"description": "The answer.", "content": {"application/json": {"schema": answer}}}}
    return good | _refusals(*refusals)


def _refusals(*codes: int) -> dict[str, Any]:
    error = {"application/json": {"schema": _reference(Error)}}
    return {str(code): {"description": REFUSALS[code], "content": error} for code in codes}


def _health() -> dict[str, Any]:
    content = {"application/json": {"schema": _reference(Health)}}
    return {
        "200": {"description": "Yes.", "content": content},
        "503": {"description": "No; `reasons` say why.", "content": content},
    }


def _plain(text: str) -> dict[str, Any]:
    return _content("text/plain", text)


def _content(kind: str, text: str) -> dict[str, Any]:
    return {"200": {"description": text, "content": {kind: {"schema": {"type": "string"}}}}}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model.__name__)}
