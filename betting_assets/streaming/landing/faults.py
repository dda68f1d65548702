"""Why a message cannot be used: one word for machines, one line for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

MAX_DETAIL = 300
MAX_SHOWN = 60

OF_TYPE = {
    "missing": "missing_field",
    "extra_forbidden": "unknown_field",
    "model_type": "not_an_object",
    "string_too_long": "text_too_long",
    "string_too_short": "empty_text",
    "too_long": "too_many_items",
    "finite_number": "not_finite",
    "int_parsing_size": "number_too_large",
    "timezone_aware": "time_without_zone",
    "datetime_from_date_parsing": "not_a_time",
    "datetime_parsing": "not_a_time",
    "date_from_datetime_parsing": "not_a_date",
    "date_parsing": "not_a_date",
    "enum": "unknown_value",
    "literal_error": "unknown_value",
    "string_unicode": "not_utf8",
}
"""Reasons by Pydantic's names of errors; what is missing here is `wrong_type` or `invalid`."""

OF_FIELD = {"market": "unknown_market", "schema_version": "unknown_schema_version", "trading": "unknown_trading"}
"""Fields whose unknown values have a reason of their own."""

OF_VALIDATOR = {
    "selections": "wrong_number_of_prices",
    "open book": "open_without_prices",
    "score": "score_and_status_disagree",
}
"""Reasons by words in what the records' own validators say."""

OUT_OF_RANGE = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a message.

    Attributes:
        reason: one word, e.g. `price_out_of_range`.
        detail: the same in one printable line: where, what, how to mend it.
    """

    reason: str
    detail: str


def fault(reason: str, detail: str) -> Fault:
    """A fault whose detail is made one line that every database and terminal takes."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode("ascii") for c in detail)
    return Fault(reason, shown if len(shown) <= MAX_DETAIL else shown[: MAX_DETAIL - 1] + "…")


def explain(error: ValidationError, payload: bytes) -> Fault:
    """The fault behind an error of Pydantic.

    A message of another schema version may have anything wrong with it: then the version is what is said.
    """
    found = error.errors(include_url=False)
    first = next((one for one in found if one["loc"] == ("schema_version",)), found[0])
    if first["type"] == "json_invalid":
        return _not_json(str(first["msg"]), payload)
    where = ".".join(map(str, first["loc"])) or "the message"
    what = f"field {where}: {first['msg']}" if first["loc"] else f"{where}: {first['msg']}"
    if first["type"] not in ("missing", "model_type", "value_error"):
        what += f"; got {_shown(first.get('input'))}"
    more = f" (and {len(found) - 1} more faults)" if len(found) > 1 else ""
    return fault(_reason(first), what + more)


def _reason(one: Mapping[str, Any]) -> str:
    kind, field = str(one["type"]), str(one["loc"][0]) if one["loc"] else ""
    if kind in ("enum", "literal_error"):
        return OF_FIELD.get(field, OF_TYPE[kind])
    if kind in OUT_OF_RANGE:
        singular = {"prices": "price", "lay": "price", "best_prices": "price"}.get(field, field)
        return f"{singular}_out_of_range" if singular in ("price", "line", "sequence") else "number_out_of_range"
    if kind == "string_pattern_mismatch":
        text = str(one.get("input"))
        if "\0" in text:
            return "nul_character"
        return "control_character" if UNPRINTABLE.search(text) else "forbidden_character"
    if kind == "value_error":
        return next((reason for words, reason in OF_VALIDATOR.items() if words in str(one["msg"])), "invalid")
    return OF_TYPE.get(kind, "wrong_type" if kind.endswith("_type") else "invalid")


def _not_json(message: str, payload: bytes) -> Fault:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        return fault("not_utf8", f"byte {error.start}: {error.reason}; messages are JSON in UTF-8")
    if payload.startswith(b"\xef\xbb\xbf"):
        return fault("byte_order_mark", "it begins with a byte order mark; leave it out")
    if "recursion" in message:
        return fault("nested_too_deeply", f"{message}; messages have at most three levels")
    if "surrogate" in message or "hex escape" in message:
        return fault("lone_surrogate", f"{message}; such a character is half of one")
    if "number out of range" in message:
        return fault("number_too_large", message)
    return fault("not_json", message)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
