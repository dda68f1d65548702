"""The topics as data: name, message, and how they are created."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kafka.errors import TopicAlreadyExistsError
from pydantic import TypeAdapter

from betting_assets.settings import Settings
from betting_assets.sources.records import Record
from betting_assets.streaming.kafka import BrokerError, admin_client
from betting_assets.streaming.messages import MatchResult, OddsTick, Prediction

DEAD_LETTERS = ".dlq"


@dataclass(frozen=True)
class Topic:
    """`base` is its name without the prefix of the settings; `table` is where PostgreSQL keeps its messages."""

    base: str
    message: type[Record]
    table: str

    def name(self, settings: Settings) -> str:
        return settings.topic_prefix + self.base

    def dead_letters(self, settings: Settings) -> str:
        """The topic that gets a copy of every message that could not be used."""
        return self.name(settings) + DEAD_LETTERS

    @property
    def adapter(self) -> TypeAdapter[Record]:
        return TypeAdapter(self.message)


ODDS_TICKS = Topic("odds.ticks.v1", OddsTick, "stream.odds_tick")
MATCH_RESULTS = Topic("match.results.v1", MatchResult, "stream.match_result")
PREDICTIONS = Topic("predictions.v1", Prediction, "stream.prediction")
TOPICS = (ODDS_TICKS, MATCH_RESULTS, PREDICTIONS)


def create_topics(settings: Settings, topics: Iterable[Topic] = TOPICS) -> list[str]:
    """Create those topics that the broker lacks, with their dead-letter topics; returns the names of the new ones.

    Raises:
        BrokerError: see `streaming.kafka`.
    """
    try:
        return _create(settings, list(topics))
    except BrokerError as error:
        if not isinstance(error.__cause__, TopicAlreadyExistsError):
            raise
        return _create(settings, list(topics))  # another process has made some of them in between


def _create(settings: Settings, topics: list[Topic]) -> list[str]:
    retention = str(int(settings.topic_retention_hours * 3_600_000))
    wanted = {
        name: {
            "num_partitions": settings.topic_partitions,
            "replication_factor": settings.topic_replication,
            "configs": {"retention.ms": retention},
        }
        for topic in topics
        for name in (topic.name(settings), topic.dead_letters(settings))
    }
    with admin_client(settings) as admin:
        there = set(admin.list_topics())
        missing = {name: how for name, how in wanted.items() if name not in there}
        if missing:
            admin.create_topics(missing)
    return sorted(missing)
