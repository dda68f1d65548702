"""What a person accepts before landing goes on: another log, or messages that are lost."""

from __future__ import annotations

from betting_assets.settings import Settings
from betting_assets.streaming.kafka import admin_client, consumer, told
from betting_assets.streaming.positions import LANDER, accept_gap
from betting_assets.streaming.topic_logs import BrokerLog, LogError, accept_new_log, current_epoch, read_logs
from betting_assets.streaming.topics import TOPICS
from betting_assets.warehouse.database import connect


def accept(settings: Settings, url: str, *, new_log: str = "", gap: str = "") -> list[str]:
    """Accept another log of the topic `new_log`, and the gaps of the topic `gap`; returns lines that say what was done.

    Raises:
        LogError: there is no such topic.
        BrokerError, DatabaseError: see there.
    """
    lines = []
    if new_log:
        log = _log(settings, new_log)
        with connect(url) as conn:
            lines.append(f"topic {new_log}: epoch {accept_new_log(conn, log)} counts the broker's log")
    if gap:
        log = _log(settings, gap)
        with connect(url) as conn:
            lost = accept_gap(conn, LANDER, log, current_epoch(conn, log), record=True)
        lines.append(f"topic {gap}: {lost} messages are recorded as lost" if lost else f"topic {gap}: nothing is lost")
    return lines


def _log(settings: Settings, topic: str) -> BrokerLog:
    names = [one.name(settings) for one in TOPICS]
    if topic not in names:
        raise LogError(f"topic {topic}: it is none of those that are landed: {', '.join(names)}")
    with told(settings), admin_client(settings) as admin:
        reader = consumer(settings)
        try:
            return read_logs(admin, reader, [topic])[topic]
        finally:
            reader.close(autocommit=False)
