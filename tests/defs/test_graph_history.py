"""History: any number of leagues and seasons in one run, read again without harm, corrected, and refused when wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from worlds import NUTSHELL, WORLD, EditedSource, Graph, Step, graph_on, nutshell

from betting_assets.defs.partitions import register_partitions
from betting_assets.sources.batch import Batch
from betting_assets.warehouse.database import connect

pytestmark = pytest.mark.services

UNCHANGED = {"inserted": 0, "updated": 0}
CORE = ("match", "result", "football_statistics", "book")


def changes(metadata: dict[str, Any]) -> dict[str, int]:
    return {name: int(metadata[name]) for name in UNCHANGED}


def last_change(graph: Graph) -> list[Any]:
    return [graph.table(f"SELECT max(updated_at) AS at FROM core.{name}")["at"].iloc[0] for name in CORE]  # noqa: S608


def without(graph: Graph, table: str) -> pd.DataFrame:
    """A feature table without the time of its writing."""
    return graph.table(f"SELECT * FROM features.{table} ORDER BY match_id").drop(columns="updated_at")  # noqa: S608


def changed(before: pd.DataFrame, after: pd.DataFrame, column: str) -> set[str]:
    """Ids of the matches whose value is another one."""
    joined = before[["match_id", column]].merge(after[["match_id", column]], on="match_id")
    return set(joined.loc[joined[f"{column}_x"] != joined[f"{column}_y"], "match_id"])


def test_a_backfill_of_all_leagues_and_seasons_is_one_run(ingested: Step) -> None:
    graph = ingested.graph
    assert ingested.outcome.success, ingested.outcome
    first = graph.instance.get_runs(dg.RunsFilter(job_name="ingest"))[-1]
    events = graph.instance.get_records_for_run(first.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    made = {record.partition_key for record in events}
    assert made == {f"{league}|{season}" for league in WORLD.leagues for season in WORLD.season_codes}
    stored = graph.table("SELECT DISTINCT league || '|' || season AS partition FROM core.match")
    assert set(stored["partition"]) == made


def test_one_partition_alone_is_read_and_nothing_else(database: str, tmp_path: Path) -> None:
    with graph_on(database, tmp_path, nutshell()) as graph:
        register_partitions(graph.instance, graph.platform.source)
        assert graph.run("ingest", "SIM2|2122").success
        assert graph.instance.get_materialized_partitions(dg.AssetKey("match_results")) == {"SIM2|2122"}
        stored = graph.table("SELECT league, season, count(*) AS n FROM core.match GROUP BY 1, 2")
        assert stored.to_dict("records") == [{"league": "SIM2", "season": "2122", "n": 30}]


def test_reading_the_same_source_twice_changes_nothing(small: Graph) -> None:
    before = last_change(small)
    again = small.run("ingest")
    assert again.success
    assert {asset: changes(metadata) for asset, metadata in again.metadata.items()} == {
        "match_results": UNCHANGED,
        "bookmaker_odds": UNCHANGED,
    }
    assert last_change(small) == before


def test_a_corrected_cell_is_updated_and_reaches_the_features(small: Graph) -> None:
    assert small.materialize("team_ratings", "market_consensus").success
    ratings, market = without(small, "team_ratings"), without(small, "market_consensus")
    match = small.table("SELECT match_id FROM core.match WHERE league = 'SIM1' ORDER BY match_date LIMIT 1").iloc[0, 0]
    source = EditedSource(small.platform.source, lambda batch: with_price(with_score(batch, match, 9), match))
    corrected = small.reading(source)
    outcome = corrected.run("ingest")
    assert changes(outcome.metadata["match_results"]) == {"inserted": 0, "updated": 1}
    assert changes(outcome.metadata["bookmaker_odds"]) == {"inserted": 0, "updated": 1}
    assert corrected.materialize("team_ratings", "market_consensus").success
    assert changed(market, without(small, "market_consensus"), "market_home") == {match}
    rated_anew = changed(ratings, without(small, "team_ratings"), "home_elo")
    assert rated_anew
    assert match not in rated_anew, "a match's own result must not be in its features"
    assert all(league == "sim1" for league in (name.split("_")[0] for name in rated_anew))


def test_a_row_that_slipped_past_the_records_stops_everything_downstream_and_says_why(small: Graph) -> None:
    """Pydantic would have refused it; here it stands in the table all the same."""
    register_partitions(small.instance, small.platform.source)
    with connect(small.url) as conn:
        conn.execute(
            "UPDATE core.match SET kickoff = match_date + interval '9 days'"
            " WHERE match_id = (SELECT min(match_id) FROM core.match WHERE season = '2021')"
        )
    result = small.materialize("match_results", "bookmaker_odds", "team_ratings", "team_form", partition="SIM1|2122")
    assert not result.success
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}
    assert made == {"match_results", "bookmaker_odds"}
    refused = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert [check.check_name for check in refused] == ["expectations"]
    assert "kickoff_days" in str(refused[0].description)


def test_a_bad_book_in_the_table_is_refused_by_name(small: Graph) -> None:
    register_partitions(small.instance, small.platform.source)
    with connect(small.url) as conn:
        conn.execute(
            "UPDATE core.book SET prices = ARRAY[1.0, 3.4, 4.1] WHERE (match_id, bookmaker, phase) ="
            " (SELECT match_id, bookmaker, phase FROM core.book WHERE market = '1x2' AND flag IS NULL"
            "    AND match_id LIKE 'sim1_2020%' ORDER BY 1, 2, 3 LIMIT 1) AND market = '1x2'"
        )
    outcome = small.run("ingest", "SIM2|2122")
    assert not outcome.success
    assert list(outcome.failed_checks) == ["bookmaker_odds:expectations"]


def test_hold_back_hides_the_last_match_day_until_it_is_revealed(database: str, tmp_path: Path) -> None:
    with graph_on(database, tmp_path, nutshell(), hold_back=True) as graph:
        assert graph.run("ingest").success
        hidden = graph.table("SELECT m.* FROM core.match m LEFT JOIN core.result r USING (match_id) WHERE r IS NULL")
        assert len(hidden)
        newest = graph.table("SELECT league, max(match_date) AS day FROM core.match GROUP BY 1")
        assert set(zip(hidden["league"], hidden["match_date"], strict=True)) == set(newest.itertuples(index=False))
        of_hidden = f"WHERE match_id IN ({', '.join(repr(name) for name in hidden['match_id'])})"
        phases = graph.table(f"SELECT DISTINCT phase FROM core.book {of_hidden}")  # noqa: S608
        assert phases["phase"].tolist() == ["pre_close"]
        assert graph.run("ingest", history={"hold_back": False}).success
        revealed = graph.table(f"SELECT count(*) AS n FROM core.result {of_hidden}")  # noqa: S608
        assert revealed["n"].iloc[0] == len(hidden)


def test_an_old_season_alone_is_never_held_back(database: str, tmp_path: Path) -> None:
    with graph_on(database, tmp_path, nutshell(), hold_back=True) as graph:
        register_partitions(graph.instance, graph.platform.source)
        outcome = graph.run("ingest", "SIM1|2021")
        assert outcome.metadata["match_results"]["held_back"] == 0
        assert outcome.metadata["match_results"]["results"] == outcome.metadata["match_results"]["dagster/row_count"]


def test_the_sensor_asks_once_for_any_number_of_new_partitions(small: Graph) -> None:
    sensor = small.definitions.resolve_sensor_def("new_partitions")

    def look(cursor: str | None) -> dg.SensorResult | dg.SkipReason:
        context = dg.build_sensor_context(small.instance, cursor=cursor, resources={"platform": small.platform})
        found = sensor(context)
        assert isinstance(found, dg.SensorResult | dg.SkipReason)
        return found

    first = look(None)
    assert isinstance(first, dg.SensorResult)
    assert len(first.run_requests or []) == 1
    assert isinstance(look(first.cursor), dg.SkipReason)
    assert len(small.instance.get_dynamic_partitions("season")) == NUTSHELL.seasons


def with_score(batch: Batch, match_id: str, home_score: int) -> Batch:
    results = batch.results.copy()
    results.loc[results["match_id"] == match_id, "home_score"] = home_score
    return replace(batch, results=results)


def with_price(batch: Batch, match_id: str) -> Batch:
    """The reference book's first price before the close, 1x2, a little higher."""
    books = batch.books.copy()
    one = (books["match_id"] == match_id) & (books["market"] == "1x2") & (books["phase"] == "pre_close")
    row = books.index[one & (books["bookmaker"] == "pinnacle")][0]
    books.at[row, "prices"] = [books.at[row, "prices"][0] * 1.02, *books.at[row, "prices"][1:]]
    return replace(batch, books=books)
