"""Writes of the feature store benchmark: batches of new values for known matches, and materialization."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from feast import FeatureStore
from feature_store_data import NEWEST, frame, match_ids
from feature_store_peers import protos, write_table

VIEW = "strength"
ROUNDS = 3
Writer = tuple[Callable[[pd.DataFrame], Any], Callable[[Any], Any]]
"""What is done to a frame before the clock starts, and the write itself."""


def writers(stores: Mapping[str, FeatureStore], nothing: FeatureStore) -> dict[str, Writer]:
    found: dict[str, Writer] = {"Feast alone, write_to_online_store": (_as_is, _by_sdk(nothing))}
    for name, store in stores.items():
        found[f"{name}, write_to_online_store"] = (_as_is, _by_sdk(store))
        found[f"{name}, online_write_batch"] = _by_protos(store)
    store, online = stores["ours"], _online(stores["ours"])
    view = store.get_feature_view(VIEW)
    found["ours, write_frame"] = (_as_is, lambda table: online.write_frame(store.config, view, table))
    return found


def measure(
    stores: Mapping[str, FeatureStore], nothing: FeatureStore, ids: Sequence[str], batches: Mapping[int, int]
) -> dict[str, Any]:
    """Rows a second, by writer and batch size: size over the median time of a batch."""
    rng = np.random.default_rng(4)
    turns = list(writers(stores, nothing).items())
    table: dict[str, Any] = {name: {} for name, _ in turns}
    seconds_later = itertools.count(1)
    for size, count in batches.items():
        samples: dict[str, list[float]] = {name: [] for name, _ in turns}
        for seed in range(count + 1):
            keys = rng.choice(ids, size, replace=False).tolist()
            for name, (prepare, write) in turns:
                newer = NEWEST + pd.Timedelta(seconds=next(seconds_later))
                ready = prepare(frame(VIEW, keys, newer, seed))
                samples[name].append(_seconds(partial(write, ready)))
            turns.append(turns.pop(0))
        for name, taken in samples.items():
            table[name][size] = size / float(np.median(taken[1:]))  # the first is for warming up
    return table


def measure_materialize(url: str, stores: Mapping[str, FeatureStore], first: int, rows: int) -> dict[str, Any]:
    """Median seconds of FeatureStore.materialize for `rows` new matches of one view, and for the same ones again.

    Args:
        first: number of matches that the stores know already.
    """
    ids = match_ids(first + ROUNDS * rows)[first:]
    starts = [NEWEST.to_pydatetime() + pd.Timedelta(hours=6 + n) for n in range(ROUNDS)]
    times = pd.DatetimeIndex(np.repeat([start + pd.Timedelta(minutes=30) for start in starts], rows))
    write_table(url, VIEW, frame(VIEW, ids, times, seed=5))
    table: dict[str, Any] = {name: {} for name in stores}
    for case in ("new", "again"):
        samples: dict[str, list[float]] = {name: [] for name in stores}
        for start, (name, store) in itertools.product(starts, stores.items()):
            work = partial(store.materialize, start, start + dt.timedelta(hours=1), feature_views=[VIEW])
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                samples[name].append(_seconds(work))
        for name, taken in samples.items():
            table[name][case] = float(np.median(taken))
    return table


def _online(store: FeatureStore) -> Any:
    return store.provider.online_store


def _as_is(table: pd.DataFrame) -> pd.DataFrame:
    return table


def _by_sdk(store: FeatureStore) -> Callable[[pd.DataFrame], None]:
    return lambda table: store.write_to_online_store(VIEW, table)


def _by_protos(store: FeatureStore) -> Writer:
    view, online = store.get_feature_view(VIEW), _online(store)
    return (
        lambda table: protos(store, view, table),
        lambda data: online.online_write_batch(store.config, view, data, None),
    )


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
