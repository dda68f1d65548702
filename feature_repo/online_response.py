"""Feast's answer to an online read, made of bytes in bulk instead of one Python object a cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from feast import FeatureView, ValueType
from feast.infra.online_stores.online_store import OnlineStore
from feast.metrics import track_feature_statuses
from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import feast_value_type_to_python_type
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from feature_repo.online_read import NOT_FOUND, PRESENT, Floats, Read, ViewRows
from feature_repo.online_sql import NEVER
from feature_repo.packing import FEW, NULL, Schema, serialized_doubles

FeatureVector = GetOnlineFeaturesResponse.FeatureVector
Places = NDArray[np.intp] | slice
SHIFTS = np.arange(0, 35, 7)
STATUSES, TIMES, RESULTS = 0x12, 0x1A, 0x12
"""Tags of FeatureVector.statuses, FeatureVector.event_timestamps and GetOnlineFeaturesResponse.results."""


class PackedResponse(OnlineResponse):
    """Feast's answer; its cells become Python values faster where they are numbers."""

    @classmethod
    def like(cls, response: OnlineResponse) -> PackedResponse:
        packed = cls.__new__(cls)
        packed.__dict__.update(response.__dict__)
        return packed

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        for name, vector in zip(self.proto.metadata.feature_names.val, self.proto.results, strict=True):
            answer[name] = [
                cell.double_val if cell.HasField("double_val") else self._python(cell, name) for cell in vector.values
            ]
            if include_event_timestamps:
                answer[name + TIMESTAMP_POSTFIX] = [time.seconds for time in vector.event_timestamps]
        return answer

    def _python(self, cell: ValueProto, name: str) -> Any:
        if cell.WhichOneof("val") is None:
            return None
        return feast_value_type_to_python_type(cell, self._feature_types.get(name))


