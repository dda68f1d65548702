"""Where topics end, for callers that cannot wait."""

from __future__ import annotations

import socket

from landed import Landed

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import producer
from betting_assets.streaming.lag import Answer, EndOffsets
from betting_assets.streaming.topics import MATCH_RESULTS, ODDS_TICKS, create_topics
from betting_assets.warehouse.database import connect, resolve_url
from betting_assets.warehouse.landed import lag

GENEROUS = 60.0


def asked(broker: EndOffsets) -> Answer:
    broker.ask()
    return broker.answer(GENEROUS)


def test_the_answer_is_the_end_of_each_partition_and_follows_what_is_produced(stream_settings: Settings) -> None:
    create_topics(stream_settings, [MATCH_RESULTS])
    topic = MATCH_RESULTS.name(stream_settings)
    broker = EndOffsets(stream_settings, [topic])
    assert asked(broker) == Answer({(topic, 0): 0, (topic, 1): 0})
    sender = producer(stream_settings)
    for _ in range(3):
        sender.send(topic, b"{}", partition=1)
    sender.flush()
    sender.close()
    found = asked(broker)
    assert found == Answer({(topic, 0): 0, (topic, 1): 3})
    with connect(resolve_url(stream_settings)) as conn:
        assert lag(conn, found.ends, topic) == 3
        Landed(conn).position(topic, 1, 1, 2)
        assert lag(conn, found.ends, topic) == 1


def test_a_topic_that_is_not_there_yet_has_no_end(stream_settings: Settings) -> None:
    assert asked(EndOffsets(stream_settings, [ODDS_TICKS.name(stream_settings)])) == Answer({})


def test_a_broker_that_hangs_costs_the_budget_and_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        broker = EndOffsets(Settings(_env_file=None, kafka_servers=where), ["any"])
        for _ in range(3):
            broker.ask()
            assert broker.answer(0.01) == Answer({}, f"Kafka at {where}: no answer in time")
