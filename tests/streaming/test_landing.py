"""The lander: every message of every topic is in PostgreSQL exactly once, as it was said, or a dead letter."""

from __future__ import annotations

import datetime as dt
import math

import pytest
from kafka import KafkaConsumer, TopicPartition
from landings import dead, dealt_with, execute, just_now, land, landed, landing, query, send, url, wait_until
from messages_by_hand import MATCH, TAKEN, encoded, prediction, result, tick

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import admin_client, options
from betting_assets.streaming.landing.accepting import accept
from betting_assets.streaming.landing.lander import LandingError
from betting_assets.streaming.positions import LANDER, LOST
from betting_assets.streaming.topic_logs import LogGapError, LogReplacedError
from betting_assets.streaming.topics import MATCH_RESULTS, ODDS_TICKS, PREDICTIONS, TOPICS, create_topics

pytestmark = pytest.mark.services

FULL_DISK = """CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON stream.odds_tick FOR EACH ROW EXECUTE FUNCTION full_disk()"""


def ticks(number: int) -> list[dict[str, object]]:
    return [tick(sequence=n) for n in range(number)]


def test_a_tick_is_landed_as_it_was_said(stream_settings: Settings) -> None:
    whole = tick(
        prices=[None, 3.4, 1001.0], lay=[2.2, None, 4.0], in_play=True, trading="suspended", sequence=2**63 - 1
    )
    send(stream_settings, [whole, tick(market="over_under", line=2.5, prices=[1.9, 1.95], fixture=result()["fixture"])])
    land(stream_settings, dealt_with(stream_settings, 2))
    first, second = query(
        stream_settings,
        """SELECT match_id, bookmaker, market, line, prices, lay, trading, in_play, taken_at, sequence, source, fixture,
           epoch, produced_at, landed_at FROM stream.odds_tick ORDER BY "offset" """,
    )
    assert first[:4] == (MATCH, "pinnacle", "1x2", 0.0)
    assert math.isnan(first[4][0])
    assert first[4][1:] == [3.4, 1001.0]
    assert math.isnan(first[5][1])
    assert first[6:13] == ("suspended", True, dt.datetime.fromisoformat(TAKEN), 2**63 - 1, "by-hand", None, 1)
    assert abs(first[14] - first[13]) < dt.timedelta(minutes=5)
    assert second[2:6] == ("over_under", 2.5, [1.9, 1.95], None)
    assert second[11] == result()["fixture"]


def test_results_and_predictions_are_landed_as_they_were_said(stream_settings: Settings) -> None:
    void = result(status="void", home_score=None, away_score=None, statistics={}, fixture=None, sequence=2)
    send(stream_settings, [result(), void], MATCH_RESULTS)
    empty = prediction(
        **{name: [] for name in ("probabilities", "fair_odds", "best_prices", "best_bookmakers", "edges")},
        **dict.fromkeys(("variant", "model_version", "bento")),
        withheld="suspended",
        withheld_detail="every book is – suspended",
    )
    send(stream_settings, [prediction(), empty], PREDICTIONS)
    land(stream_settings, dealt_with(stream_settings, 4))
    columns = "match_id, status, home_score, away_score, statistics, finished_at, sequence, source, fixture"
    taken = dt.datetime.fromisoformat(TAKEN)
    assert query(stream_settings, f'SELECT {columns} FROM stream.match_result ORDER BY "offset"') == [  # noqa: S608
        (MATCH, "final", 2, 1, {"home_shots": 11}, taken, 1, "by-hand", result()["fixture"]),
        (MATCH, "void", None, None, {}, taken, 2, "by-hand", None),
    ]
    columns = """prediction_id, market, line, probabilities, market_probabilities, best_prices, best_bookmakers, edges,
        withheld, withheld_detail, excluded, variant, model_version, bento, tick_epoch, tick_partition, tick_offset"""
    rows = query(stream_settings, f'SELECT {columns}, scored_at FROM stream.prediction ORDER BY "offset"')  # noqa: S608
    said = prediction()
    assert rows[0] == (*(said[name.strip()] for name in columns.split(",")), taken)
    assert rows[1][3:10] == ([], [], [], [], [], "suspended", "every book is – suspended")


