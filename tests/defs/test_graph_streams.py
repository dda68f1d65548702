"""Landed messages in the asset graph: reported, planned, merged once, and followed by what depends on them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator

import dagster as dg
import pandas as pd
import pytest
from landed import FIXTURE, KICKOFF, MATCH, Landed
from worlds import Graph

from betting_assets.defs import fixture_sensor, stream_sensors
from betting_assets.defs.resources import Platform
from betting_assets.defs.streams import settle_stage
from betting_assets.warehouse import tables
from betting_assets.warehouse.database import connect, create_databases, with_database, with_driver
from betting_assets.warehouse.fixtures import upcoming_matches
from betting_assets.warehouse.history import read_results
from betting_assets.warehouse.ranges import OffsetRange, plan, unfinished

TOPIC = "match.results.v1"
DAY = dt.date(2026, 3, 7)


@pytest.fixture(scope="module", autouse=True)
def own_registry(postgres_url: str) -> Iterator[None]:
    """A registry without models: those of the session's story were trained in another database."""
    with connect(postgres_url, autocommit=True) as conn, pytest.MonkeyPatch.context() as patch:
        conn.execute("CREATE DATABASE mlflow_streams")
        address = with_driver(with_database(postgres_url, "mlflow_streams"), "psycopg2")
        patch.setattr(Platform, "tracking_url", property(lambda _: address))
        yield
        conn.execute("DROP DATABASE mlflow_streams WITH (FORCE)")


@pytest.fixture
def landed(small: Graph) -> Iterator[Landed]:
    create_databases(small.url)
    with connect(small.url, autocommit=True) as conn:
        yield Landed(conn)


