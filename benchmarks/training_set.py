"""A training set by Feast's `get_historical_features`: 60 features in four views, Feast's own store and ours.

python benchmarks/training_set.py [--quick] [--json FILE]

Three histories in embedded PostgreSQL: `once`, one row a match and view, each match asked for once; `ticks`, 12 rows a
match within two days, each match asked for ten times; and `ticks, no index`, where ours first makes an indexed copy.
The views live 30 days. Every join runs in a process of its own, whose peak memory (VmHWM) is given; seconds are those
of `get_historical_features(...).to_df()` without the start of the process. The answers of both are compared row by row.

How the join was chosen: two cores, PostgreSQL 18, 200,000 rows × 60 features, the query alone, `once` and `ticks`:
a lateral subquery a view in the order of the keys 3.5 s and 5.1 s; the same in the order of the question 5.8 s and
8.4 s; a window over the union of questions and rows, which needs no index, 6.2 s and 6.3 s.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _common import arguments, print_machine, write_json

from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.warehouse.database import adbc, connect, with_database

TARGET_SECONDS, TARGET_MB = 20.0, 1536
STORES = {"Feast": "postgres", "ours": "feature_repo.offline_store.PointInTimePostgresOfflineStore"}
DAY = 24 * 60


@dataclass(frozen=True)
class History:
    """How many feature rows and questions a match has."""

    name: str
    updates: int
    questions: int
    primary_key: bool = True


HISTORIES = [History("once", 1, 1), History("ticks", 12, 10), History("ticks, no index", 12, 10, primary_key=False)]


def load(url: str, history: History, matches: int) -> None:
    """The views' tables, their rows in any order."""
    from feature_store_data import COLUMNS, OFFLINE_SCHEMA, frame

    ids, minutes = np.repeat(keys(matches), history.updates), first_minutes(matches)
    times = instants(np.repeat(minutes, history.updates) + np.tile(np.arange(history.updates) * 240, matches))
    with adbc(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {OFFLINE_SCHEMA}")
        for seed, view in enumerate(COLUMNS):
            rows = frame(view, list(ids), times, seed).sample(frac=1, random_state=seed)
            cursor.adbc_ingest(view, arrow(rows), mode="create", db_schema_name=OFFLINE_SCHEMA)
            if history.primary_key:
                cursor.execute(f"ALTER TABLE {OFFLINE_SCHEMA}.{view} ADD PRIMARY KEY (match_id, event_timestamp)")


def questions(history: History, matches: int) -> pd.DataFrame:
    """Entity rows in any order, each at a time when its match has a row."""
    random, match = np.random.default_rng(1), np.repeat(np.arange(matches), history.questions)
    minutes = first_minutes(matches)[match] + random.integers(0, 2 * DAY, len(match))
    asked = pd.DataFrame({"match_id": keys(matches)[match], "event_timestamp": instants(minutes)})
    return asked.sample(frac=1, random_state=2, ignore_index=True).assign(n=np.arange(len(asked)))


def keys(matches: int) -> np.ndarray:
    from feature_store_data import match_ids

    return np.array(match_ids(matches), dtype=object)


def first_minutes(matches: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 5 * 365 * DAY, matches)


def instants(minutes: np.ndarray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.Timestamp("2015-01-01", tz="UTC") + pd.to_timedelta(minutes, unit="min"))


def arrow(rows: pd.DataFrame) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(rows, preserve_index=False)


def join(kind: str, url: str, folder: str) -> None:
    """In a process of its own: the questions of `folder` answered into a file of it; the cost to standard output."""
    from feast import FeatureStore, RepoConfig
    from feature_store_data import OFFLINE_SCHEMA, definitions, match
    from feature_store_peers import login

    config = RepoConfig(
        project="bench",
        provider="local",
        registry=f"{folder}/{kind}.registry",
        online_store={"type": "sqlite", "path": f"{folder}/online.db"},
        offline_store={"type": STORES[kind], "db_schema": OFFLINE_SCHEMA, **login(url)},
        entity_key_serialization_version=3,
    )
    config.repo_path = Path(folder)
    store = FeatureStore(config=config)
    views, service = definitions()
    store.apply([match, *views, service])
    asked = pd.read_parquet(f"{folder}/questions.parquet")
    began = time.perf_counter()
    found = store.get_historical_features(asked, service).to_df()
    seconds = time.perf_counter() - began
    found.sort_values("n").to_parquet(f"{folder}/{kind}.parquet")
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(), "rows": len(found)}))


def peak_mb() -> float:
    """Peak resident memory of this process alone: getrusage would count that of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def run(kind: str, url: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--join", kind, url, str(folder)]
    answered = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(answered.stdout.splitlines()[-1])


def compared(folder: Path) -> str:
    """Whether the two answers in `folder` are the same, row by row; raises where they differ."""
    first, second = (pd.read_parquet(folder / f"{kind}.parquet").reset_index(drop=True) for kind in STORES)
    second["event_timestamp"] = pd.to_datetime(second["event_timestamp"], utc=True)
    first["event_timestamp"] = pd.to_datetime(first["event_timestamp"], utc=True)
    pd.testing.assert_frame_equal(first[list(second)], second, check_dtype=False, check_exact=True)
    return "same"


def measure(server: str, history: History, rows: int, number: int) -> list[dict[str, Any]]:
    with connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE bench_{number}")
    url, matches = with_database(server, f"bench_{number}"), rows // history.questions
    load(url, history, matches)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        questions(history, matches).to_parquet(folder / "questions.parquet")
        costs = [{"history": history.name, "store": kind, **run(kind, url, folder)} for kind in STORES]
        answers = compared(folder)
    with connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE bench_{number} WITH (FORCE)")
    return [cost | {"answers": answers} for cost in costs]


def main() -> None:
    given = arguments(__doc__, "20,000 rows only, under a minute").parse_args()
    where, results = print_machine(), []
    print(f"{'history':<16} {'store':<6} {'rows':>8} {'seconds':>8} {'peak MB':>8}  answers")
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)  # for the server's own user, when root runs this
        with EmbeddedPostgres(Path(home) / "postgres") as server:
            sizes = [20_000] if given.quick else [20_000, 200_000]
            for number, (rows, history) in enumerate(itertools.product(sizes, HISTORIES)):
                for row in measure(server.url, history, rows, number):
                    results.append(row)
                    print(
                        f"{row['history']:<16} {row['store']:<6} {row['rows']:>8,} {row['seconds']:>8.2f} "
                        f"{row['peak_mb']:>8.0f}  {row['answers']}"
                    )
    largest = [row for row in results if row["store"] == "ours" and row["rows"] == 200_000]
    reached = all(row["seconds"] <= TARGET_SECONDS and row["peak_mb"] <= TARGET_MB for row in largest)
    if largest:
        print(f"target of {TARGET_SECONDS:.0f} s and {TARGET_MB} MB {'reached' if reached else 'missed'}")
    write_json(given.json, {"machine": where, "rows": results})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--join"]:
        join(*sys.argv[2:])
    else:
        main()