def test_what_cannot_be_used_is_a_dead_letter_with_its_bytes_and_the_rest_is_landed(stream_settings: Settings) -> None:
    odd = encoded(tick(bookmaker="Pin nacle"))
    headers = [("trace", b"\x00\xff"), ("trace", b"")]
    [bad] = send(stream_settings, [odd], key=b"some key", headers=headers)
    good = send(stream_settings, ticks(20))
    [gone] = send(stream_settings, [None])
    [wrong] = send(stream_settings, [result()], PREDICTIONS)
    land(stream_settings, dealt_with(stream_settings, 23))
    assert landed(stream_settings) == sorted(good)
    rows = query(
        stream_settings,
        'SELECT topic, partition, "offset", reason, key, payload, headers FROM stream.dead_letter ORDER BY reason',
    )
    name = ODDS_TICKS.name(stream_settings)
    assert rows[0] == (name, *bad, "forbidden_character", b"some key", odd, [["trace", "00ff"], ["trace", ""]])
    assert rows[1][:4] == (PREDICTIONS.name(stream_settings), *wrong, "missing_field")
    assert rows[2][:6] == (name, *gone, "tombstone", MATCH.encode(), None)


def test_dead_letters_are_copied_to_their_topic_with_reason_and_place(stream_settings: Settings) -> None:
    large = b"\xff" * 1_048_400  # with the headers of the copy it is too large for the broker
    places = send(stream_settings, [b"{}", large])
    land(stream_settings, dealt_with(stream_settings, 2))
    topic = ODDS_TICKS.name(stream_settings)
    copies = {message.key.decode(): message for message in messages(stream_settings, topic + ".dlq", 2)}
    assert set(copies) == {f"{topic}:{partition}:{offset}" for partition, offset in places}
    small, cut = (copies[f"{topic}:{partition}:{offset}"] for partition, offset in places)
    assert small.value == b"{}"
    assert dict(small.headers)["reason"] == b"missing_field"
    assert dict(small.headers)["detail"].startswith(b"field match_id")
    assert cut.value is None
    assert "value-left-out" in dict(cut.headers)
    assert query(stream_settings, "SELECT max(length(payload)) FROM stream.dead_letter") == [(len(large),)]


def messages(settings: Settings, topic: str, number: int) -> list[object]:
    client = KafkaConsumer(**options(settings), enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, n) for n in range(settings.topic_partitions)]
        client.assign(partitions)
        client.seek_to_beginning(*partitions)
        found: list[object] = []

        def enough() -> bool:
            for some in client.poll(timeout_ms=500).values():
                found.extend(some)
            return len(found) >= number

        wait_until(enough)
        return found
    finally:
        client.close(autocommit=False)


def test_a_row_that_the_database_refuses_is_a_dead_letter_and_its_batch_is_landed(stream_settings: Settings) -> None:
    execute(stream_settings, "ALTER TABLE stream.odds_tick ADD CONSTRAINT no_13 CHECK (sequence % 50 <> 13)")
    places = send(stream_settings, ticks(300), partition=0)
    execute(stream_settings, "ALTER TABLE stream.prediction ADD CONSTRAINT no_ab CHECK (prediction_id <> 'ab')")
    [refused_too] = send(stream_settings, [prediction(prediction_id="ab")], PREDICTIONS)
    land(stream_settings, dealt_with(stream_settings, 301))
    refused = {place for n, place in enumerate(places) if n % 50 == 13}
    assert landed(stream_settings) == sorted(set(places) - refused)
    assert dead(stream_settings) == dict.fromkeys([*refused, refused_too], "refused_by_database")
    details = query(stream_settings, "SELECT DISTINCT detail FROM stream.dead_letter WHERE detail LIKE '%no_13%'")
    assert len(details) == 1
    copies = messages(stream_settings, ODDS_TICKS.dead_letters(stream_settings), len(refused))
    assert len(copies) == len(refused)


