"""Feast's answer to an online read, made of bytes in bulk instead of one Python object a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from feast import FeatureView
from feast.metrics import track_feature_statuses
from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.type_map import feast_value_type_to_python_type
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from feature_repo.online_rows import NOT_FOUND, PRESENT, ViewRows
from feature_repo.online_sql import NEVER
from feature_repo.packing import NULL, Schema, serialized_doubles

FeatureVector = GetOnlineFeaturesResponse.FeatureVector
SHIFTS = np.arange(0, 35, 7)
STATUSES, TIMES, RESULTS = 0x12, 0x1A, 0x12
"""Tags of FeatureVector.statuses, FeatureVector.event_timestamps and GetOnlineFeaturesResponse.results."""


class PackedResponse(OnlineResponse):
    """Feast's answer; its cells become Python values faster where they are numbers."""

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        for name, vector in zip(self.proto.metadata.feature_names.val, self.proto.results, strict=True):
            declared = self._feature_types.get(name)
            answer[name] = [
                cell.double_val if cell.HasField("double_val") else feast_value_type_to_python_type(cell, declared)
                for cell in vector.values
            ]
            if include_event_timestamps:
                answer[name + TIMESTAMP_POSTFIX] = [time.seconds for time in vector.event_timestamps]
        return answer


@dataclass(frozen=True)
class Part:
    """What one view adds to the answer."""

    view: FeatureView
    names: Sequence[str]
    rows: ViewRows


def fill_response(
    response: GetOnlineFeaturesResponse,
    parts: Sequence[Part],
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
    take = np.empty(asked, np.intp)
    for row, places in enumerate(asked_at):
        take[list(places)] = row
    times = _times(np.array([part.rows.times for part in parts])[:, take])
    doubles = _doubles(parts, take)
    vectors: list[bytes] = []
    for part, own_times, own_doubles in zip(parts, times, doubles, strict=True):
        prefix = f"{part.view.projection.name_to_use()}__" if full_feature_names else ""  # type: ignore[no-untyped-call]
        response.metadata.feature_names.val.extend([prefix + name for name in part.names])
        if with_version:
            _add_version(response, part.view)
        vectors += _vectors(part, take, own_times, own_doubles)
    response.MergeFromString(b"".join(vectors))


def _vectors(part: Part, take: NDArray[np.intp], times: bytes, doubles: dict[str, bytes]) -> list[bytes]:
    """The results of one view, serialized, a feature each."""
    rows, names = part.rows, part.names
    of_rows = rows.statuses[take].tobytes()
    usual, found, present = _tagged(STATUSES, of_rows) + times, of_rows.count(PRESENT), 0
    vectors = []
    for name in names:
        statuses = _statuses(rows, name, take)
        present += found if statuses is None else statuses.count(PRESENT)
        end = usual if statuses is None else _tagged(STATUSES, statuses) + times
        values = doubles[name] if name in doubles else _values(rows, name, take)
        vectors.append(_tagged(RESULTS, values + end))
    track_feature_statuses(part.view.name, present, len(names) * len(take) - present)
    return vectors


def _add_version(response: GetOnlineFeaturesResponse, view: FeatureView) -> None:
    name = view.projection.name_alias or view.projection.name
    if name not in [metadata.name for metadata in response.metadata.feature_view_metadata]:
        version = getattr(view, "current_version_number", 0) or 0
        response.metadata.feature_view_metadata.add(name=name, version=version)


def _statuses(rows: ViewRows, name: str, take: NDArray[np.intp]) -> bytes | None:
    """FieldStatus a place, where a row was written without this feature and does not have it; None: as the rows."""
    lacking = [places for block, places in rows.blocks if name not in block.schema.places]
    if not lacking:
        return None
    statuses = rows.statuses.copy()
    for places in lacking:
        statuses[places] = NOT_FOUND
    return statuses[take].tobytes()


def _values(rows: ViewRows, name: str, take: NDArray[np.intp]) -> bytes:
    """The serialized values of any feature."""
    cells: list[Any] = [NULL] * len(rows.times)
    for block, places in rows.blocks:
        if name in block.schema.places:
            for at, cell in zip(places.tolist(), block.cells(block.schema.places[name]), strict=True):
                cells[at] = cell
    vector: bytes = FeatureVector(values=[cells[row] for row in take.tolist()]).SerializeToString()
    return vector


def _doubles(parts: Sequence[Part], take: NDArray[np.intp]) -> list[dict[str, bytes]]:
    """For each view the serialized values of the features that all its rows keep as a double; all views at once."""
    floats, present, names = [], [], []
    for part in parts:
        block = part.rows.whole
        layout = _double_places(block.schema, tuple(part.names)) if block else {}
        names.append(list(layout))
        if block and layout:
            at = np.fromiter(layout.values(), np.intp)
            floats.append(block.floats[:, at])
            present.append(block.present[:, at])
    if not floats:
        return [{} for _ in parts]
    values = iter(serialized_doubles(np.hstack(floats)[take].T, np.hstack(present)[take].T))
    return [{name: next(values) for name in own} for own in names]


@lru_cache(maxsize=512)
def _double_places(schema: Schema, names: tuple[str, ...]) -> dict[str, int]:
    """Where the schema keeps those of the features that are doubles."""
    places = schema.places
    return {name: places[name] for name in names if name in places and schema.kinds[places[name]] == "double_val"}


def _times(times: NDArray[np.int64]) -> list[bytes]:
    """For each row of a views × places matrix the serialized event_timestamps, unset where there is no row.

    A Timestamp is written as its tag and length, the tag of seconds and the tag of nanos, each followed by a varint of
    five bytes, padded where fewer would do: what parsers read alike. Times outside 1970 to 3058 go one by one.
    """
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
    length = len(payload)
    if length < 0x80:
        return bytes((tag, length)) + payload
    head = bytearray([tag])
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + payload
