"""`betting replay`: formats told by content, order and spacing kept, everything acknowledged and counted."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from feed_topics import held, results, ticks
from hypothesis import given
from hypothesis import strategies as st
from kafka.producer.sender import Sender
from typer.testing import CliRunner

from betting_assets import replay_command
from betting_assets.cli import app
from betting_assets.embedded.kafka import EmbeddedKafka
from betting_assets.settings import Settings
from betting_assets.sources.errors import SourceError
from betting_assets.sources.feed import Event
from betting_assets.sources.records import LiveResult, Market, Tick
from betting_assets.streaming.feeds import live, publisher
from betting_assets.streaming.feeds.files import FeedFile, Format, events, find, format_of
from betting_assets.streaming.feeds.pacer import Pacer
from betting_assets.streaming.feeds.publisher import publish
from betting_assets.streaming.feeds.simulated import simulated_match_days
from betting_assets.streaming.kafka import BrokerError
from betting_assets.streaming.topics import MATCH_RESULTS, ODDS_TICKS

BEGIN = dt.datetime(2024, 1, 6, 15, tzinfo=dt.UTC)
CATALOGUE = {"marketId": "1.1", "runners": [], "event": {"id": "7", "name": "a v b"}}
SCORES = [{"home_team": "a", "away_team": "b", "completed": False}]
ODDS = [
    {
        "sport_key": "soccer_epl",
        "commence_time": "2024-01-06T15:00:00Z",
        "home_team": "Arsenal",
        "away_team": "Everton",
        "bookmakers": [
            {
                "key": "pinnacle",
                "last_update": "2024-01-06T14:00:00Z",
                "markets": [{"key": "h2h", "outcomes": [{"name": "Arsenal", "price": 1.5}]}],
            }
        ],
    }
]
TABLE = "commence_time,home_team,away_team,bookmaker,last_update,market,name,price\n"
SCORES_TABLE = "home_team,away_team,commence_time,completed,score_name,score_value\n"


def tick(number: int = 0, match: str = "x_2024-01-06_a_b", after: float = 0.0) -> Event:
    at = BEGIN + dt.timedelta(seconds=after)
    record = Tick(
        match_id=match,
        bookmaker="pinnacle",
        market=Market.MATCH_RESULT,
        line=0.0,
        prices=(2.0, None, 4.0),
        taken_at=at,
        sequence=number,
        source="test",
    )
    return Event(at, record)


def recording(event: str, after: int, league_day: str = "06") -> bytes:
    """A football market with two messages, a second apart."""
    definition = {
        "status": "OPEN",
        "marketType": "MATCH_ODDS",
        "eventTypeId": "1",
        "eventId": event,
        "eventName": f"Home {event} v Away {event}",
        "marketTime": f"2024-01-{league_day}T15:00:00.000Z",
        "runners": [
            {"id": 1, "sortPriority": 1, "name": f"Home {event}"},
            {"id": 2, "sortPriority": 2, "name": f"Away {event}"},
            {"id": 58805, "sortPriority": 3, "name": "The Draw"},
        ],
    }
    lines: list[dict[str, Any]] = [
        {"marketDefinition": definition, "rc": [{"id": 1, "atb": [[2.0, 1]]}]},
        {"rc": [{"id": 1, "atb": [[2.5, 1]]}]},
    ]
    start = int(BEGIN.timestamp() * 1000) + after * 1000
    told = [
        {"op": "mcm", "pt": start + number * 1000, "mc": [{"id": f"1.{event}", **line}]}
        for number, line in enumerate(lines)
    ]
    return b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in told)


class Clock:
    def __init__(self) -> None:
        self.time = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


@given(
    st.lists(st.integers(-50, 500), max_size=20),
    st.sampled_from([0.5, 1.0, 60.0]),
    st.none() | st.sampled_from([0.0, 1.0, 20.0]),
)
def test_events_are_spaced_as_they_were_by_speed_and_cap(gaps: list[int], speed: float, max_gap: float | None) -> None:
    clock, at, told = Clock(), 0, []
    for number, gap in enumerate(gaps):
        at += gap
        told.append(tick(number, after=at))
    moments = [(clock.time, event) for event in Pacer(speed, max_gap, lambda: clock.time, clock.sleep).pace(told)]
    assert [event for _, event in moments] == told
    newest, due = None, 100.0
    for moment, event in moments:
        if newest is not None and event.at > newest:
            gap_told = (event.at - newest).total_seconds() / speed
            due += gap_told if max_gap is None else min(gap_told, max_gap)
        newest = max(newest or event.at, event.at)
        assert moment == pytest.approx(due)


def test_time_that_publishing_took_is_not_waited_again() -> None:
    clock = Clock()
    paced = Pacer(1.0, None, lambda: clock.time, clock.sleep).pace([tick(n, after=10 * n) for n in range(3)])
    next(paced)
    clock.time += 7
    next(paced)
    clock.time += 13
    next(paced)
    assert clock.slept == pytest.approx([3.0])


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (recording("5", 0), Format.BETFAIR_STREAM),
        (bz2.compress(recording("5", 0)), Format.BETFAIR_STREAM),
        (gzip.compress(recording("5", 0)), Format.BETFAIR_STREAM),
        (b'{"op":"mcm","pt\n' + recording("5", 0), Format.BETFAIR_STREAM),
        (json.dumps(CATALOGUE).encode(), Format.BETFAIR_CATALOGUE),
        (json.dumps(ODDS).encode(), Format.ODDS_API),
        (json.dumps({"timestamp": "2024-01-06T14:01:00Z", "data": ODDS}).encode(), Format.ODDS_API),
        (json.dumps(SCORES).encode(), Format.ODDS_API_SCORES),
        (TABLE.encode(), Format.ODDS_TABLE),
        (b"\xef\xbb\xbf" + TABLE.encode(), Format.ODDS_TABLE),
        (SCORES_TABLE.encode(), Format.SCORES_TABLE),
        (b"", Format.UNKNOWN),
        (b"Div,Date,HomeTeam\n", Format.UNKNOWN),
        (b"[", Format.UNKNOWN),
        (b"BZh9 no bzip2", Format.UNKNOWN),
        (b"\x1f\x8b\x00", Format.UNKNOWN),
        (bytes(range(256)), Format.UNKNOWN),
    ],
)
def test_the_content_tells_the_format(tmp_path: Path, content: bytes, format: Format) -> None:
    path = tmp_path / "no.suffix"
    path.write_bytes(content)
    assert format_of(path) is format


def test_all_files_are_told_in_one_order_of_time_and_each_is_accounted_for(tmp_path: Path) -> None:
    (tmp_path / "b.bz2").write_bytes(bz2.compress(recording("1", 0)))
    (tmp_path / "a").write_bytes(recording("2", 1))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "odds.json").write_text(json.dumps(ODDS))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden").write_text("hello")
    files = find([tmp_path])
    told = list(events(files))
    assert [event.at for event in told] == sorted(event.at for event in told)
    assert {file.account.file: (file.account.ticks, dict(file.account.skipped)) for file in files} == {
        "a": (2, {}),
        "b.bz2": (2, {}),
        "notes.txt": (0, {"unknown_format": 1}),
        "sub/odds.json": (1, {}),
    }


def test_a_file_is_open_only_while_its_time_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from betting_assets.streaming.feeds import files as module

    for number in range(30):
        (tmp_path / str(number)).write_bytes(recording(str(number), 10 * number))
    open_, most = set[Path](), 0
    real = module._recording

    def watched(file: FeedFile, context: module.Context) -> Any:
        nonlocal most
        open_.add(file.path)
        most = max(most, len(open_))
        yield from real(file, context)
        open_.discard(file.path)

    monkeypatch.setattr(module, "_recording", watched)
    assert len(list(events(find([tmp_path])))) == 60
    assert most <= 2


def test_of_a_torn_file_the_whole_lines_are_told(tmp_path: Path) -> None:
    whole = bz2.compress(b"".join(recording(str(number), number) for number in range(5_000)))
    (tmp_path / "torn.bz2").write_bytes(whole[: len(whole) * 9 // 10])
    (file,) = find([tmp_path])
    told = list(events([file]))
    assert 1000 < len(told) < 10_000
    assert file.account.skipped["torn_file"] == 1


def test_names_in_a_catalogue_beside_the_recording_are_used(tmp_path: Path) -> None:
    nameless = recording("7", 0).replace(b'"eventName":"Home 7 v Away 7",', b"")
    for name in (b"Home 7", b"Away 7", b"The Draw"):
        nameless = nameless.replace(name, b"")
    (tmp_path / "1.7").write_bytes(nameless)
    assert not list(events(find([tmp_path])))
    event = {"id": "7", "name": "Alder v Bracken"}
    (tmp_path / "1.7.json").write_text(json.dumps({"marketId": "1.7", "runners": [], "event": event}))
    assert {event.record.match_id for event in events(find([tmp_path]))} == {"betfair_2024-01-06_alder_bracken"}


def test_a_path_that_is_missing_or_holds_nothing_known_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no such file or folder"):
        find([tmp_path / "gone"])
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match="no file is one of: Betfair stream"):
        find([tmp_path])


@pytest.mark.services
def test_every_message_lies_in_its_topic_keyed_by_match_and_in_order(stream_settings: Settings) -> None:
    told = [tick(number, f"x_2024-01-06_a_{number % 7}", after=number) for number in range(2_000)]
    result = LiveResult(
        match_id="x_2024-01-06_a_1", home_score=1, away_score=0, finished_at=BEGIN, sequence=0, source="test"
    )
    shown: list[int] = []
    before = time.time() * 1000
    published = publish(stream_settings, [*told, Event(BEGIN, result)], progress=shown.append)
    assert published.by_topic == {ODDS_TICKS.base: 2_000, MATCH_RESULTS.base: 1}
    assert shown[-1] == 2_001
    lying = held(stream_settings, ODDS_TICKS)
    assert all(one.timestamp >= before - 1000 for one in lying), "Kafka would delete messages with old times"
    by_match = Counter(one.key for one in lying)
    assert by_match == Counter(event.record.match_id for event in told)
    for match in by_match:
        mine = [one for one in lying if one.key == match]
        assert len({one.partition for one in mine}) == 1
    read = ticks(stream_settings)
    for match in by_match:
        sequences = [one.sequence for one in read if one.match_id == match]
        assert sequences == sorted(sequences)
    assert sorted((Tick(**one.model_dump(exclude={"schema_version"})) for one in read), key=lambda t: t.sequence) == [
        event.record for event in told
    ]
    assert [one.home_score for one in results(stream_settings)] == [1]


@pytest.mark.services
def test_a_source_that_fails_in_the_middle_is_not_hidden(stream_settings: Settings) -> None:
    def failing() -> Any:
        yield tick()
        raise SourceError("torn")

    with pytest.raises(SourceError, match="torn"):
        publish(stream_settings, failing())
    assert len(ticks(stream_settings)) == 1


def test_a_broker_that_is_not_there_is_one_line() -> None:
    with pytest.raises(BrokerError, match=r"Kafka at 127\.0\.0\.1:1: .*BETTING_KAFKA_SERVERS") as told:
        publish(Settings(kafka_servers="127.0.0.1:1"), [tick()])
    assert "\n" not in str(told.value)


@pytest.mark.services
def test_the_command_publishes_and_tells_what_became_of_every_file(
    stream_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.5").write_bytes(recording("5", 0) + b'{"torn')
    (tmp_path / "odds.json").write_text(json.dumps(ODDS))
    monkeypatch.setattr(replay_command, "checked_settings", lambda: stream_settings)
    ran = CliRunner().invoke(app, ["replay", str(tmp_path), "--speed", "max"])
    assert ran.exit_code == 0, ran.output
    assert "3 messages acknowledged" in ran.output
    assert "torn_line 1" in ran.output
    assert "1.5:3: torn_line" in ran.output
    assert len(ticks(stream_settings)) == 3
    again = CliRunner().invoke(app, ["replay", str(tmp_path), "--speed", "max", "--limit", "1"])
    assert "1 messages acknowledged" in again.output
    assert len(ticks(stream_settings)) == 4


def test_a_dry_run_needs_no_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odds.json").write_text(json.dumps(ODDS))
    monkeypatch.setattr(replay_command, "checked_settings", lambda: Settings(kafka_servers="127.0.0.1:1"))
    ran = CliRunner().invoke(app, ["replay", str(tmp_path), "--dry-run"])
    assert ran.exit_code == 0, ran.output
    assert "nothing was published" in ran.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "name files or folders"),
        (["replay", "x", "--simulate"], "name files or folders"),
        (["replay", "x", "--speed", "fast"], "--speed fast"),
        (["replay", "x", "--speed", "nan"], "--speed nan"),
        (["replay", "/nowhere/at/all"], "no such file"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments: list[str], said: str) -> None:
    ran = CliRunner().invoke(app, arguments)
    assert said in str(ran.exception)
    assert "\n" not in str(ran.exception)


def test_simulated_match_days_come_from_the_configured_world(tmp_path: Path) -> None:
    days = simulated_match_days(Settings(leagues="SIM2"), 2, ticks_per_match=20)
    assert len(days) == 2
    assert {event.record.match_id.split("_")[0] for day in days for event in day} == {"sim2"}
    (tmp_path / "E0.csv").write_text("Div,Date,HomeTeam,AwayTeam\nE0,06/01/2024,Arsenal,Everton\n")
    with pytest.raises(SourceError, match="unset BETTING_DATA"):
        simulated_match_days(Settings(data=tmp_path))


@pytest.mark.services
def test_the_simulated_feed_tells_the_match_day_and_waits_for_its_end(
    stream_settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(live, "SIMULATED_SPEED", 0.0)
    chosen = stream_settings.model_copy(update={"live_feed": "simulator", "leagues": "SIM1"})
    stop = threading.Event()
    feed = threading.Thread(target=live.run_live_feed, args=(chosen, stop))
    feed.start()
    try:
        until = time.monotonic() + 120
        while "the simulated match day is over" not in caplog.text:
            assert time.monotonic() < until, "the match day did not end within two minutes"
            time.sleep(0.05)
        assert feed.is_alive()
    finally:
        stop.set()
        feed.join(60)
    assert not feed.is_alive()
    (day,) = simulated_match_days(chosen, 1)
    assert len(ticks(stream_settings)) + len(results(stream_settings)) == len(day)


@pytest.mark.services
def test_a_broker_killed_in_the_middle_is_one_line_and_keeps_what_it_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"max_block_ms": 3_000, "request_timeout_ms": 2_000, "delivery_timeout_ms": 3_000}
    monkeypatch.setattr(publisher, "_OPTIONS", publisher._OPTIONS | short)
    broker = EmbeddedKafka(tmp_path / "kafka", port=0)
    settings = Settings(kafka_servers=broker.start(), topic_partitions=2, home=tmp_path)
    acknowledged: list[int] = []
    others = set(threading.enumerate())

    def told() -> Iterator[Event]:
        yield from (tick(number) for number in range(3_000))
        broker.kill()
        yield from (tick(number) for number in range(3_000, 20_000))

    try:
        with pytest.raises(BrokerError, match=f"Kafka at {settings.kafka_servers}: ") as error:
            publish(settings, told(), progress=acknowledged.append)
        assert "\n" not in str(error.value)
        assert not any(isinstance(thread, Sender) for thread in set(threading.enumerate()) - others)
        broker.start()
        kept = {one.sequence for one in ticks(settings)}
        assert kept == set(range(len(kept)))
        assert len(kept) >= max(acknowledged, default=0)
    finally:
        broker.stop()
