import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Staking(_message.Message):
    __slots__ = ("kelly_fraction", "max_stake")
    KELLY_FRACTION_FIELD_NUMBER: _ClassVar[int]
    MAX_STAKE_FIELD_NUMBER: _ClassVar[int]
    kelly_fraction: float
    max_stake: float
    def __init__(self, kelly_fraction: _Optional[float] = ..., max_stake: _Optional[float] = ...) -> None: ...

class PredictRequest(_message.Message):
    __slots__ = ("market", "match_ids", "staking")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    MATCH_IDS_FIELD_NUMBER: _ClassVar[int]
    STAKING_FIELD_NUMBER: _ClassVar[int]
    market: str
    match_ids: _containers.RepeatedScalarFieldContainer[str]
    staking: Staking
    def __init__(self, market: _Optional[str] = ..., match_ids: _Optional[_Iterable[str]] = ..., staking: _Optional[_Union[Staking, _Mapping]] = ...) -> None: ...

class ScoreRow(_message.Message):
    __slots__ = ("features", "prices", "match_id", "feature_time")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    PRICES_FIELD_NUMBER: _ClassVar[int]
    MATCH_ID_FIELD_NUMBER: _ClassVar[int]
    FEATURE_TIME_FIELD_NUMBER: _ClassVar[int]
    features: _struct_pb2.Struct
    prices: _containers.RepeatedScalarFieldContainer[float]
    match_id: str
    feature_time: _timestamp_pb2.Timestamp
    def __init__(self, features: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., prices: _Optional[_Iterable[float]] = ..., match_id: _Optional[str] = ..., feature_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ("market", "rows", "staking")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    STAKING_FIELD_NUMBER: _ClassVar[int]
    market: str
    rows: _containers.RepeatedCompositeFieldContainer[ScoreRow]
    staking: Staking
    def __init__(self, market: _Optional[str] = ..., rows: _Optional[_Iterable[_Union[ScoreRow, _Mapping]]] = ..., staking: _Optional[_Union[Staking, _Mapping]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("market", "match_ids", "staking", "heartbeat_seconds")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    MATCH_IDS_FIELD_NUMBER: _ClassVar[int]
    STAKING_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    market: str
    match_ids: _containers.RepeatedScalarFieldContainer[str]
    staking: Staking
    heartbeat_seconds: float
    def __init__(self, market: _Optional[str] = ..., match_ids: _Optional[_Iterable[str]] = ..., staking: _Optional[_Union[Staking, _Mapping]] = ..., heartbeat_seconds: _Optional[float] = ...) -> None: ...

class ModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Withheld(_message.Message):
    __slots__ = ("reason", "detail", "fields")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    detail: str
    fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, reason: _Optional[str] = ..., detail: _Optional[str] = ..., fields: _Optional[_Iterable[str]] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("match_id", "variant", "probabilities", "fair_odds", "market_probabilities", "best_prices", "edges", "stakes", "feature_time", "feature_age_seconds", "feature_ages", "cache_age_seconds", "withheld")
    class FeatureAgesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MATCH_ID_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    FAIR_ODDS_FIELD_NUMBER: _ClassVar[int]
    MARKET_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    BEST_PRICES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    STAKES_FIELD_NUMBER: _ClassVar[int]
    FEATURE_TIME_FIELD_NUMBER: _ClassVar[int]
    FEATURE_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FEATURE_AGES_FIELD_NUMBER: _ClassVar[int]
    CACHE_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    match_id: str
    variant: str
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    fair_odds: _containers.RepeatedScalarFieldContainer[float]
    market_probabilities: _containers.RepeatedScalarFieldContainer[float]
    best_prices: _containers.RepeatedScalarFieldContainer[float]
    edges: _containers.RepeatedScalarFieldContainer[float]
    stakes: _containers.RepeatedScalarFieldContainer[float]
    feature_time: _timestamp_pb2.Timestamp
    feature_age_seconds: float
    feature_ages: _containers.ScalarMap[str, float]
    cache_age_seconds: float
    withheld: Withheld
    def __init__(self, match_id: _Optional[str] = ..., variant: _Optional[str] = ..., probabilities: _Optional[_Iterable[float]] = ..., fair_odds: _Optional[_Iterable[float]] = ..., market_probabilities: _Optional[_Iterable[float]] = ..., best_prices: _Optional[_Iterable[float]] = ..., edges: _Optional[_Iterable[float]] = ..., stakes: _Optional[_Iterable[float]] = ..., feature_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., feature_age_seconds: _Optional[float] = ..., feature_ages: _Optional[_Mapping[str, float]] = ..., cache_age_seconds: _Optional[float] = ..., withheld: _Optional[_Union[Withheld, _Mapping]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("market", "selections", "model_version", "bento", "request_id", "predictions", "degraded")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    SELECTIONS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    BENTO_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    market: str
    selections: _containers.RepeatedScalarFieldContainer[str]
    model_version: str
    bento: str
    request_id: str
    predictions: _containers.RepeatedCompositeFieldContainer[Prediction]
    degraded: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, market: _Optional[str] = ..., selections: _Optional[_Iterable[str]] = ..., model_version: _Optional[str] = ..., bento: _Optional[str] = ..., request_id: _Optional[str] = ..., predictions: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ..., degraded: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchEvent(_message.Message):
    __slots__ = ("sent_at", "answer")
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    sent_at: _timestamp_pb2.Timestamp
    answer: Answer
    def __init__(self, sent_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ...) -> None: ...

class ModelCard(_message.Message):
    __slots__ = ("market", "model_version", "selections", "features", "nullable", "margin_method", "data_hash", "trained_at", "training_rows")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SELECTIONS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    NULLABLE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_METHOD_FIELD_NUMBER: _ClassVar[int]
    DATA_HASH_FIELD_NUMBER: _ClassVar[int]
    TRAINED_AT_FIELD_NUMBER: _ClassVar[int]
    TRAINING_ROWS_FIELD_NUMBER: _ClassVar[int]
    market: str
    model_version: str
    selections: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.RepeatedScalarFieldContainer[str]
    nullable: _containers.RepeatedScalarFieldContainer[str]
    margin_method: str
    data_hash: str
    trained_at: _timestamp_pb2.Timestamp
    training_rows: int
    def __init__(self, market: _Optional[str] = ..., model_version: _Optional[str] = ..., selections: _Optional[_Iterable[str]] = ..., features: _Optional[_Iterable[str]] = ..., nullable: _Optional[_Iterable[str]] = ..., margin_method: _Optional[str] = ..., data_hash: _Optional[str] = ..., trained_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., training_rows: _Optional[int] = ...) -> None: ...

class Models(_message.Message):
    __slots__ = ("bento", "models")
    BENTO_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    bento: str
    models: _containers.RepeatedCompositeFieldContainer[ModelCard]
    def __init__(self, bento: _Optional[str] = ..., models: _Optional[_Iterable[_Union[ModelCard, _Mapping]]] = ...) -> None: ...
