"""The entities that a request to Feast asks for, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from feast import FeatureView, RepoConfig, utils
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto

from feature_repo.packed_frame import text_keys


def serialized(config: RepoConfig, key: EntityKeyProto) -> bytes:
    """The bytes that a row is found by."""
    if len(key.join_keys) == 1 and key.entity_values[0].HasField("string_val"):
        return text_keys(key.join_keys[0], [key.entity_values[0].string_val])[0]
    return serialize_entity_key(key, entity_key_serialization_version=config.entity_key_serialization_version)


@dataclass(frozen=True)
class Entities:
    keys: list[bytes]
    """Serialized, each once."""
    places: Sequence[Sequence[int]]
    """Of each key, its places in the answer."""
    length: int
    """Of the answer."""


class AskedEntities:
    """The distinct entities of a read, worked out once for all views with the same join keys."""

    def __init__(self, config: RepoConfig, join_key_values: dict[str, Any], join_keys: dict[str, str]) -> None:
        self._config = config
        self._values = join_key_values
        self._join_keys = join_keys
        self._known: dict[Any, Entities] = {}

    def alike(self, wanted: Sequence[tuple[FeatureView, list[str]]]) -> list[list[tuple[FeatureView, list[str]]]]:
        """Views with the same join keys, one after the other: they are read together."""
        return [list(group) for _, group in groupby(wanted, lambda one: self._join(one[0]))]

    def of(self, view: FeatureView) -> Entities:
        join = self._join(view)
        if join not in self._known:
            self._known[join] = self._texts(view) or self._any(view)
        return self._known[join]

    def _join(self, view: FeatureView) -> Any:
        return tuple([key.name for key in view.entity_columns]), tuple(sorted(view.projection.join_key_map.items()))

    def _texts(self, view: FeatureView) -> Entities | None:
        """The entities of a view with one text key, without Feast's detour; None for any other."""
        if len(view.entity_columns) != 1 or view.projection.join_key_map:
            return None
        key = view.entity_columns[0].name
        values = self._values.get(key)
        if not values or not all(value.HasField("string_val") for value in values):
            return None
        places: dict[str, list[int]] = {}
        for place, value in enumerate(values):
            places.setdefault(value.string_val, []).append(place)
        return Entities(text_keys(key, list(places)), list(places.values()), len(values))

    def _any(self, view: FeatureView) -> Entities:
        rows, places, length = utils._get_unique_entities(view, self._values, self._join_keys)
        return Entities([serialized(self._config, key) for key in utils._get_entity_key_protos(rows)], places, length)
