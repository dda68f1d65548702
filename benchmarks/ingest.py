"""How long real files take into PostgreSQL, once and again, and how long the features on them.

python benchmarks/ingest.py [--quick] [--json FILE]

Reads every file below $BETTING_TEST_DATA/A_football/mmz4281 (default: ../shared/data) into a fresh embedded PostgreSQL.
Parsing passes each row through its Pydantic record, which is shown apart; checking is Great Expectations on the tables,
its own import included.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _common import PRICES, arguments, print_machine, write_json

from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.modelling import feature_tables
from betting_assets.sources import book_frames, football_data, frames
from betting_assets.sources.batch import Batch
from betting_assets.warehouse.expectations import validate_table
from betting_assets.warehouse.features import write_feature_table
from betting_assets.warehouse.history import read_books, read_matches, read_results, read_statistics, write_batch
from betting_assets.warehouse.migrate import migrate

CHECKED = ("match", "result", "book")
QUICK_LEAGUES = ["E0", "SP1"]
ROOT = Path(__file__).resolve().parents[1]


class Stopwatch:
    """Seconds by step, in order; a step may be taken several times."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - began


def timed(function: Callable[..., Any], watch: Stopwatch, step: str) -> Callable[..., Any]:
    def run(*given: Any, **named: Any) -> Any:
        with watch(step):
            return function(*given, **named)

    return run


def data_folder() -> Path:
    folder = Path(os.environ.get("BETTING_TEST_DATA", ROOT.parent / "shared" / "data")) / "A_football" / "mmz4281"
    if not folder.is_dir():
        sys.exit(
            f"{folder}: there is no such folder; set BETTING_TEST_DATA to the folder that holds A_football/mmz4281"
        )
    return folder


def ingest(url: str, folder: Path, leagues: list[str] | None, watch: Stopwatch, again: str = "") -> Batch:
    with watch(f"parse{again}"):
        batch = football_data.read_folder(folder, leagues)
    with watch(f"write{again}"):
        counts = write_batch(url, batch)
    rejected = counts.pop("rejected")  # keep the time when they were last seen
    if again and (rejected.inserted or any(count.changed for count in counts.values())):
        sys.exit(f"the same files changed rows: {counts}")
    return batch


def features(url: str, watch: Stopwatch) -> None:
    """As the assets do: read, compute, write."""
    with watch("read back"):
        matches, results, statistics, books = (
            read(url) for read in (read_matches, read_results, read_statistics, read_books)
        )
    decided = feature_tables.decision_times(matches, feature_tables.first_quotes(books))
    with watch("ratings"):
        ratings = feature_tables.ratings_table(matches, results, decided)
    with watch("form"):
        form = feature_tables.form_table(matches, results, statistics, decided)
    with watch("market"):
        market = feature_tables.match_market(books[books["phase"] == "pre_close"], **PRICES)
    with watch("write features"):
        for name, table in {"team_ratings": ratings, "team_form": form, "market_consensus": market}.items():
            write_feature_table(url, name, table, replace=True)


def measure(folder: Path, leagues: list[str] | None) -> dict[str, Any]:
    watch, records = Stopwatch(), Stopwatch()
    for module in (frames, book_frames):
        module.faults = timed(module.faults, records, "Pydantic")  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)  # for the server's own user, when root runs this
        with EmbeddedPostgres(Path(home) / "postgres") as server:
            migrate(server.url)
            batch = ingest(server.url, folder, leagues, watch)
            validated = records.seconds["Pydantic"]
            with watch("check"):
                failed = [name for name in CHECKED if not validate_table(server.url, "core", name).passed]
            ingest(server.url, folder, leagues, watch, again=" again")
            features(server.url, watch)
    return {
        "files": len(list(folder.rglob("*.csv"))),
        "matches": len(batch.matches),
        "books": len(batch.books),
        "prices": int(batch.books["prices"].map(len).sum()),
        "rejected": len(batch.rejected),
        "failed_checks": failed,
        "seconds": {**watch.seconds, "of parse: Pydantic": validated},
        "total_seconds": sum(watch.seconds.values()),
    }


def main() -> None:
    given = arguments(__doc__, "two leagues, under a minute").parse_args()
    where = print_machine()
    result = measure(data_folder(), QUICK_LEAGUES if given.quick else None)
    print(
        f"{result['matches']:,} matches, {result['books']:,} books, {result['prices']:,} prices, "
        f"{result['rejected']} rejected; failed checks: {', '.join(result['failed_checks']) or 'none'}"
    )
    print(f"{'step':<20} {'seconds':>8}")
    for step, seconds in [*result["seconds"].items(), ("total", result["total_seconds"])]:
        print(f"{step:<20} {seconds:>8.2f}")
    write_json(given.json, {"machine": where, **result})


if __name__ == "__main__":
    main()
