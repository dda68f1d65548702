"""What the online store holds is compared with the newest offline rows, match by match."""

from __future__ import annotations

import numpy as np
import pandas as pd

from betting_assets.modelling.freshness import Freshness, freshness

NOON = pd.Timestamp("2021-03-05 12:00", tz="UTC")
HOUR = pd.Timedelta(hours=1)


def judge(offline: dict[str, pd.Timestamp], online: dict[str, object], expired: set[str] | None = None) -> Freshness:
    times = pd.Series(online, dtype="datetime64[us]").dt.tz_localize("UTC")
    old = np.array([match in (expired or set()) for match in online])
    return freshness(pd.Series(offline, dtype="datetime64[ns, UTC]"), times, old, NOON)


def naive(time: pd.Timestamp) -> pd.Timestamp:
    return time.tz_localize(None)


def test_rows_that_are_the_newest_are_fresh_and_their_ages_are_told_by_the_stores_clock() -> None:
    times = {"a": NOON - HOUR, "b": NOON - 3 * HOUR, "c": NOON - 5 * HOUR}
    found = judge(times, {match: naive(time) for match, time in times.items()})
    assert found.passed
    assert (found.median_age, found.oldest_age) == (3.0, 5.0)


def test_missing_behind_and_expired_are_told_apart_and_the_worst_comes_first() -> None:
    offline = {"fine": NOON, "behind": NOON, "expired": NOON - 900 * HOUR, "missing": NOON, "both": NOON}
    online = {"fine": NOON, "behind": NOON - HOUR, "expired": NOON - 900 * HOUR, "both": NOON - 900 * HOUR}
    found = judge(
        offline, {m: naive(t) for m, t in online.items()} | {"missing": pd.NaT, "no row": pd.NaT}, {"expired", "both"}
    )
    assert found.faults == {"missing": 1, "behind": 2, "expired": 2}
    assert found.table["match_id"].tolist() == ["missing", "both", "behind", "expired", "fine"]
    assert not found.passed
    assert found.told().startswith("1 missing, 2 behind, 2 expired of 5 upcoming matches, first missing")


def test_a_row_online_that_is_newer_than_the_offline_one_is_not_behind() -> None:
    assert judge({"a": NOON - HOUR}, {"a": naive(NOON)}).passed


def test_a_match_without_an_offline_row_is_not_judged() -> None:
    found = judge({}, {"a": pd.NaT})
    assert found.passed
    assert (found.median_age, found.oldest_age) == (None, None)
    assert found.told() == "no upcoming match has features"
