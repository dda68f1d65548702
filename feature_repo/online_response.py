"""Feast's answer to an online read, made of bytes in bulk instead of one Python object a cell."""

from __future__ import annotations

from collections.abc import Sequence
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
from feature_repo.packing import NULL, serialized_doubles

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


def fill_response(
    response: GetOnlineFeaturesResponse,
    view: FeatureView,
    names: Sequence[str],
    rows: ViewRows,
    asked_at: Sequence[Sequence[int]],
    asked: int,
    full_feature_names: bool,
    with_version: bool,
) -> None:
    """Append the features of one view to Feast's answer.

    Args:
        asked_at: for each key of `rows`, its places in the answer: a key may be asked for twice.
        asked: length of the answer.
    """
    prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""  # type: ignore[no-untyped-call]
    response.metadata.feature_names.val.extend(prefix + name for name in names)
    if with_version:
        _add_version(response, view)
    take = np.empty(asked, np.intp)
    for row, places in enumerate(asked_at):
        take[list(places)] = row
    columns = _Columns(rows, names, take)
    times = _times(rows.times[take])
    of_rows = rows.statuses[take].tobytes()
    usual, found, present = _tagged(STATUSES, of_rows) + times, of_rows.count(PRESENT), 0
    parts: list[bytes] = []
    for place, name in enumerate(names):
        statuses = columns.statuses(name)
        present += found if statuses is None else statuses.count(PRESENT)
        end = usual if statuses is None else _tagged(STATUSES, statuses) + times
        parts.append(_tagged(RESULTS, columns.values(place, name) + end))
    response.MergeFromString(b"".join(parts))
    track_feature_statuses(view.name, present, len(names) * asked - present)


def _add_version(response: GetOnlineFeaturesResponse, view: FeatureView) -> None:
    name = view.projection.name_alias or view.projection.name
    if name not in [metadata.name for metadata in response.metadata.feature_view_metadata]:
        version = getattr(view, "current_version_number", 0) or 0
        response.metadata.feature_view_metadata.add(name=name, version=version)


class _Columns:
    """The serialized values and statuses of a view's features, `take[i]` being the row of the answer's place i."""

    def __init__(self, rows: ViewRows, names: Sequence[str], take: NDArray[np.intp]) -> None:
        self._rows = rows
        self._take = take
        complete = len(rows.blocks) == 1 and len(rows.blocks[0][1]) == len(rows.times)
        self._doubles = self._all_doubles(names) if complete else {}

    def statuses(self, name: str) -> bytes | None:
        """FieldStatus a place, where a row was written without this feature and does not have it; None: as the rows."""
        lacking = [places for block, places in self._rows.blocks if name not in block.schema.places]
        if not lacking:
            return None
        statuses = self._rows.statuses.copy()
        for places in lacking:
            statuses[places] = NOT_FOUND
        return statuses[self._take].tobytes()

    def values(self, place: int, name: str) -> bytes:
        if place in self._doubles:
            return self._doubles[place]
        cells: list[Any] = [NULL] * len(self._rows.times)
        for block, places in self._rows.blocks:
            if name in block.schema.places:
                for at, cell in zip(places.tolist(), block.cells(block.schema.places[name]), strict=True):
                    cells[at] = cell
        vector: bytes = FeatureVector(values=[cells[row] for row in self._take.tolist()]).SerializeToString()
        return vector

    def _all_doubles(self, names: Sequence[str]) -> dict[int, bytes]:
        """By place: the values of every feature that all rows keep as a double."""
        ((block, _),) = self._rows.blocks
        schema = block.schema
        found = [
            (to, schema.places[name])
            for to, name in enumerate(names)
            if name in schema.places and schema.kinds[schema.places[name]] == "double_val"
        ]
        at = self._take[:, None], np.array([place for _, place in found], np.intp)
        values = serialized_doubles(block.floats[at].T, block.present[at].T)
        return dict(zip((to for to, _ in found), values, strict=True))


def _times(times: NDArray[np.int64]) -> bytes:
    """The serialized event_timestamps; an unset one where there is no row.

    A Timestamp is written as its tag and length, the tag of seconds and the tag of nanos, each followed by a varint of
    five bytes, padded where fewer would do: what parsers read alike. Times outside 1970 to 3058 go one by one.
    """
    seconds, micros = np.divmod(times, 1_000_000)
    there = times != NEVER
    if ((seconds[there] < 0) | (seconds[there] >= 2**35)).any():
        return b"".join([_time(time) for time in times.tolist()])
    cells = np.empty((len(times), 14), np.uint8)
    cells[:, :3] = (TIMES, 12, 0x08)
    cells[:, 3:8] = _varints(seconds)
    cells[:, 8] = 0x10
    cells[:, 9:] = _varints(1000 * micros)
    if there.all():
        return cells.tobytes()
    cells[~there, 1] = 0
    keep = np.ones_like(cells, np.bool_)
    keep[~there, 2:] = False
    return cells[keep].tobytes()


def _varints(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """n × 5: seven bits a byte, the lowest first, each but the last marked as followed by another."""
    sevens = (numbers[:, None] >> SHIFTS) & 0x7F
    sevens[:, :4] |= 0x80
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
