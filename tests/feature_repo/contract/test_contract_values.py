"""What is written is what is read, for every type that a feature may have."""

from __future__ import annotations

import math
from typing import Any

import psycopg
import pytest
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import PRIMITIVE_FEAST_TYPES_TO_STRING, FeastType, Float64, Int64, String
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from invented_stores import NOON, SECOND, Opened, Row, key_of, row, stock_fails, view_of
from invented_values import BYTES, BYTES_BY_OTHER_NAMES, SAMPLES, TYPES


def exact(value: Value) -> bytes:
    """All bits of a value: unlike ==, it holds NaN equal to NaN and 0.0 unequal to -0.0.

    Feast has two ways to say null, takes both for the same, and itself writes the unset one.
    """
    return b"" if value.WhichOneof("val") == "null_val" else value.SerializeToString(deterministic=True)


def test_the_samples_hold_every_type_that_feast_has() -> None:
    assert set(SAMPLES) == set(TYPES) == {field.name for field in Value.DESCRIPTOR.fields}
    declared = {str(dtype) for dtype in [*TYPES.values(), *BYTES_BY_OTHER_NAMES]}
    assert {*PRIMITIVE_FEAST_TYPES_TO_STRING.values()} - declared == {"Invalid"}


@pytest.mark.parametrize("field", list(SAMPLES))
def test_a_value_of_every_type_is_read_as_it_was_written(store: Opened, field: str) -> None:
    view = view_of(value=TYPES[field], beside=Float64)
    store.update(view)
    written = [*SAMPLES[field], Value()]
    store.write(view, *(row(f"{i}", NOON, value=value, beside=float(i)) for i, value in enumerate(written)))
    answers = store.read_protos(view, *(f"{i}" for i in range(len(written))))
    for i, (value, (_, values)) in enumerate(zip(written, answers, strict=True)):
        assert values is not None
        assert exact(values["value"]) == exact(value)
        assert values["beside"].double_val == i


@stock_fails("a text with a NUL does not fit into its column value_text", raises=psycopg.DataError)
def test_a_text_may_hold_a_nul(store: Opened) -> None:
    view = view_of(text=String)
    store.update(view)
    store.write(view, row("a", NOON, text="a\x00b"))
    assert store.read(view, "a") == [(NOON, {"text": "a\x00b"})]


@pytest.mark.parametrize("dtype", BYTES_BY_OTHER_NAMES, ids=str)
def test_documents_and_images_are_read_as_the_bytes_that_they_are(store: Opened, dtype: FeastType) -> None:
    view = view_of(file=dtype)
    store.update(view)
    store.write(view, *(row(f"{i}", NOON, file=content) for i, content in enumerate(BYTES)))
    assert [values for _, values in store.read(view, *map(str, range(len(BYTES))))] == [{"file": b} for b in BYTES]


def test_all_types_side_by_side_in_one_row(store: Opened) -> None:
    view = view_of(**TYPES)
    store.update(view)
    values = {field: samples[-1] for field, samples in SAMPLES.items()}
    store.write(view, (key_of("a"), values, NOON, None))
    for features in (list(TYPES), ["set_val", "bool_val", "double_val"]):
        [(_, read)] = store.read_protos(view, "a", features=features)
        assert read is not None
        assert {name: exact(value) for name, value in read.items()} == {n: exact(values[n]) for n in features}


def test_null_and_nan_are_two_things(store: Opened) -> None:
    view = view_of(x=Float64)
    store.update(view)
    store.write(view, row("null", NOON, x=None), row("nan", NOON, x=math.nan))
    (_, null), (_, nan) = store.read_protos(view, "null", "nan")
    assert null is not None
    assert nan is not None
    assert null["x"].WhichOneof("val") is None
    assert math.isnan(nan["x"].double_val)


@pytest.mark.parametrize("value", [2**53 + 1, "17", True, None], ids=repr)
def test_a_value_of_another_type_than_declared_is_kept_or_refused_but_never_changed(store: Opened, value: Any) -> None:
    view = view_of(x=Float64, beside=Float64)
    store.update(view)
    written = row("a", NOON, x=value, beside=1.0)
    try:
        store.write(view, written)
    except (TypeError, ValueError):
        assert store.read(view, "a") == [(None, None)]
        return
    [(_, values)] = store.read_protos(view, "a")
    assert values is not None
    assert exact(values["x"]) == exact(written[1]["x"])
    assert values["beside"].double_val == 1.0


def _values(**strategies: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Value]]:
    fields = {"number": "double_val", "count": "int64_val", "label": "string_val"}
    made = {n: s.map(lambda v, field=fields[n]: Value(**{field: v})) for n, s in strategies.items()}
    return {name: st.one_of(st.just(Value()), strategy) for name, strategy in made.items()}


ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional=_values(
            number=st.floats(allow_nan=True, allow_infinity=True),
            count=st.integers(-(2**63), 2**63 - 1),
            label=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20),
        ),
    ).filter(bool),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_any_rows_of_numbers_counts_and_labels_are_read_as_they_were_written(
    store: Opened, rows: list[dict[str, Value]]
) -> None:
    view = view_of(number=Float64, count=Int64, label=String)
    store.teardown(view)
    store.update(view)
    store.write(view, *[(key_of(f"{i}"), values, NOON, None) for i, values in enumerate(rows)])
    answers = store.read_protos(view, *(f"{i}" for i in range(len(rows))))
    for values, (_, read) in zip(rows, answers, strict=True):
        assert read is not None
        assert {name: exact(value) for name, value in read.items()} == {n: exact(v) for n, v in values.items()}


def test_a_batch_of_thousands_is_written_and_read_whole(store: Opened) -> None:
    view = view_of(x=Float64)
    store.update(view)
    rows: list[Row] = [row(f"{i}", NOON + i * SECOND, x=float(i)) for i in range(3_000)]
    store.write(view, *rows)
    assert store.read(view, *(f"{i}" for i in range(3_000))) == [
        (NOON + i * SECOND, {"x": float(i)}) for i in range(3_000)
    ]


def test_progress_is_told_the_number_of_rows_and_no_row_is_no_error(store: Opened) -> None:
    view = view_of()
    store.update(view)
    told: list[int] = []
    for rows in ([row("a", NOON, x=1.0), row("b", NOON, x=2.0)], []):
        store.online.online_write_batch(store.config, view, rows, told.append)
    assert sum(told) == 2
