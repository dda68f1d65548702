"""The join against Feast's own, row by row, and the cases in which Feast's own is wrong."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from feast import FeatureStore
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from invented_offline import HOUR, NOON, clear, insert

FEATURES = ["price:home", "price:book", "price:open", "price:bets", "form:goals"]
hours = st.integers(0, 8)
numbers = st.one_of(st.none(), st.floats(-9, 9))
prices = st.tuples(st.sampled_from("abc"), hours, hours, numbers, st.sampled_from([None, "x", "y"]), st.booleans())
forms = st.tuples(st.integers(1, 3), hours, numbers)
asked = st.tuples(
    st.sampled_from(["a", "b", "c", "nobody", None]), st.sampled_from([1, 2, 3, 99, None]), st.integers(-1, 12)
)


def answers(store: FeatureStore, entity: Any, features: list[str], **options: Any) -> list[dict[str, Any]]:
    """Result rows by their column `n`; missing values are None, times aware."""
    table = store.get_historical_features(entity, features, **options).to_arrow()
    return sorted(({k: plain(v) for k, v in row.items()} for row in table.to_pylist()), key=lambda row: row["n"])


def plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return None if isinstance(value, float) and math.isnan(value) else value


def as_frame(rows: list[tuple[Any, Any, int]]) -> pd.DataFrame:
    matches, teams, times = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "match_id": pd.Series(matches, dtype=object),
            "team_id": pd.Series(teams, dtype="Int64"),
            "event_timestamp": [NOON + HOUR * h for h in times],
            "n": range(len(rows)),
        }
    )


def as_query(rows: list[tuple[Any, Any, int]]) -> str:
    def cell(value: Any) -> str:
        return "NULL" if value is None else repr(value)

    lines = (
        f"({cell(match)}::text, {cell(team)}::int, '{NOON + HOUR * hour}'::timestamptz, {n})"
        for n, (match, team, hour) in enumerate(rows)
    )
    return f"SELECT * FROM (VALUES {', '.join(lines)}) AS t (match_id, team_id, event_timestamp, n)"  # noqa: S608


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes: each try asks PostgreSQL
)
@given(
    # Without rows of equal times, which Feast multiplies.
    prices=st.lists(prices, max_size=14, unique_by=lambda row: row[:3]),
    forms=st.lists(forms, max_size=8, unique_by=lambda row: row[:2]),
    rows=st.lists(asked, min_size=1, max_size=10),
    full_feature_names=st.booleans(),
    filter_by_created_timestamp=st.booleans(),
    form=st.sampled_from([as_frame, as_query]),
)
def test_the_join_gives_the_answers_of_feasts_own(
    url: str,
    ours: FeatureStore,
    stock: FeatureStore,
    prices: list[Any],
    forms: list[Any],
    rows: list[Any],
    form: Callable[[list[Any]], Any],
    **options: bool,
) -> None:
    clear(url)
    insert(url, "price", [price(*row) for row in prices])
    insert(url, "form", [{"team": t, "At": NOON + HOUR * h, "Goals": g} for t, h, g in forms])
    rows = [("a", 1, 3), *rows]  # Feast cannot upload a key that is nowhere known
    assert answers(ours, form(rows), FEATURES, **options) == answers(stock, form(rows), FEATURES, **options)


def price(match: str, hour: int, made: int, home: float | None, book: str | None = "x", is_open: bool = True) -> dict:
    times = {"event_timestamp": NOON + HOUR * hour, "created": NOON + HOUR * made}
    return {"match_id": match, **times, "home": home, "book": book, "open": is_open, "bets": made}


def test_composite_keys_are_compared_key_by_key(url: str, ours: FeatureStore, stock: FeatureStore) -> None:
    keys = [("a", "bc", 1), ("ab", "c", 2)]
    insert(url, "standing", [{"league": k, "round": r, "event_timestamp": NOON, "points": p} for k, r, p in keys])
    entity = pd.DataFrame(keys, columns=["league", "round", "n"]).assign(event_timestamp=NOON)
    assert [(row["n"], row["points"]) for row in answers(ours, entity, ["standing:points"])] == [(1, 1), (2, 2)]
    # What makes ours necessary; when this fails, Feast has mended it.
    assert [(row["n"], row["points"]) for row in answers(stock, entity, ["standing:points"])] != [(1, 1), (2, 2)]


def test_of_rows_with_the_same_times_one_counts(url: str, ours: FeatureStore, stock: FeatureStore) -> None:
    insert(url, "form", [{"team": 1, "At": NOON, "Goals": 2.0}, {"team": 1, "At": NOON, "Goals": 2.0}])
    entity = as_frame([("a", 1, 0)])
    assert [row["goals"] for row in answers(ours, entity, ["form:goals"])] == [2.0]
    assert len(answers(stock, entity, ["form:goals"])) == 2


def test_a_missing_created_time_is_the_earliest(url: str, ours: FeatureStore) -> None:
    known, unknown = price("a", 0, 0, 1.5), price("a", 0, 0, 2.5) | {"created": None}
    insert(url, "price", [unknown, known])
    assert [row["home"] for row in answers(ours, as_frame([("a", 1, 0)]), ["price:home"])] == [1.5]
    clear(url)
    insert(url, "price", [unknown])
    assert [row["home"] for row in answers(ours, as_frame([("a", 1, 0)]), ["price:home"])] == [2.5]


@pytest.mark.parametrize("features", [["price:home", "price:bets"], ["standing:points"]])
def test_a_range_of_dates_gives_the_answers_of_feasts_own(
    url: str, ours: FeatureStore, stock: FeatureStore, features: list[str]
) -> None:
    insert(url, "price", [price("a", hour, hour, hour + 0.5) for hour in range(6)])
    insert(
        url,
        "standing",
        [{"league": "x", "round": "1", "event_timestamp": NOON + HOUR * h, "points": h} for h in range(6)],
    )
    span = {"start_date": (NOON + HOUR).to_pydatetime(), "end_date": (NOON + 3 * HOUR).to_pydatetime()}
    tables = [store.get_historical_features(None, features, **span).to_df() for store in (ours, stock)]
    first, second = (table.sort_values("event_timestamp", ignore_index=True) for table in tables)
    assert len(first) == 3
    pd.testing.assert_frame_equal(first[features_of(features)], second[features_of(features)])


def features_of(references: list[str]) -> list[str]:
    return [reference.partition(":")[2] for reference in references]
