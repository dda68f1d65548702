"""Feast's answer to an online read, made of bytes in bulk instead of one Python object a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from feast import FeatureView
from feast.metrics import track_feature_statuses
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from feature_repo.online_rows import NOT_FOUND, PRESENT, ViewRows
from feature_repo.packing import NULL, serialized_doubles

FeatureVector = GetOnlineFeaturesResponse.FeatureVector
STATUSES, TIMES, RESULTS = 0x12, 0x1A, 0x12
"""Tags of FeatureVector.statuses, FeatureVector.event_timestamps and GetOnlineFeaturesResponse.results."""


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
    times = _times(rows, take)
    parts: list[bytes] = []
    present = 0
    for place, name in enumerate(names):
        statuses = columns.statuses(name)
        present += statuses.count(PRESENT)
        vector = columns.values(place, name) + _tagged(STATUSES, statuses) + times
        parts.append(_tagged(RESULTS, vector))
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
        self._all = rows.statuses[take].tobytes()
        self._complete = len(rows.blocks) == 1 and len(rows.blocks[0][1]) == len(rows.times)
        self._doubles = self._all_doubles(names) if self._complete else {}

    def statuses(self, name: str) -> bytes:
        """FieldStatus a place. A row that was written without this feature does not have it."""
        lacking = [places for block, places in self._rows.blocks if name not in block.schema.places]
        if not lacking:
            return self._all
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
                for at, cell in zip(places, block.cells(block.schema.places[name]), strict=True):
                    cells[at] = cell
        vector: bytes = FeatureVector(values=[cells[row] for row in self._take.tolist()]).SerializeToString()
        return vector

    def _all_doubles(self, names: Sequence[str]) -> dict[int, bytes]:
        """By place: the values of every feature that all rows keep as a double."""
        block, places = self._rows.blocks[0]
        schema = block.schema
        found = [
            (to, schema.places[name])
            for to, name in enumerate(names)
            if name in schema.places and schema.kinds[schema.places[name]] == "double_val"
        ]
        order = np.empty(len(places), np.intp)
        order[places] = np.arange(len(places))
        at = order[self._take][:, None], np.array([place for _, place in found], np.intp)
        values = serialized_doubles(block.floats[at].T, block.present[at].T)
        return dict(zip((to for to, _ in found), values, strict=True))


def _times(rows: ViewRows, take: NDArray[np.intp]) -> bytes:
    """The serialized event_timestamps; an unset one where there is no row."""
    encoded = [_tagged(TIMES, b"") if time is None else _tagged(TIMES, _timestamp(time)) for time in rows.times]
    return b"".join([encoded[row] for row in take.tolist()])


def _timestamp(micros: int) -> bytes:
    seconds, rest = divmod(micros, 1_000_000)
    encoded: bytes = Timestamp(seconds=seconds, nanos=1000 * rest).SerializeToString()
    return encoded


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