def tick(graph: Graph, sensor: str, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    """Evaluate a sensor once, as the daemon does."""
    context = dg.build_sensor_context(
        instance=graph.instance,
        cursor=cursor,
        definitions=graph.definitions,
        resources={"platform": graph.platform},
    )
    found = graph.definitions.resolve_sensor_def(sensor)(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def request_of(found: dg.SensorResult | dg.SkipReason) -> dg.RunRequest:
    assert isinstance(found, dg.SensorResult)
    (request,) = found.run_requests or []
    return request


def begin(graph: Graph, request: dg.RunRequest) -> dg.DagsterRun:
    """Make the run that the daemon makes of a request."""
    return graph.instance.create_run_for_job(
        graph.definitions.resolve_job_def("settle_live"),
        run_config=request.run_config,
        tags={**request.tags, "dagster/run_key": str(request.run_key)},
    )


def execute(graph: Graph, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    return graph.definitions.resolve_job_def("settle_live").execute_in_process(
        instance=graph.instance,
        run_config=request.run_config,
        tags={**request.tags, "dagster/run_key": str(request.run_key)},
        raise_on_error=False,
    )


def reason(found: dg.SensorResult | dg.SkipReason) -> str:
    skipped = found.skip_reason if isinstance(found, dg.SensorResult) else found
    assert isinstance(skipped, dg.SkipReason)
    return str(skipped.skip_message)


def test_new_results_make_one_run_that_settles_them_and_makes_what_depends_on_them(
    small: Graph, landed: Landed
) -> None:
    landed.tick(-60)
    landed.result()
    landed.result(partition=1, sequence=1)
    request = request_of(tick(small, "settle_results"))
    assert request.tags["betting/offsets"] == "1.0[0,1) 1.1[0,1)"
    done = execute(small, request)
    assert done.success
    assert MATCH in set(read_results(small.url)["match_id"])
    made = {event.asset_key.to_user_string() for event in done.get_asset_materialization_events() if event.asset_key}
    assert made >= {"live_history", "match_features", "online_features", "prediction_outcomes", "drift_report"}
    judged = {one.asset_check_key.to_user_string() for one in done.get_asset_check_evaluations()}
    assert judged >= {"training_set:drift", "training_set:new_results", "training_set:model_age"}
    partitions = small.instance.get_materialized_partitions(dg.AssetKey("live_history"))
    assert partitions == {"2026-03-07"}
    assert unfinished(landed.conn, TOPIC) == []
    assert "no new result was landed" in reason(tick(small, "settle_results"))


def test_a_plan_whose_run_never_began_is_requested_again_under_its_key(small: Graph, landed: Landed) -> None:
    """The daemon was killed between the plan's commit and the run."""
    landed.result()
    first = request_of(tick(small, "settle_results"))
    again = request_of(tick(small, "settle_results"))
    assert (again.run_key, again.run_config) == (first.run_key, first.run_config)


def test_results_that_come_while_a_run_is_under_way_wait_for_it_and_make_one_run(small: Graph, landed: Landed) -> None:
    landed.result()
    begin(small, request_of(tick(small, "settle_results")))
    for number in range(3):
        landed.result(sequence=number + 1)
        assert "deals with" in reason(tick(small, "settle_results"))
    planned = landed.conn.execute("SELECT count(*) FROM stream.planned_range").fetchone()
    assert planned == (1,)


def test_ranges_of_a_failed_run_go_to_another_after_a_pause_and_hold_nothing_back(
    small: Graph, landed: Landed, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed.result()
    first = request_of(tick(small, "settle_results"))
    small.instance.report_run_failed(begin(small, first))
    assert "no new result" in reason(tick(small, "settle_results"))
    landed.result(sequence=1)
    second = request_of(tick(small, "settle_results"))
    assert second.tags["betting/offsets"] == "1.0[1,2)"
    small.instance.report_run_failed(begin(small, second))
    monkeypatch.setattr(stream_sensors, "PAUSE", dt.timedelta(0))
    again = request_of(tick(small, "settle_results"))
    assert again.run_key != first.run_key
    assert again.tags["betting/offsets"] == "1.0[0,1)"


def test_a_run_that_died_without_a_word_is_given_up(
    small: Graph, landed: Landed, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed.result()
    run = begin(small, request_of(tick(small, "settle_results")))
    _start(small, run)
    assert "deals with" in reason(tick(small, "settle_results"))
    monkeypatch.setattr(stream_sensors, "GIVE_UP", dt.timedelta(0))
    monkeypatch.setattr(stream_sensors, "PAUSE", dt.timedelta(0))
    small.instance.event_log_storage.set_concurrency_slots("history", 1)
    small.instance.event_log_storage.claim_concurrency_slot("history", run.run_id, "live_history")
    assert request_of(tick(small, "settle_results")).tags["betting/offsets"] == "1.0[0,1)"
    ended = small.instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE
    assert small.instance.event_log_storage.get_concurrency_info("history").active_slot_count == 0


def _start(graph: Graph, run: dg.DagsterRun) -> None:
    from dagster._core.events import DagsterEvent, DagsterEventType

    graph.instance.report_dagster_event(
        DagsterEvent(DagsterEventType.PIPELINE_START.value, run.job_name, message="started"), run.run_id
    )


def test_offsets_without_a_result_make_no_run(small: Graph, landed: Landed) -> None:
    landed.position(TOPIC, 0, 1, 5)
    assert "dead letters" in reason(tick(small, "settle_results"))
    assert unfinished(landed.conn, TOPIC) == []


def test_a_dead_broker_is_one_clear_message_and_planning_goes_on(small: Graph, landed: Landed) -> None:
    landed.result()
    request_of(tick(small, "settle_results"))
    landed.conn.execute("UPDATE stream.planned_range SET done_at = now()")
    told = reason(tick(small, "settle_results"))
    assert "lag is not known: Kafka at 127.0.0.1:" in told
    assert "\n" not in told


def test_a_day_is_replayed_as_a_backfill_and_changes_nothing(small: Graph, landed: Landed) -> None:
    landed.tick(-60)
    landed.result()
    first = small.materialize("live_history", partition="2026-03-07")
    again = small.materialize("live_history", partition="2026-03-07")
    counts = [
        {key: value.value for key, value in run.asset_materializations_for_node("live_history")[0].metadata.items()}
        for run in (first, again)
    ]
    assert (counts[0]["results_inserted"], counts[0]["books_written"]) == (1, 2)
    assert (counts[1]["results_inserted"], counts[1]["books_written"]) == (0, 0)


def test_a_range_of_offsets_is_replayed_by_configuration_and_done_with(small: Graph, landed: Landed) -> None:
    landed.result()
    assert plan(landed.conn, TOPIC, tables.match_result) is not None
    stage = settle_stage(DAY, (OffsetRange(TOPIC, 1, 0, 0, 1),))
    outcome = small.run(stage.job, stage.partition, **(stage.ops or {}))
    assert outcome.success
    assert outcome.metadata["live_history"]["ranges_done"] == 1
    assert unfinished(landed.conn, TOPIC) == []


def test_a_range_of_a_topic_that_nobody_keeps_is_refused_in_one_line(small: Graph, landed: Landed) -> None:
    stage = settle_stage(DAY, (OffsetRange("nothing.v1", 1, 0, 0, 1),))
    outcome = small.run(stage.job, stage.partition, **(stage.ops or {}))
    assert not outcome.success
    assert "no messages of the topic 'nothing.v1' are kept" in str(outcome.error)


def test_a_match_that_only_odds_tell_of_is_known_with_features_before_it_begins(small: Graph, landed: Landed) -> None:
    new, at = "xx_2026-03-08_cedar_elm", KICKOFF - dt.timedelta(minutes=60)
    landed.tick(-60, match_id=new, fixture=FIXTURE | {"home": "cedar", "away": "elm", "match_date": "2026-03-08"})
    found = tick(small, "new_fixtures")
    again = tick(small, "new_fixtures")
    assert request_of(found).run_key == request_of(again).run_key, "a killed daemon asks once"
    assert execute(small, request_of(found)).success
    upcoming = upcoming_matches(small.url).set_index("match_id")
    assert upcoming.loc[new, "event_timestamp"] == pd.Timestamp(at)
    assert isinstance(found, dg.SensorResult)
    assert "has every match" in reason(tick(small, "new_fixtures", found.cursor))


def test_a_fixture_that_is_refused_is_not_asked_for_again_and_again(
    small: Graph, landed: Landed, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed.tick(-60, match_id="xx_2026-03-08_fir_gorse", fixture=FIXTURE)
    found = tick(small, "new_fixtures")
    _start(small, begin(small, request_of(found)))
    assert "a run deals with" in reason(tick(small, "new_fixtures"))
    for run in small.instance.get_runs(dg.RunsFilter(tags={"betting/fixtures": "yes"})):
        small.instance.report_run_failed(run, "the test ends it")
    assert isinstance(found, dg.SensorResult)
    kept = tick(small, "new_fixtures", found.cursor)
    assert "1 matches were asked for" in reason(kept)
    monkeypatch.setattr(fixture_sensor, "AGAIN_SECONDS", 0.001)
    assert request_of(tick(small, "new_fixtures", found.cursor)).run_key != request_of(found).run_key


def test_landed_rows_are_reported_once_in_one_event_a_day(small: Graph, landed: Landed) -> None:
    landed.tick(-60)
    landed.tick(-50, bookmaker="other", partition=1)
    landed.tick(-24 * 60)
    landed.result()
    found = tick(small, "landed")
    assert isinstance(found, dg.SensorResult)
    events = {(one.asset_key.to_user_string(), one.partition): one for one in found.asset_events}
    assert set(events) == {
        ("odds_ticks", "2026-03-07"),
        ("odds_ticks", "2026-03-06"),
        ("live_results", "2026-03-07"),
    }
    told = {key: value.value for key, value in events["odds_ticks", "2026-03-07"].metadata.items()}
    assert (told["landed"], told["by_source"], told["by_kind"]) == (2, {"test": 2}, {"acme": 1, "other": 1})
    assert told["offsets"] == {"1.0": [0, 0], "1.1": [0, 0]}
    again = tick(small, "landed", found.cursor)
    assert isinstance(again, dg.SensorResult)
    assert not again.asset_events
    landed.tick(-40)
    more = tick(small, "landed", again.cursor)
    assert isinstance(more, dg.SensorResult)
    assert [one.metadata["landed"].value for one in more.asset_events] == [1]


def test_dead_letters_are_told_beside_what_was_landed(small: Graph, landed: Landed) -> None:
    landed.tick(-60)
    landed.conn.execute(
        """INSERT INTO stream.dead_letter (topic, epoch, partition, "offset", reason, detail, headers, produced_at)
           VALUES ('odds.ticks.v1', 1, 0, 1, 'not_json', 'x', '{}', now())"""
    )
    landed.position("odds.ticks.v1", 0, 1, 2)
    found = tick(small, "landed")
    assert isinstance(found, dg.SensorResult)
    assert [one.metadata["dead_letters_since"].value for one in found.asset_events] == [1]


def test_a_long_recording_is_reported_bit_by_bit_and_nothing_twice(
    small: Graph, landed: Landed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_sensors, "MOST_EVENTS", 4)
    days = 15
    for day in range(days):
        landed.result(minutes=-day * 24 * 60)
    landed.result(epoch=2)
    landed.conn.execute(
        "INSERT INTO stream.topic_log (topic, epoch, cluster_id, topic_id) VALUES (%s, 1, 'c', ''), (%s, 2, 'd', '')",
        [TOPIC, TOPIC],
    )
    cursor, reported = None, []
    for _ in range(10):
        found = tick(small, "landed", cursor)
        assert isinstance(found, dg.SensorResult)
        cursor = found.cursor
        assert len(found.asset_events) <= 4
        reported += [(one.partition, one.metadata["landed"].value) for one in found.asset_events]
    assert sum(int(str(count)) for _, count in reported) == days + 1
    assert len({partition for partition, _ in reported}) == days
    assert json.loads(str(cursor))[TOPIC] == {"1.0": days, "2.0": 1}


def test_a_tick_of_the_next_minutes_is_reported_with_today(small: Graph, landed: Landed) -> None:
    now = dt.datetime.now(dt.UTC)
    landed.tick(0, taken_at=now + dt.timedelta(days=1))
    found = tick(small, "landed")
    assert isinstance(found, dg.SensorResult)
    assert [one.partition for one in found.asset_events] == [pd.Timestamp(now).strftime("%Y-%m-%d")]


def test_a_platform_without_a_stream_is_left_alone(small: Graph) -> None:
    found = tick(small, "landed")
    assert isinstance(found, dg.SensorResult)
    assert not found.asset_events
    assert "no new result was landed" in reason(tick(small, "settle_results"))
