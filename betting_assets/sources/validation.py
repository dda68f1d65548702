"""The guard at the border: every row passes through its Pydantic model before it leaves a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from betting_assets.sources.records import Record


class Fault(NamedTuple):
    """Row number within the rows given, the field (empty for a rule over the whole record) and the model's words."""

    row: int
    field: str
    reason: str


def faults(model: type[Record], rows: Sequence[Mapping[str, Any]]) -> list[Fault]:
    """What the model objects to, in order of rows; an empty list when every row is a valid record."""
    try:
        _adapter(model).validate_python(list(rows))
    except ValidationError as error:
        return [_fault(dict(item)) for item in error.errors(include_url=False, include_context=False)]
    return []


@lru_cache
def _adapter(model: type[Record]) -> TypeAdapter[list[Record]]:
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def _fault(item: dict[str, Any]) -> Fault:
    row, *path = item["loc"]
    field = str(path[0]) if path else ""
    message = str(item["msg"]).removeprefix("Value error, ")
    return Fault(int(row), field, f"{field}: {message}" if field else message)