class FeatureTypes(Mapping[str, ValueType]):
    """The declared types of an answer's features, worked out when somebody asks: most never do."""

    def __init__(self, wanted: Sequence[tuple[FeatureView, Sequence[str]]]) -> None:
        self._wanted = list(wanted)

    @cached_property
    def _types(self) -> dict[str, ValueType]:
        types: dict[str, ValueType] = OnlineStore._build_feature_types(self._wanted)
        return types

    def __getitem__(self, name: str) -> ValueType:
        return self._types[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def __bool__(self) -> bool:
        return True


def fill_response(
    response: GetOnlineFeaturesResponse,
    wanted: Sequence[tuple[FeatureView, Sequence[str]]],
    read: Read,
    asked_at: Sequence[Sequence[int]],
    asked: int,
    full_feature_names: bool,
    with_version: bool,
) -> None:
    """Append the features of views that were asked for the same keys to Feast's answer.

    Args:
        asked_at: for each key, its places in the answer: a key may be asked for twice.
        asked: length of the answer.
    """
    take = _take(asked_at, asked)
    times = _times(read.answer.times[:, take])
    doubles = _doubles(wanted, read, take)
    vectors: list[bytes] = []
    for number, (view, names) in enumerate(wanted):
        prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""  # type: ignore[no-untyped-call]
        response.metadata.feature_names.val.extend([prefix + name for name in names])
        if with_version:
            _add_version(response, view)
        own, schema = doubles[number], read.uniform[number] if read.uniform else None
        if len(own) == len(names):
            values = list(own.values())
        else:
            rows = read.view(number)
            values = [own[name] if name in own else _values(rows, name, take) for name in names]
        if schema and schema.places.keys() >= set(names):
            statuses = read.statuses[number][take].tobytes()
            vectors += _alike(values, _tagged(STATUSES, statuses) + times[number])
            present = len(names) * statuses.count(PRESENT)
        else:
            each = [_statuses(rows, name, take) for name in names]
            ends = [_tagged(STATUSES, statuses) + times[number] for statuses in each]
            vectors += [_tagged(RESULTS, cells + end) for cells, end in zip(values, ends, strict=True)]
            present = sum(statuses.count(PRESENT) for statuses in each)
        track_feature_statuses(view.name, present, len(names) * asked - present)
    response.MergeFromString(b"".join(vectors))


def _take(asked_at: Sequence[Sequence[int]], asked: int) -> Places:
    """For each place of the answer the number of its key."""
    if asked == len(asked_at) and all(places[0] == row for row, places in enumerate(asked_at)):
        return slice(None)
    take = np.empty(asked, np.intp)
    for row, places in enumerate(asked_at):
        take[list(places)] = row
    return take


def _taken(cells: list[Any], take: Places) -> list[Any]:
    return cells[take] if isinstance(take, slice) else [cells[row] for row in take.tolist()]


def _alike(values: Iterable[bytes], end: bytes) -> list[bytes]:
    """The results of features with the same statuses and times, serialized, in pieces."""
    pieces: list[bytes] = []
    heads: dict[int, bytes] = {}
    for cells in values:
        length = len(cells) + len(end)
        if length not in heads:
            heads[length] = _head(RESULTS, length)
        pieces += (heads[length], cells, end)
    return pieces


def _add_version(response: GetOnlineFeaturesResponse, view: FeatureView) -> None:
    name = view.projection.name_alias or view.projection.name
    if name not in [metadata.name for metadata in response.metadata.feature_view_metadata]:
        version = getattr(view, "current_version_number", 0) or 0
        response.metadata.feature_view_metadata.add(name=name, version=version)


def _statuses(rows: ViewRows, name: str, take: Places) -> bytes:
    """FieldStatus a place. A row that was written without this feature does not have it."""
    statuses = rows.statuses
    for block, places in rows.blocks:
        if name not in block.schema.places:
            statuses = statuses.copy()
            statuses[places] = NOT_FOUND
    return statuses[take].tobytes()


def _values(rows: ViewRows, name: str, take: Places) -> bytes:
    """The serialized values of any feature."""
    cells: list[Any] = [NULL] * len(rows.times)
    for block, places in rows.blocks:
        if name in block.schema.places:
            for at, cell in zip(places.tolist(), block.cells(block.schema.places[name]), strict=True):
                cells[at] = cell
    vector: bytes = FeatureVector(values=_taken(cells, take)).SerializeToString()
    return vector


def _doubles(wanted: Sequence[tuple[FeatureView, Sequence[str]]], read: Read, take: Places) -> list[dict[str, bytes]]:
    """For each view the serialized values of the features that all its rows keep as doubles; all views at once."""
    values: list[dict[str, bytes]] = [{} for _ in wanted]
    if read.uniform is None:
        return values
    floats = _double_places(read.uniform, tuple(tuple(names) for _, names in wanted))
    if floats.names:
        cells = serialized_doubles(floats.values(read)[:, take], floats.present(read)[:, take])
        for (view, name), cell in zip(floats.names, cells, strict=True):
            values[view][name] = cell
    return values


@lru_cache(maxsize=512)
def _double_places(schemas: tuple[Schema | None, ...], names: tuple[tuple[str, ...], ...]) -> Floats:
    return Floats(schemas, names, ("double_val",))


def _times(times: NDArray[np.int64]) -> list[bytes]:
    """For each row of a views × places matrix the serialized event_timestamps, unset where there is no row.

    A Timestamp is written as its tag and length, the tag of seconds and the tag of nanos, each followed by a varint of
    five bytes, padded where fewer would do: what parsers read alike. Few times, and those outside 1970 to 3058, go
    one by one.
    """
    if times.size <= FEW:
        return [b"".join([_time(time) for time in row]) for row in times.tolist()]
    seconds, micros = np.divmod(times, 1_000_000)
    there = times != NEVER
    if (there & ((seconds < 0) | (seconds >= 2**35))).any():
        return [b"".join([_time(time) for time in row]) for row in times.tolist()]
    cells = np.empty((*times.shape, 14), np.uint8)
    cells[..., :3] = (TIMES, 12, 0x08)
    cells[..., 3:8] = _varints(seconds)
    cells[..., 8] = 0x10
    cells[..., 9:] = _varints(1000 * micros)
    if there.all():
        return [row.tobytes() for row in cells]
    cells[~there, 1] = 0
    keep = np.ones_like(cells, np.bool_)
    keep[~there, 2:] = False
    return [row[kept].tobytes() for row, kept in zip(cells, keep, strict=True)]


def _varints(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """… × 5: seven bits a byte, the lowest first, each but the last marked as followed by another."""
    sevens = (numbers[..., None] >> SHIFTS) & 0x7F
    sevens[..., :4] |= 0x80
    return sevens.astype(np.uint8)


def _time(micros: int) -> bytes:
    if micros == NEVER:
        return _tagged(TIMES, b"")
    seconds, rest = divmod(micros, 1_000_000)
    return _tagged(TIMES, Timestamp(seconds=seconds, nanos=1000 * rest).SerializeToString())


def _tagged(tag: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return _head(tag, len(payload)) + payload


def _head(tag: int, length: int) -> bytes:
    """Tag and length of a length-delimited field."""
    if length < 0x80:
        return bytes((tag, length))
    head = bytearray([tag])
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head)
