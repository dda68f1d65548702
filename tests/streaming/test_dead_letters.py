"""Dead letters can be found, looked at safely, and sent again."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from landings import dead, dealt_with, execute, land, landed, query, send, url
from messages_by_hand import MATCH, tick

from betting_assets.settings import Settings
from betting_assets.streaming.dead_letters import Choice, DeadLetterError, find, parse, replay
from betting_assets.streaming.positions import LOST
from betting_assets.streaming.topics import ODDS_TICKS
from betting_assets.warehouse.database import connect

pytestmark = pytest.mark.services


def sent_again(settings: Settings, choice: Choice, **more: bool) -> int:
    with connect(url(settings), autocommit=True) as conn:
        return replay(conn, settings, choice, **more)


def betting(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    """The command with these settings, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BETTING_")}
    command = [sys.executable, "-c", "from betting_assets.cli import main; main()", *words]
    variables = environment | settings.as_environment()
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)


def test_a_letter_is_sent_again_with_its_bytes_and_where_it_came_from(stream_settings: Settings) -> None:
    execute(stream_settings, "ALTER TABLE stream.odds_tick ADD CONSTRAINT no_7 CHECK (sequence <> 7)")
    [place] = send(stream_settings, [tick(sequence=7)], headers=[("trace", b"\xff")])
    land(stream_settings, dealt_with(stream_settings, 1))
    assert dead(stream_settings) == {place: "refused_by_database"}
    execute(stream_settings, "ALTER TABLE stream.odds_tick DROP CONSTRAINT no_7")
    name = f"{ODDS_TICKS.name(stream_settings)}:{place[0]}:{place[1]}"
    assert sent_again(stream_settings, Choice(places=(name,))) == 1
    land(stream_settings, dealt_with(stream_settings, 2))
    assert landed(stream_settings) == [(place[0], place[1] + 1)]
    assert query(stream_settings, "SELECT count(replayed_at) FROM stream.dead_letter") == [(1,)]


def test_a_message_without_key_is_mended_by_the_key_from_the_message(stream_settings: Settings) -> None:
    send(stream_settings, [tick(sequence=n) for n in range(5)], key=None)
    send(stream_settings, [b"{"])
    land(stream_settings, dealt_with(stream_settings, 6))
    assert sent_again(stream_settings, Choice(reason="key_missing"), key_from_message=True) == 5
    assert sent_again(stream_settings, Choice(reason="key_missing"), key_from_message=True) == 0
    land(stream_settings, dealt_with(stream_settings, 11))
    assert query(stream_settings, "SELECT count(DISTINCT sequence) FROM stream.odds_tick") == [(5,)]
    assert query(stream_settings, "SELECT DISTINCT match_id FROM stream.odds_tick") == [(MATCH,)]


def test_a_letter_that_still_cannot_be_used_comes_back_once_and_says_where_it_came_from(
    stream_settings: Settings,
) -> None:
    [place] = send(stream_settings, [b"{"])
    land(stream_settings, dealt_with(stream_settings, 1))
    assert sent_again(stream_settings, Choice()) == 1
    land(stream_settings, dealt_with(stream_settings, 2))
    with connect(url(stream_settings)) as conn:
        newest, first = find(conn, Choice(), 10)
    assert first.replayed_at
    assert not newest.replayed_at
    assert newest.headers == [["replayed-from", first.place.encode().hex()]]
    assert first.place == f"{ODDS_TICKS.name(stream_settings)}:{place[0]}:{place[1]}"


def test_what_is_not_there_or_was_lost_is_refused_in_one_line(stream_settings: Settings) -> None:
    execute(
        stream_settings,
        f"""INSERT INTO stream.dead_letter (topic, epoch, partition, "offset", reason, detail, headers, produced_at)
            VALUES ('t', 2, 0, 5, '{LOST}', 'offsets 5 to 9', '[]', now())""",  # noqa: S608
    )
    for place, why in (("t:2.0:5", "were lost"), ("t:0:5", "there is no dead letter"), ("nonsense", "TOPIC:PARTITION")):
        with pytest.raises(DeadLetterError, match=why):
            sent_again(stream_settings, Choice(places=(place,)))
    assert sent_again(stream_settings, Choice()) == 0


def test_a_place_is_read_as_it_is_written() -> None:
    assert parse("odds.ticks.v1:3:41205") == ("odds.ticks.v1", 1, 3, 41205)
    assert parse("odds.ticks.v1:2.3:41205") == ("odds.ticks.v1", 2, 3, 41205)


def test_the_command_lists_shows_and_replays(stream_settings: Settings) -> None:
    nasty = b"\x1b[2J\x00\xff{not json\n"
    [place] = send(stream_settings, [nasty])
    land(stream_settings, dealt_with(stream_settings, 1))
    name = f"{ODDS_TICKS.name(stream_settings)}:{place[0]}:{place[1]}"
    listed = betting(stream_settings, "dlq", "list")
    assert name in listed.stdout
    assert "not_utf8" in listed.stdout
    shown = betting(stream_settings, "dlq", "show", name)
    assert "\x1b" not in shown.stdout
    assert r"\x1b[2J\x00\xff{not json\n" in shown.stdout
    again = betting(stream_settings, "dlq", "replay", "--all")
    assert "1 sent again, each at least once" in again.stdout
    assert (again.returncode, again.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["show", "odds.ticks.v1:0:99"], "there is no dead letter odds.ticks.v1:0:99"),
        (["replay"], "say which dead letters"),
        (["replay", "x"], "names no dead letter"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(
    stream_settings: Settings, words: list[str], complaint: str
) -> None:
    done = betting(stream_settings, "dlq", *words)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_broker_that_is_away_is_said_in_one_line(stream_settings: Settings) -> None:
    send(stream_settings, [b"{"])
    land(stream_settings, dealt_with(stream_settings, 1))
    away = replace_servers(stream_settings)
    done = betting(away, "dlq", "replay", "--all")
    assert done.returncode == 2
    assert "127.0.0.1:1" in done.stderr
    assert done.stderr.count("\n") == 1
    assert query(stream_settings, "SELECT count(replayed_at) FROM stream.dead_letter") == [(0,)]


def replace_servers(settings: Settings) -> Settings:
    return settings.model_copy(update={"kafka_servers": "127.0.0.1:1"})