def test_a_position_that_somebody_set_back_doubles_nothing(stream_settings: Settings) -> None:
    places = send(stream_settings, [*ticks(50), b"{"], partition=0)
    land(stream_settings, dealt_with(stream_settings, 51))
    execute(stream_settings, "UPDATE stream.position SET next_offset = 10 WHERE partition = 0 AND next_offset = 51")
    places += send(stream_settings, ticks(5), partition=0)
    land(stream_settings, dealt_with(stream_settings, 56))
    assert landed(stream_settings) == sorted(set(places) - {(0, 50)})
    assert dead(stream_settings) == {(0, 50): "not_json"}


def test_clocks_that_are_wrong_change_no_order_and_lose_nothing(stream_settings: Settings) -> None:
    """The message's own timestamp is what the producer says; only a tick from the future is refused."""
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    skewed = [(now - 30 * day, now), (now + dt.timedelta(minutes=30), now - 300 * day), (now, now + day)]
    for produced, taken in skewed:
        send(
            stream_settings,
            [tick(taken_at=taken.isoformat())],
            partition=0,
            timestamp_ms=int(produced.timestamp() * 1000),
        )
    land(stream_settings, dealt_with(stream_settings, 3))
    rows = query(stream_settings, 'SELECT produced_at, taken_at FROM stream.odds_tick ORDER BY "offset"')
    assert [(abs(p - q) < dt.timedelta(milliseconds=1), t) for (p, t), (q, _) in zip(rows, skewed, strict=False)] == [
        (True, taken) for _, taken in skewed[:2]
    ]
    assert dead(stream_settings) == {(0, 2): "from_the_future"}


@pytest.mark.parametrize(
    ("sabotage", "mended"),
    [
        (FULL_DISK, "DROP TRIGGER full_disk ON stream.odds_tick"),
        ("ALTER TABLE stream.odds_tick RENAME TO away", "ALTER TABLE stream.away RENAME TO odds_tick"),
        ("ALTER DATABASE {} SET default_transaction_read_only = on", "ALTER DATABASE {} RESET ALL"),
    ],
    ids=["full disk", "missing table", "read-only"],
)
def test_a_database_that_refuses_is_said_in_one_line_and_nothing_is_lost(
    stream_settings: Settings, sabotage: str, mended: str
) -> None:
    name = url(stream_settings).rsplit("/", 1)[1]
    places = send(stream_settings, ticks(40))
    execute(stream_settings, sabotage.format(name))
    with landing(stream_settings, patience=1.0) as one:
        one.thread.join(60)
    assert isinstance(one.error, LandingError)
    assert "nothing is lost" in str(one.error)
    assert "\n" not in str(one.error)
    assert "***" in str(one.error)  # instead of the password
    execute(stream_settings, "SET default_transaction_read_only = off", mended.format(name))
    land(stream_settings, dealt_with(stream_settings, 40))
    assert landed(stream_settings) == sorted(places)


def test_a_disk_that_is_emptied_in_time_ends_the_trouble_by_itself(stream_settings: Settings) -> None:
    places = send(stream_settings, ticks(40))
    execute(stream_settings, FULL_DISK)
    with landing(stream_settings) as one:
        wait_until(lambda: any("No space left" in line for line in one.said))
        execute(stream_settings, "DROP TRIGGER full_disk ON stream.odds_tick")
        wait_until(dealt_with(stream_settings, 40))
        wait_until(lambda: one.said[-1] == "landing again")
    assert one.error is None
    assert landed(stream_settings) == sorted(places)
    assert len(one.said) == 2


def test_landers_share_the_partitions_and_a_rebalance_loses_and_doubles_nothing(stream_settings: Settings) -> None:
    with landing(stream_settings, "a") as first:
        places = send(stream_settings, ticks(2000))
        with landing(stream_settings, "b") as second:
            places += send(stream_settings, ticks(2000), key=None)  # dead letters, in the middle of the rebalance
            wait_until(lambda: len(owned(stream_settings)) == 2 and set(map(len, owned(stream_settings))) == {3})
            places += send(stream_settings, ticks(500), partition=0) + send(stream_settings, ticks(500), partition=1)
            wait_until(dealt_with(stream_settings, 5000))
            assert first.lander.tally.done
            assert second.lander.tally.done
        wait_until(lambda: list(map(len, owned(stream_settings))) == [6])
        places += send(stream_settings, ticks(100), partition=0) + send(stream_settings, ticks(100), partition=1)
        wait_until(dealt_with(stream_settings, 5200))
    assert sorted(landed(stream_settings) + list(dead(stream_settings))) == sorted(places)
    assert set(dead(stream_settings).values()) == {"key_missing"}


