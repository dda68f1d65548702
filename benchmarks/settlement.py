"""Settling what is new against settling everything, in a long prediction log.

python benchmarks/settlement.py [--quick] [--json FILE]

A log of 1,000,000 predictions (500 of each of 1,000 matches in each of two markets, with 60 features each) that is
settled but for 300 predictions of one match, whose result has just come. `everything` reads the whole log without its
features, scores it and upserts the outcomes; `what is new` is `settle_new`. Both leave the same rows, which is checked.
Beside them: reading the outcomes that the performance report judges by. Medians of rounds taken in turns.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from _common import arguments, print_machine, write_json

from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.modelling.performance import DATE_ONLY_START
from betting_assets.modelling.settlement import settle, settle_new
from betting_assets.warehouse.bulk import read_frame
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.migrate import migrate
from betting_assets.warehouse.outcomes import read_counting_outcomes, write_outcomes

MATCHES = """INSERT INTO core.match (match_id, sport, league, season, rating_pool, match_date, kickoff, home, away,
                                     source)
    SELECT 'xx-2021-' || i, 'football', 'XX', '2122', 'x', day, day + interval '15 hours', 'a', 'b', 'test'
      FROM (SELECT i, DATE '2021-08-01' + i / 10 AS day FROM generate_series(1, %(matches)s) i)"""
RESULTS = """INSERT INTO core.result (match_id, home_score, away_score, known_at)
    SELECT match_id, ascii(md5(match_id)) %% 4, ascii(md5(away || match_id)) %% 4,
           (match_date + 1)::timestamp AT TIME ZONE 'UTC' FROM core.match"""
LOG = """INSERT INTO serving.prediction_log (predicted_at, request_id, match_id, market, variant, model_version,
                                            bento_tag, probabilities, features, feature_time, served_by)
    SELECT kickoff - interval '1 minute' * (n + 1), 'r', match_id, market, 'market_residual', 'match_odds/1', 'b:1',
           CASE market WHEN '1x2' THEN '{0.5,0.3,0.2}'::float8[] ELSE '{0.6,0.4}' END, features,
           kickoff - interval '1 minute' * (n + 2), 'h:1'
      FROM generate_series(1, %(each)s) n, core.match, (VALUES ('1x2'), ('over_under')) markets (market),
           (SELECT jsonb_object_agg('feature_of_some_name_' || f, random()) AS features
              FROM generate_series(1, 60) f) told
     ORDER BY n, match_id"""
NEW = 300
NEWEST = "xx-2021-1"
UNSETTLE = """DELETE FROM serving.prediction_outcome WHERE prediction_id IN (
    SELECT id FROM serving.prediction_log WHERE match_id = %s ORDER BY id DESC LIMIT %s)"""
DIGEST = "SELECT md5(string_agg(o::text, '' ORDER BY prediction_id)) FROM serving.prediction_outcome o"
EVERYTHING = """SELECT l.id AS prediction_id, l.predicted_at, l.feature_time, l.match_id, l.market, l.probabilities,
                       r.home_score, r.away_score, r.known_at
                  FROM serving.prediction_log l LEFT JOIN core.result r USING (match_id) ORDER BY l.id"""


@dataclass(frozen=True)
class Way:
    """One way to settle; `seconds` by round."""

    name: str
    run: Callable[[str], object]
    seconds: list[float]


def everything(url: str) -> None:
    write_outcomes(url, settle(read_frame(url, EVERYTHING), "predicted_at").outcomes)


def what_is_new(url: str) -> None:
    settle_new(url, "predicted_at")


def fill(url: str, matches: int, each: int) -> None:
    with connect(url, autocommit=True) as connection:
        for statement in (MATCHES, RESULTS, LOG):
            connection.execute(statement, {"matches": matches, "each": each})
    began = time.perf_counter()
    settled = settle_new(url, "predicted_at")
    print(f"first settlement, of all {settled.written:,}: {time.perf_counter() - began:.1f} s")
    with connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")  # as autovacuum does in time


def one_round(url: str, ways: list[Way]) -> None:
    left = set()
    for way in ways:
        with connect(url) as connection:
            connection.execute(UNSETTLE, [NEWEST, NEW])
        began = time.perf_counter()
        way.run(url)
        way.seconds.append(time.perf_counter() - began)
        with connect(url) as connection:
            left |= set(connection.execute(DIGEST).fetchall())
    if len(left) != 1:
        sys.exit("the two ways left different outcomes")


def report(url: str) -> float:
    began = time.perf_counter()
    read_counting_outcomes(url, "predicted_at", DATE_ONLY_START)
    return time.perf_counter() - began


def measure(matches: int, each: int, rounds: int) -> dict[str, Any]:
    ways = [Way("what is new", what_is_new, []), Way("everything", everything, [])]
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)  # for the server's own user, when root runs this
        with EmbeddedPostgres(Path(home) / "postgres") as server:
            migrate(server.url)
            fill(server.url, matches, each)
            for _ in range(rounds):
                one_round(server.url, ways)
            reports = [report(server.url) for _ in range(rounds)]
            size = read_frame(server.url, "SELECT pg_total_relation_size('serving.prediction_log') / 1e6 AS mb")
    seconds = {way.name: median(way.seconds) for way in ways} | {"outcomes of the report": median(reports)}
    return {
        "rows": matches * each * 2,
        "new": NEW,
        "log_mb": float(size["mb"].iloc[0]),
        "seconds": seconds,
        "ratio": seconds["everything"] / seconds["what is new"],
    }


def main() -> None:
    given = arguments(__doc__, "100,000 predictions, 3 rounds").parse_args()
    where = print_machine()
    result = measure(100, 500, 3) if given.quick else measure(1000, 500, 5)
    print(f"{result['rows']:,} predictions ({result['log_mb']:,.0f} MB), {result['new']} of them new")
    for name, seconds in result["seconds"].items():
        print(f"{name:<24} {seconds:>8.3f} s")
    print(f"ratio {result['ratio']:.0f}")
    write_json(given.json, {"machine": where, **result})


if __name__ == "__main__":
    main()
