"""Rules that a table must keep, as data: what is expected of which columns, and of how many of the rows.

A rule is independent of the library that checks it (expectations.py translates it to Great Expectations). Column names
may be patterns such as `*_elo`: the rule then holds for each column that fits, and at least one must.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One expectation.

    text         what a person reads: 'between 0 and 1'
    expectation  class of great_expectations.expectations
    columns      names or patterns; empty for a rule on the whole table
    arguments    passed to the expectation
    together     the columns are one expectation (a pair, a compound key), not one each
    """

    text: str
    expectation: str
    columns: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    together: bool = False


def row_count(lowest: int = 1) -> Rule:
    return Rule(f"at least {lowest} rows", "ExpectTableRowCountToBeBetween", (), {"min_value": lowest})


def not_null(*columns: str, mostly: float = 1.0) -> Rule:
    return _each("not null", "ExpectColumnValuesToNotBeNull", columns, mostly)


def null(*columns: str, mostly: float) -> Rule:
    return _each("null", "ExpectColumnValuesToBeNull", columns, mostly)


def unique(*columns: str) -> Rule:
    """Each of the columns alone is a key."""
    return _each("unique", "ExpectColumnValuesToBeUnique", columns, 1.0)


def key(*columns: str) -> Rule:
    """The columns together are a key."""
    return Rule("unique together", "ExpectCompoundColumnsToBeUnique", columns, {}, together=True)


def one_of(column: str, values: tuple[str, ...] | tuple[float, ...]) -> Rule:
    text = f"one of {', '.join(map(str, values))}"
    return _each(text, "ExpectColumnValuesToBeInSet", (column,), 1.0, value_set=list(values))


def matches(pattern: str, *columns: str) -> Rule:
    return _each(f"matches `{pattern}`", "ExpectColumnValuesToMatchRegex", columns, 1.0, regex=pattern)


def between(lowest: float, highest: float, *columns: str, mostly: float = 1.0) -> Rule:
    """Bounds included; nulls are passed over."""
    text = f"{lowest:g}" if lowest == highest else f"between {lowest:g} and {highest:g}"
    return _each(text, "ExpectColumnValuesToBeBetween", columns, mostly, min_value=lowest, max_value=highest)


def inside(lowest: float, highest: float, *columns: str, mostly: float = 1.0) -> Rule:
    """Bounds excluded; nulls are passed over."""
    bounds = {"min_value": lowest, "max_value": highest, "strict_min": True, "strict_max": True}
    text = f"between {lowest:g} and {highest:g}, not equal to them"
    return _each(text, "ExpectColumnValuesToBeBetween", columns, mostly, **bounds)


def not_later(early: str, late: str) -> Rule:
    """`early` <= `late` wherever both are known."""
    names = {"column_A": late, "column_B": early, "or_equal": True, "ignore_row_if": "either_value_is_missing"}
    return Rule(
        f"{early} is not after {late}", "ExpectColumnPairValuesAToBeGreaterThanB", (early, late), names, together=True
    )


def different(first: str, second: str) -> Rule:
    return Rule(
        f"{first} is not {second}",
        "ExpectSelectColumnValuesToBeUniqueWithinRecord",
        (first, second),
        {"column_list": [first, second], "ignore_row_if": "any_value_is_missing"},
        together=True,
    )


def _each(text: str, expectation: str, columns: tuple[str, ...], mostly: float, **arguments: Any) -> Rule:
    if mostly < 1.0:
        return Rule(f"{text}, in at least {mostly * 100:g} %", expectation, columns, {**arguments, "mostly": mostly})
    return Rule(text, expectation, columns, arguments)
