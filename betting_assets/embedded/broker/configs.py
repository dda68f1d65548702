"""The configuration of a topic: what the broker honours, and what it only knows the value of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from betting_assets.embedded.broker.codes import Code, Refused

LONG, STRING, LIST = 5, 2, 7
OF_TOPIC, DEFAULT = 1, 5
"""Kafka's numbers for types and sources."""


class _Known(NamedTuple):
    default: str
    kind: int
    least: int = -1


_HONOURED = {
    "retention.ms": _Known("604800000", LONG, -1),
    "retention.bytes": _Known("-1", LONG, -1),
    "max.message.bytes": _Known("1048588", LONG, 0),
    "segment.bytes": _Known("33554432", LONG, 1024),
}
_FIXED = {
    "cleanup.policy": _Known("delete", LIST),
    "compression.type": _Known("producer", STRING),
    "message.timestamp.type": _Known("CreateTime", STRING),
    "min.insync.replicas": _Known("1", LONG),
}
_KNOWN = _HONOURED | _FIXED


class Entry(NamedTuple):
    """One line of a description."""

    name: str
    value: str
    kind: int
    source: int
    read_only: bool


class TopicConfig:
    """The configuration of one topic; `given` are the values that differ from the defaults on purpose."""

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        self.given = dict(given or {})
        for name, value in self.given.items():
            _check(name, value)

    @property
    def retention_ms(self) -> int:
        return self._number("retention.ms")

    @property
    def retention_bytes(self) -> int:
        return self._number("retention.bytes")

    @property
    def max_message_bytes(self) -> int:
        return self._number("max.message.bytes")

    @property
    def segment_bytes(self) -> int:
        return self._number("segment.bytes")

    def entries(self) -> Iterator[Entry]:
        for name, known in _KNOWN.items():
            source = OF_TOPIC if name in self.given else DEFAULT
            yield Entry(name, self.given.get(name, known.default), known.kind, source, name in _FIXED)

    def _number(self, name: str) -> int:
        return int(self.given.get(name, _HONOURED[name].default))


def _check(name: str, value: str | None) -> None:
    """Raises Refused for what the broker would not do, rather than seem to."""
    known = _KNOWN.get(name)
    if known is None:
        raise Refused(Code.INVALID_CONFIG, f"{name} is not known to the development broker")
    if name in _FIXED and value != known.default:
        raise Refused(Code.INVALID_CONFIG, f"{name} can only be {known.default} on the development broker")
    if name in _HONOURED and not _is_number(value, known.least):
        raise Refused(Code.INVALID_CONFIG, f"{name}={value}: a number from {known.least} on is needed")


def _is_number(value: str | None, least: int) -> bool:
    try:
        return value is not None and least <= int(value) < 2**63
    except ValueError:
        return False
