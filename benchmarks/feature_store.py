"""How fast features are read and written online: stock Feast on PostgreSQL, Feast on Redis, plain SQL, and ours.

python benchmarks/feature_store.py [--quick] [--json FILE]

20,000 matches with 60 features in 4 views, the same in every store, on an embedded PostgreSQL (fsync on) and a Redis of
their own (in memory, nothing kept; left out when no redis-server is on the PATH). Reads ask for random matches and go
round the peers in blocks; before them all peers must give the same answer. "SDK" is FeatureStore.get_online_features;
"reader" and "read_rows" are our store's direct read, worked out once for a set of features or at each call. Plain SQL
is one wide table read by a prepared statement over an open connection in binary, as tuples and as an array in the order
asked for. "Feast alone" is the SDK on a store that does nothing: the part of a time that no store can save.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import feature_repo  # noqa: F401  imports Feast without its run-time checks of types, for all peers alike

# isort: split
import feature_store_reads as online_reads
import feature_store_writes as online_writes
from _common import arguments, print_machine, write_json
from feast import FeatureStore
from feature_store_data import OFFLINE_SCHEMA, first_load
from feature_store_peers import WideTable, load, online_stores, open_store, redis_server
from feature_store_targets import Numbers, reached, targets

from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.warehouse.database import connect

FULL: dict[str, Any] = {"matches": 20_000, "reads": 2_000, "batches": {100: 60, 1000: 15}, "materialized": 12_000}
QUICK: dict[str, Any] = {"matches": 2_000, "reads": 200, "batches": {100: 10, 1000: 4}, "materialized": 2_000}


def run(size: dict[str, Any]) -> Numbers:
    with _folder() as folder, _postgres(folder) as url, redis_server(folder) as redis_port:
        if redis_port is None:
            print("Redis is left out: no redis-server on the PATH (Debian: apt-get install redis-server)")
        with connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {OFFLINE_SCHEMA}")
        stores = {name: open_store(name, o, url, folder) for name, o in online_stores(url, redis_port).items()}
        nothing = open_store("nothing", {"type": "feature_store_peers.NothingOnlineStore"}, url, folder)
        return _measure(url, stores, nothing, size)


def _measure(url: str, stores: dict[str, FeatureStore], nothing: FeatureStore, size: dict[str, Any]) -> Numbers:
    frames = first_load(size["matches"])
    ids = frames["strength"]["match_id"].tolist()
    for name, store in stores.items():
        began = time.perf_counter()
        load(store, frames)
        _say(f"{name} loaded in {time.perf_counter() - began:.1f} s")
    wide = WideTable(url, frames)
    with connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    online_reads.check_agreement(stores, wide, ids[:64])
    _say("all peers agree; reading")
    disk = _disk_bytes(url, size["matches"])
    read = online_reads.measure(online_reads.readers(stores, nothing, wide), ids, size["reads"])
    wide.close()
    _say("writing")
    write = online_writes.measure(stores, nothing, ids, size["batches"])
    _say("materializing")
    on_postgres = {name: stores[name] for name in ("stock", "ours")}
    materialize = online_writes.measure_materialize(url, on_postgres, size["matches"], size["materialized"])
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Numbers(read, write, materialize, disk, rss)


def _disk_bytes(url: str, matches: int) -> dict[str, float]:
    """Bytes a match, indexes included, of the tables in each schema; of the wide table in `offline`."""
    query = """
        SELECT schemaname, sum(pg_total_relation_size(format('%I.%I', schemaname, tablename)))::float8
        FROM pg_tables WHERE schemaname IN ('stock', 'ours', 'offline') GROUP BY 1
    """
    with connect(url) as connection:
        return {schema: size / matches for schema, size in connection.execute(query).fetchall()}


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="betting-benchmark-"))
    folder.chmod(0o755)  # for the server's own user, when root runs this
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    server = EmbeddedPostgres(folder / "postgres")
    try:
        yield server.start()
    finally:
        server.delete()


def _say(text: str) -> None:
    print(f"... {text}", flush=True)


def _print_reads(table: dict[str, dict[int, Any]]) -> None:
    sizes = online_reads.SIZES
    print("\n| online read, ms (p50 / p95 / p99) | " + " | ".join(f"{n} matches" for n in sizes) + " |")
    print("|---|" + "---:|" * len(sizes))
    for name, by_size in table.items():
        cells = (f"{by_size[n]['p50']:.2f} / {by_size[n]['p95']:.2f} / {by_size[n]['p99']:.2f}" for n in sizes)
        print(f"| {name} | {' | '.join(cells)} |")


def _print_writes(numbers: Numbers, rows: int) -> None:
    print("\n| rows of 15 features a second | batches of 100 | batches of 1,000 |\n|---|---:|---:|")
    for name, rates in sorted(numbers.write.items()):
        print(f"| {name} | {rates[100]:,.0f} | {rates[1000]:,.0f} |")
    print(f"\n| materialize {rows:,} × 15, s | new matches | the same again |\n|---|---:|---:|")
    for name, seconds in numbers.materialize.items():
        print(f"| {name} | {seconds['new']:.2f} | {seconds['again']:.2f} |")


def _print_targets(numbers: Numbers) -> None:
    print("\n| aim | target | measured | reached |\n|---|---:|---:|---|")
    for target in targets(numbers):
        print(f"| {target.aim} | {target.text} | {target.measured:.2f} | {reached(target)} |")


def main() -> None:
    options = arguments(__doc__, "a tenth of everything, under a minute; its numbers say little").parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("feast").setLevel(logging.ERROR)
    size = QUICK if options.quick else FULL
    where = print_machine()
    numbers = run(size)
    _print_reads(numbers.read)
    _print_writes(numbers, size["materialized"])
    kept = ", ".join(f"{name} {count:,.0f}" for name, count in sorted(numbers.disk.items()))
    print(f"\nbytes a match on disk, indexes included ({OFFLINE_SCHEMA}: the wide table): {kept}")
    print(f"peak RSS of this process, all peers together: {numbers.peak_rss_mb:,.0f} MB")
    _print_targets(numbers)
    if options.quick:
        print("\nThe targets are for the full size: a quick run reaches or misses none of them.")
    write_json(options.json, {"machine": where, "size": size, **numbers.__dict__})


if __name__ == "__main__":
    main()
