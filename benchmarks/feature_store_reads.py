"""Online reads of the feature store benchmark: every peer answers the same questions, in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from feast import FeatureStore
from feature_store_data import COLUMNS
from feature_store_peers import NUMBERS, TEXTS, WideTable

SIZES = (1, 16, 64)
BLOCK = 25
"""Reads of one peer before it is the next one's turn: whatever else the machine does hits all alike."""

WARM_UP = 50
Keys = list[str]
Reader = Callable[[Keys], tuple[float, ...]]


def feast_reader(store: FeatureStore) -> Reader:
    """Seconds until the response, and until its dictionary of Python values."""
    service = store.get_feature_service("benchmark")

    def read(keys: Keys) -> tuple[float, ...]:
        began = time.perf_counter()
        response = store.get_online_features(service, {"match_id": keys})
        answered = time.perf_counter()
        response.to_dict()
        return answered - began, time.perf_counter() - began

    return read


def plain_reader(question: Callable[[Keys], Any]) -> Reader:
    """Seconds of one call."""

    def read(keys: Keys) -> tuple[float, ...]:
        began = time.perf_counter()
        question(keys)
        return (time.perf_counter() - began,)

    return read


def direct(store: FeatureStore) -> tuple[Callable[[Keys], Any], Callable[[Keys], Any]]:
    """Our store's own read of all views by one query, without Feast's response: `reader`'s and `read_rows`."""
    wanted = [(store.get_feature_view(view), list(columns)) for view, columns in COLUMNS.items()]
    online: Any = store.provider.online_store
    return online.reader(store.config, wanted), lambda keys: online.read_rows(store.config, wanted, keys)


def readers(
    stores: Mapping[str, FeatureStore], nothing: FeatureStore, wide: WideTable
) -> dict[tuple[str, ...], Reader]:
    """Reader by the names of the times that it gives."""
    service = nothing.get_feature_service("benchmark")
    found: dict[tuple[str, ...], Reader] = {
        (f"{name}, SDK", f"{name}, SDK + to_dict"): feast_reader(store) for name, store in stores.items()
    }
    reader, read_rows = direct(stores["ours"])
    found["ours, reader",] = plain_reader(reader)
    found["ours, read_rows",] = plain_reader(read_rows)
    found["plain SQL, tuples",] = plain_reader(wide.tuples)
    found["plain SQL, numpy",] = plain_reader(wide.numpy)
    found["Feast alone, SDK",] = plain_reader(lambda keys: nothing.get_online_features(service, {"match_id": keys}))
    return found


def check_agreement(stores: Mapping[str, FeatureStore], wide: WideTable, keys: Keys) -> None:
    """Raises AssertionError when a peer's answer differs from plain SQL's: only right answers are worth timing."""
    numbers, texts, _ = wide.numpy(keys)
    for name, store in stores.items():
        answer = store.get_online_features(store.get_feature_service("benchmark"), {"match_id": keys}).to_dict()
        np.testing.assert_array_equal(np.array([answer[n] for n in NUMBERS], float).T, numbers, err_msg=name)
        assert answer[TEXTS[0]] == texts, name
    for read in direct(stores["ours"]):
        rows = read(keys)
        order = [rows.names.index(name) for name in NUMBERS]
        np.testing.assert_array_equal(rows.numbers[:, order], numbers, err_msg="direct")
        assert list(rows.others[TEXTS[0]]) == texts, "direct"


def measure(peers: Mapping[tuple[str, ...], Reader], ids: Sequence[str], reads: int) -> dict[str, dict[int, Any]]:
    """Milliseconds by time's name and number of matches asked for: p50, p95, p99, and p10 as on a quieter machine."""
    rng = np.random.default_rng(3)
    table: dict[str, dict[int, Any]] = {name: {} for names in peers for name in names}
    for size in SIZES:
        samples = _interleaved(peers, partial(_random_keys, rng, ids, size), reads)
        for name, seconds in samples.items():
            milliseconds = np.percentile(np.array(seconds) * 1000, (10, 50, 95, 99)).tolist()
            table[name][size] = dict(zip(("p10", "p50", "p95", "p99"), milliseconds, strict=True))
    return table


def _random_keys(rng: np.random.Generator, ids: Sequence[str], size: int) -> Keys:
    return [ids[i] for i in rng.choice(len(ids), size, replace=False).tolist()]


def _interleaved(
    peers: Mapping[tuple[str, ...], Reader], question: Callable[[], Keys], reads: int
) -> dict[str, list[float]]:
    for read in peers.values():
        for _ in range(WARM_UP):
            read(question())
    samples: dict[str, list[float]] = {name: [] for names in peers for name in names}
    turns = list(peers.items())
    for _ in range(-(-reads // BLOCK)):
        questions = [question() for _ in range(BLOCK)]
        for names, read in turns:
            for keys in questions:
                for name, seconds in zip(names, read(keys), strict=True):
                    samples[name].append(seconds)
        turns.append(turns.pop(0))  # nobody always follows the same peer
    return samples
