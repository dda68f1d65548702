"""Between the messages of match_odds.proto and the types of contract.py, both ways and to the bit.

Requests pass contract.py's validation, so that their limits and the words of a refusal are those of HTTP.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TypeVar

from google.protobuf.struct_pb2 import NULL_VALUE, Struct
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, ValidationError

from bentos.match_odds.contract import (
    Answer,
    ModelCard,
    Models,
    Prediction,
    PredictRequest,
    ScoreRequest,
    ScoreRow,
    Staking,
    Value,
    WatchEvent,
    WatchRequest,
    Withheld,
    reason,
)
from bentos.match_odds.errors import BadRequest
from bentos.match_odds.proto import match_odds_pb2 as pb

Wanted = TypeVar("Wanted", bound=BaseModel)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DAY = 86_400

# Requests, in the service


def predict_request(message: pb.PredictRequest) -> PredictRequest:
    """Raises BadRequest."""
    return _valid(PredictRequest, _by_id(message))


def score_request(message: pb.ScoreRequest) -> ScoreRequest:
    """Raises BadRequest."""
    return _valid(
        ScoreRequest,
        {"market": message.market, "rows": [_row(row) for row in message.rows], "staking": _staking(message)},
    )


def watch_request(message: pb.WatchRequest) -> WatchRequest:
    """Raises BadRequest."""
    wanted = _by_id(message)
    if message.HasField("heartbeat_seconds"):
        wanted["heartbeat_seconds"] = message.heartbeat_seconds
    return _valid(WatchRequest, wanted)


def _valid(kind: type[Wanted], wanted: Mapping[str, object]) -> Wanted:
    try:
        return kind.model_validate(wanted)
    except ValidationError as error:
        raise BadRequest(reason(error)) from error


def _by_id(message: pb.PredictRequest | pb.WatchRequest) -> dict[str, object]:
    return {"market": message.market, "match_ids": list(message.match_ids), "staking": _staking(message)}


def _staking(message: pb.PredictRequest | pb.ScoreRequest | pb.WatchRequest) -> dict[str, float] | None:
    if not message.HasField("staking"):
        return None
    return {field.name: value for field, value in message.staking.ListFields()}


def _row(message: pb.ScoreRow) -> dict[str, object]:
    """No prices are None: a list of protobuf cannot be absent."""
    features = {name: _feature(value) for name, value in message.features.fields.items()}
    return {
        "features": features,
        "prices": list(message.prices) or None,
        "match_id": message.match_id if message.HasField("match_id") else None,
        "feature_time": _given_time(message.feature_time) if message.HasField("feature_time") else None,
    }


def _given_time(stamp: Timestamp) -> dt.datetime:
    try:
        return _time(stamp)
    except OverflowError as error:
        raise BadRequest("feature_time: is no time between the years 1 and 9999") from error


def _feature(value: object) -> object:
    """What JSON would have held. A value that is not set becomes what no feature may be, and is refused."""
    kind = value.WhichOneof("kind")  # type: ignore[attr-defined]
    if kind == "null_value":
        return None
    return () if kind is None else getattr(value, kind)


# Requests, in the client


def predict_message(market: str, match_ids: Sequence[str], staking: Staking | None) -> pb.PredictRequest:
    return pb.PredictRequest(market=market, match_ids=match_ids, staking=_staking_message(staking))


def score_message(market: str, rows: Sequence[ScoreRow], staking: Staking | None) -> pb.ScoreRequest:
    return pb.ScoreRequest(market=market, rows=[_row_message(row) for row in rows], staking=_staking_message(staking))


def watch_message(
    market: str, match_ids: Sequence[str], staking: Staking | None, heartbeat_seconds: float
) -> pb.WatchRequest:
    return pb.WatchRequest(
        market=market,
        match_ids=match_ids,
        staking=_staking_message(staking),
        heartbeat_seconds=heartbeat_seconds,
    )


def _staking_message(staking: Staking | None) -> pb.Staking | None:
    if staking is None:
        return None
    return pb.Staking(kelly_fraction=staking.kelly_fraction, max_stake=staking.max_stake)


class SteadyFeatures(dict[str, Value]):
    """Features most of which are asked about again and again: a dict whose `steady` part is a message already.

    Making the message of sixty features takes longer than all else that a client does for a row.
    """

    def __init__(self, steady: Steady, changing: Mapping[str, Value]) -> None:
        super().__init__(steady.features)
        self.update(changing)
        self.steady, self.changing = steady, changing


class Steady:
    """Features that stay the same over many rows."""

    def __init__(self, features: Mapping[str, Value]) -> None:
        self.features = features
        self.message = Struct()
        for name, value in features.items():
            _set_feature(self.message, name, value)


def _row_message(row: ScoreRow) -> pb.ScoreRow:
    time = row.feature_time
    message = pb.ScoreRow(
        prices=row.prices, match_id=row.match_id, feature_time=None if time is None else _timestamp(time)
    )
    rest: Mapping[str, Value] = row.features
    if isinstance(rest, SteadyFeatures):
        message.features.CopyFrom(rest.steady.message)
        rest = rest.changing
    for name, value in rest.items():
        _set_feature(message.features, name, value)
    message.features.SetInParent()
    return message


def _set_feature(features: Struct, name: str, value: Value) -> None:
    field = features.fields[name]
    if value is None:
        field.null_value = NULL_VALUE
    elif isinstance(value, str):
        field.string_value = value
    else:
        field.number_value = value


# Answers, in the service


def answer_message(answer: Answer) -> pb.Answer:
    return pb.Answer(
        market=answer.market,
        selections=answer.selections,
        model_version=answer.model_version,
        bento=answer.bento,
        request_id=answer.request_id,
        predictions=[_prediction_message(prediction) for prediction in answer.predictions],
        degraded=answer.degraded,
    )


def watch_event_message(event: WatchEvent) -> pb.WatchEvent:
    answer = None if event.answer is None else answer_message(event.answer)
    return pb.WatchEvent(sent_at=_timestamp(event.sent_at), answer=answer)


def models_message(models: Models) -> pb.Models:
    return pb.Models(bento=models.bento, models=[_card_message(card) for card in models.models])


def _prediction_message(prediction: Prediction) -> pb.Prediction:
    """None and an empty list are alike to protobuf's constructor: not set."""
    withheld = prediction.withheld
    return pb.Prediction(
        match_id=prediction.match_id,
        variant=prediction.variant,
        probabilities=prediction.probabilities,
        fair_odds=prediction.fair_odds,
        market_probabilities=prediction.market_probabilities,
        best_prices=prediction.best_prices,
        edges=prediction.edges,
        stakes=prediction.stakes,
        feature_time=None if prediction.feature_time is None else _timestamp(prediction.feature_time),
        feature_age_seconds=prediction.feature_age_seconds,
        feature_ages=prediction.feature_ages,
        cache_age_seconds=prediction.cache_age_seconds,
        withheld=None
        if withheld is None
        else pb.Withheld(reason=withheld.reason, detail=withheld.detail, fields=withheld.fields),
    )


