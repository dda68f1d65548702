"""Are the rows plausible? Runs the rules of suites.py through Great Expectations, on PostgreSQL or on a frame.

A check is bounded in time: in PostgreSQL every statement gets what is left of the limit, a frame is sampled. What
cannot be finished is a failed result that says so.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError

from betting_assets.settings import NO_TELEMETRY
from betting_assets.warehouse.database import connect, with_driver
from betting_assets.warehouse.rules import Rule
from betting_assets.warehouse.suites import SUITES, Suite

if TYPE_CHECKING:
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext

SECONDS = 120.0
"""Time limit of one check."""

MOST_ROWS = 200_000
"""Rows of a frame that are looked at; of a longer one a sample is."""

CANCELLED = "57014"
"""SQLSTATE of a statement that ran into its timeout."""

TABLE = "(table)"


@dataclass(frozen=True)
class SuiteResult:
    """What came of a suite.

    rules    one row a rule and column: rule, column, observed, passed
    rows     number of rows looked at
    reason   why it failed as a whole, or what was left out (a sample); empty when there is nothing to say
    """

    name: str
    passed: bool
    rules: pd.DataFrame
    rows: int
    seconds: float
    reason: str = ""

    def markdown(self) -> str:
        """The result as a table, failures first."""
        verdict = "passed" if self.passed else "FAILED"
        head = f"**{self.name}: {verdict}** — {self.rows:,} rows, {len(self.rules)} checks, {self.seconds:.1f} s"
        lines = [head, *([f"\n{self.reason}"] if self.reason else []), "\n| | column | rule | observed |", "|-|-|-|-|"]
        for row in self.rules.sort_values("passed", kind="stable").to_dict("records"):
            mark = "✓" if row["passed"] else "✗"
            lines.append(f"| {mark} | {row['column']} | {_cell(row['rule'])} | {_cell(row['observed'])} |")
        return "\n".join(lines)


def validate_table(url: str, schema: str, table: str, seconds: float = SECONDS) -> SuiteResult:
    """Check the rows of one table in PostgreSQL against its suite.

    Raises:
        ValueError: there is no suite for the table.
        DatabaseError: the server cannot be reached.
    """
    name = f"{schema}.{table}"
    suite, start = _suite(name), time.monotonic()
    columns = _columns(url, schema, table, suite)
    if not columns:
        return _failed(name, f"table {name} does not exist: migrate the database, then write it", start)
    context, deadline = _context(), _Deadline(start + seconds)
    address = with_driver(url, "psycopg2")
    source = context.data_sources.add_postgres("postgres", connection_string=address, create_temp_table=True)
    engine = source.get_execution_engine()
    deadline.watch(engine.engine)
    batch = source.add_query_asset(name, query=suite.query(name)).add_batch_definition("all")
    try:
        rules, rows = _run(context, batch, (*suite.rules, *suite.joined), columns, {})
    except DBAPIError:
        if deadline.met:
            return _failed(name, f"the rows could not even be read within {seconds:g} s", start)
        raise
    finally:
        engine.close()
        source.get_engine().dispose()
    reason = f"not finished within {seconds:g} s" if deadline.met else ""
    passed = not deadline.met and bool(rules["passed"].all())
    return SuiteResult(name, passed, rules, rows, time.monotonic() - start, reason)


def validate_frame(name: str, frame: pd.DataFrame, seconds: float = SECONDS) -> SuiteResult:
    """Check a frame with the columns of table `name` (schema.table) against the rules that need no other table.

    Raises:
        ValueError: there is no suite of this name.
    """
    suite, start = _suite(name), time.monotonic()
    sample = frame if len(frame) <= MOST_ROWS else frame.sample(MOST_ROWS, random_state=0)
    reason = f"a sample of {MOST_ROWS:,} of {len(frame):,} rows" if len(sample) < len(frame) else ""
    try:
        sample = suite.derive(sample) if suite.derive else sample
    except KeyError as error:
        return _failed(name, f"the frame has no column {error}", start)
    context = _context()
    batch = (
        context.data_sources.add_pandas("frame").add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
    )
    rules, rows = _run(context, batch, suite.rules, list(sample.columns), {"dataframe": sample})
    took = time.monotonic() - start
    if took > seconds:
        reason = f"took {took:.0f} s, {seconds:g} s are allowed"
    return SuiteResult(name, took <= seconds and bool(rules["passed"].all()), rules, rows, took, reason)


def _suite(name: str) -> Suite:
    if name not in SUITES:
        raise ValueError(f"no expectations for {name}; there are some for {', '.join(SUITES)}")
    return SUITES[name]


def _columns(url: str, schema: str, table: str, suite: Suite) -> list[str]:
    """Columns that the rules may name; empty when there is no such table."""
    query = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
    with connect(url) as conn:
        names = [name for (name,) in conn.execute(query, [schema, table])]
    return [*names, *suite.derived] if names else []


class _Deadline:
    """Gives every statement on an engine what is left of the time."""

    def __init__(self, at: float) -> None:
        self._at = at
        self.met = False

    def watch(self, engine: Engine) -> None:
        event.listen(engine, "before_cursor_execute", self._limit)
        event.listen(engine, "handle_error", self._note)

    def _limit(self, connection: Any, cursor: Any, *_: Any) -> None:
        left = self._at - time.monotonic()
        self.met |= left <= 0
        cursor.execute(f"SET statement_timeout = {max(1, int(left * 1000))}; SET timezone = 'UTC'")

    def _note(self, context: Any) -> None:
        self.met |= getattr(context.original_exception, "pgcode", None) == CANCELLED


def _context() -> EphemeralDataContext:
    """A context that keeps nothing, reports nothing, and draws no progress bars."""
    os.environ.update({name: os.environ.get(name, value) for name, value in NO_TELEMETRY.items()})
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # what goes wrong stands in the result
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _run(
    context: EphemeralDataContext,
    batch: BatchDefinition[Any],
    rules: Iterable[Rule],
    columns: list[str],
    parameters: dict[str, Any],
) -> tuple[pd.DataFrame, int]:
    """Validate; returns a row a rule and column, in the order of the rules, and the number of rows looked at."""
    from great_expectations import ExpectationSuite, ValidationDefinition
    from great_expectations import expectations as gxe

    checks: list[tuple[Rule, str]] = [(rule, column) for rule in rules for column in _targets(rule, columns)]
    known = [i for i, (rule, column) in enumerate(checks) if _exists(rule, column, columns)]
    expectations = [_expectation(gxe, *checks[i]) for i in known]
    for i, expectation in zip(known, expectations, strict=True):
        expectation.meta = {"check": i}
    suite = context.suites.add(ExpectationSuite(name="rules", expectations=expectations))
    # Not batch.get_batch().validate(): it would copy the table twice.
    definition = context.validation_definitions.add(ValidationDefinition(name="all", data=batch, suite=suite))
    outcome = definition.run(batch_parameters=parameters or None)
    found = {_check_number(result): result for result in outcome.results}
    table = [
        {
            "rule": rule.text,
            "column": column,
            "observed": _observed(found[i]) if i in found else "no such column",
            "passed": i in found and bool(found[i].success),
        }
        for i, (rule, column) in enumerate(checks)
    ]
    counted = [found[i].result.get("observed_value", 0) for i, (rule, _) in enumerate(checks) if not rule.columns]
    return pd.DataFrame(table), max(counted, default=0)


def _check_number(result: Any) -> int:
    """Results come in any order."""
    return int(result.expectation_config.meta["check"])


def _targets(rule: Rule, columns: list[str]) -> list[str]:
    """What the rule is about: one name for the table or for columns together, else each column that fits."""
    if not rule.columns:
        return [TABLE]
    if rule.together:
        return [", ".join(rule.columns)]
    targets: dict[str, None] = {}
    for pattern in rule.columns:
        targets |= dict.fromkeys([name for name in columns if fnmatchcase(name, pattern)] or [pattern])
    return list(targets)


def _exists(rule: Rule, column: str, columns: list[str]) -> bool:
    if not rule.columns:
        return True
    return set(rule.columns if rule.together else (column,)) <= set(columns)


def _expectation(gxe: Any, rule: Rule, column: str) -> Any:
    kind, arguments = getattr(gxe, rule.expectation), dict(rule.arguments)
    if rule.expectation == "ExpectCompoundColumnsToBeUnique":
        arguments["column_list"] = list(rule.columns)
    elif rule.columns and not rule.together:
        arguments["column"] = column
    return kind(**arguments)


def _observed(result: Any) -> str:
    """What Great Expectations found, in a few words."""
    if problem := _problem(result.exception_info):
        return problem
    facts = result.result
    if "observed_value" in facts:
        return f"{facts['observed_value']:,}"
    wrong, rows = facts.get("unexpected_count", 0), facts.get("element_count", 0)
    if not wrong:
        return "all"
    examples = ", ".join(str(value) for value in facts.get("partial_unexpected_list", [])[:3])
    return f"{wrong:,} of {rows:,} are not" + (f", e.g. {examples}" if examples else "")


def _problem(info: dict[str, Any]) -> str:
    """The message of an exception inside Great Expectations, which reports one for each metric; empty if none."""
    infos = [info] if "raised_exception" in info else list(info.values())
    raised = [str(item["exception_message"]) for item in infos if item["raised_exception"]]
    return " ".join(raised[0].split("[SQL:")[0].split())[:200] if raised else ""


def _failed(name: str, reason: str, start: float) -> SuiteResult:
    nothing = pd.DataFrame(columns=["rule", "column", "observed", "passed"])
    return SuiteResult(name, False, nothing, 0, time.monotonic() - start, reason)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