def owned(settings: Settings) -> list[list[tuple[str, int]]]:
    rows = query(settings, "SELECT partitions FROM stream.reader")
    return [[(topic, number) for topic, numbers in row[0].items() for number in numbers] for row in rows]


def test_a_topic_that_was_made_anew_is_refused_until_it_is_accepted(stream_settings: Settings) -> None:
    send(stream_settings, ticks(5), partition=0)
    land(stream_settings, dealt_with(stream_settings, 5))
    topic = ODDS_TICKS.name(stream_settings)
    with admin_client(stream_settings) as admin:
        admin.delete_topics([topic])
        wait_until(lambda: topic not in admin.list_topics())
    places = send(stream_settings, ticks(9), partition=0)
    with landing(stream_settings) as one:
        one.thread.join(60)
    assert isinstance(one.error, LogReplacedError)
    assert len(landed(stream_settings)) == 5
    [line] = accept(stream_settings, url(stream_settings), new_log=topic)
    assert "epoch 2" in line
    land(stream_settings, dealt_with(stream_settings, 14))
    assert query(stream_settings, "SELECT epoch, count(*) FROM stream.odds_tick GROUP BY 1 ORDER BY 1") == [
        (1, 5),
        (2, 9),
    ]
    assert len(places) == 9


def test_a_topic_that_is_made_anew_while_it_is_landed_stops_the_lander(stream_settings: Settings) -> None:
    send(stream_settings, ticks(5), partition=0)
    topic = ODDS_TICKS.name(stream_settings)
    with landing(stream_settings) as one:
        wait_until(dealt_with(stream_settings, 5))
        with admin_client(stream_settings) as admin:
            admin.delete_topics([topic])
            wait_until(lambda: topic not in admin.list_topics())
        create_topics(stream_settings)
        one.thread.join(60)
    assert isinstance(one.error, LogReplacedError)


def test_messages_that_retention_removed_are_refused_until_they_are_recorded_as_lost(stream_settings: Settings) -> None:
    send(stream_settings, ticks(5), partition=0)
    land(stream_settings, dealt_with(stream_settings, 5))
    send(stream_settings, ticks(10), partition=0)
    topic = ODDS_TICKS.name(stream_settings)
    with admin_client(stream_settings) as admin:
        admin.delete_records({TopicPartition(topic, 0): 12})
    with landing(stream_settings) as one:
        one.thread.join(60)
    assert isinstance(one.error, LogGapError)
    [line] = accept(stream_settings, url(stream_settings), gap=topic)
    assert "7 messages are recorded as lost" in line
    land(stream_settings, dealt_with(stream_settings, 9))
    assert landed(stream_settings) == [(0, n) for n in (0, 1, 2, 3, 4, 12, 13, 14)]
    assert dead(stream_settings) == {(0, 5): LOST}


def test_the_lander_makes_the_topics_that_are_missing(stream_settings: Settings) -> None:
    with landing(stream_settings):
        wait_until(lambda: [len(some) for some in owned(stream_settings)] == [6])
    with admin_client(stream_settings) as admin:
        assert {topic.name(stream_settings) for topic in TOPICS} <= set(admin.list_topics())


def test_a_lander_says_how_far_it_is_and_is_forgotten_when_it_ends(stream_settings: Settings) -> None:
    with landing(stream_settings):
        send(stream_settings, [tick(taken_at=just_now())] * 30)
        wait_until(lambda: query(stream_settings, "SELECT reader, done, lag FROM stream.reader") == [(LANDER, 30, 0)])
    assert query(stream_settings, "SELECT * FROM stream.reader") == []