def _card_message(card: ModelCard) -> pb.ModelCard:
    return pb.ModelCard(
        market=card.market,
        model_version=card.model_version,
        selections=card.selections,
        features=card.features,
        nullable=card.nullable,
        margin_method=card.margin_method,
        data_hash=card.data_hash,
        trained_at=_timestamp(card.trained_at),
        training_rows=card.training_rows,
    )


def _timestamp(time: dt.datetime) -> Timestamp:
    """Whole microseconds: floats of seconds would lose some."""
    since = time - EPOCH
    return Timestamp(seconds=since.days * DAY + since.seconds, nanos=since.microseconds * 1000)


# Answers, in the client


def answer(message: pb.Answer) -> Answer:
    """Raises ValidationError for words that this client does not know."""
    return Answer.model_validate(
        {
            "market": message.market,
            "selections": list(message.selections),
            "model_version": message.model_version,
            "bento": message.bento,
            "request_id": message.request_id,
            "predictions": [_prediction(prediction) for prediction in message.predictions],
            "degraded": list(message.degraded),
        }
    )


def watch_event(message: pb.WatchEvent) -> WatchEvent:
    found = answer(message.answer) if message.HasField("answer") else None
    return WatchEvent(sent_at=_time(message.sent_at), answer=found)


def models(message: pb.Models) -> Models:
    return Models(bento=message.bento, models=[_card(card) for card in message.models])


def _prediction(message: pb.Prediction) -> Prediction:
    """A map of protobuf has no order: the ages come back by name, which is the order that they are written in."""
    has = message.HasField
    return Prediction(
        match_id=message.match_id if has("match_id") else None,
        variant=message.variant if has("variant") else None,
        probabilities=list(message.probabilities),
        fair_odds=list(message.fair_odds),
        market_probabilities=list(message.market_probabilities),
        best_prices=list(message.best_prices),
        edges=list(message.edges),
        stakes=list(message.stakes),
        feature_time=_time(message.feature_time) if has("feature_time") else None,
        feature_age_seconds=message.feature_age_seconds if has("feature_age_seconds") else None,
        feature_ages=dict(sorted(message.feature_ages.items())),
        cache_age_seconds=message.cache_age_seconds if has("cache_age_seconds") else None,
        withheld=_withheld(message.withheld) if has("withheld") else None,
    )


def _withheld(message: pb.Withheld) -> Withheld:
    return Withheld.model_validate({"reason": message.reason, "detail": message.detail, "fields": list(message.fields)})


def _card(message: pb.ModelCard) -> ModelCard:
    return ModelCard.model_validate(
        {
            "market": message.market,
            "model_version": message.model_version,
            "selections": list(message.selections),
            "features": list(message.features),
            "nullable": list(message.nullable),
            "margin_method": message.margin_method,
            "data_hash": message.data_hash,
            "trained_at": _time(message.trained_at),
            "training_rows": message.training_rows,
        }
    )


def _time(stamp: Timestamp) -> dt.datetime:
    return EPOCH + dt.timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)
