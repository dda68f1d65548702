"""Is a message what its topic promises? Each is judged alone, from its bytes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from betting_assets.sources.records import Record
from betting_assets.streaming.landing.faults import Fault, explain, fault
from betting_assets.streaming.landing.records import Message
from betting_assets.streaming.messages import MAX_BYTES, MatchResult, OddsTick, Prediction

OLDEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
NO_TIME = dt.timedelta()
AHEAD = dt.timedelta(minutes=5)
"""How far a feed's clock may be ahead of ours."""

TICK_TEXTS = 5
"""Fields of a tick that are always there and are texts; `trading` may be left out."""

TIMES: dict[type[Record], str] = {OddsTick: "taken_at", MatchResult: "finished_at", Prediction: "scored_at"}
"""The field that says when it happened."""

OLDEST_MS, NEWEST_MS = 946_684_800_000, 4_102_444_800_000
"""2000 and 2100: what a message's own timestamp may be."""


class Validator:
    """Judges the messages of one type."""

    def __init__(self, message: type[Record]) -> None:
        self._parse: Callable[[bytes], Any] = message.__pydantic_validator__.validate_json
        self._time = TIMES[message]
        self._is_tick = message is OddsTick

    def __call__(self, message: Message, latest: dt.timedelta) -> tuple[Record, dt.timedelta] | Fault:
        """The record in a message, and its time since 2000; or what is wrong with it.

        Args:
            latest: what happened later, since 2000, is from the future; see `latest_now`.
        """
        value = message.value
        if value is None:
            return fault("tombstone", "it has no value; nothing is ever deleted from this topic")
        if len(value) > MAX_BYTES:
            return fault("oversized", f"{len(value)} bytes; at most {MAX_BYTES} are taken")
        if not value:
            return fault("empty", "its value has no bytes")
        try:
            record = self._parse(value)
        except ValidationError as error:
            return explain(error, value)
        if message.key != record.match_id.encode():
            return _wrong_key(message.key, record.match_id)
        since = getattr(record, self._time) - OLDEST
        if not NO_TIME <= since <= latest:
            return self._wrong_time(getattr(record, self._time), OLDEST + latest)
        if not OLDEST_MS <= message.timestamp <= NEWEST_MS:
            return fault("bad_timestamp", f"the message's timestamp is {message.timestamp} ms; send it with the time")
        if self._may_repeat(record, value) and (name := repeated(value)) is not None:
            return fault("repeated_field", f"field {name!r} stands there twice; which one is meant?")
        return record, since

    def _may_repeat(self, record: Any, value: bytes) -> bool:
        """Whether a field may stand in the text twice; JSON leaves open what that means, and a parser takes the last.

        The quotes of a tick without fixture are counted: a valid one has two for each field and each text, and no text
        of it can hold one. Other messages are rarer, and are read again with care.
        """
        if not self._is_tick or record.fixture is not None:
            return True
        fields = record.model_fields_set
        return value.count(b'"') != 2 * (len(fields) + TICK_TEXTS + ("trading" in fields))

    def _wrong_time(self, happened: dt.datetime, latest: dt.datetime) -> Fault:
        when = f"field {self._time}: {happened.isoformat()}"
        if happened < OLDEST:
            return fault("before_2000", f"{when} is before 2000; is it in seconds instead of milliseconds?")
        return fault("from_the_future", f"{when} is after {latest.isoformat()}; set the clock of the feed")


def latest_now() -> dt.timedelta:
    """Since 2000: what happens later is from the future."""
    return dt.datetime.now(dt.UTC) - OLDEST + AHEAD


def repeated(value: bytes) -> str | None:
    """The first name that an object in the JSON text has twice."""
    found: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for name, content in pairs:
            if name in seen:
                found.append(name)
            seen[name] = content
        return seen

    json.loads(value, object_pairs_hook=members)
    return found[0] if found else None


def _wrong_key(key: bytes | None, match_id: str) -> Fault:
    mend = "send it with its match_id as key, or: betting dlq replay --key-from-message"
    if key is None:
        return fault("key_missing", f"it has no key; {mend}")
    return fault("key_is_not_match_id", f"its key is {key[:80]!r}, its match_id {match_id}; {mend}")
