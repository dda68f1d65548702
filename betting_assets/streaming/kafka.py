"""Clients of the broker that the settings name; what goes wrong there is one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError
from kafka.partitioner.default import DefaultPartitioner, murmur2

from betting_assets.settings import Settings

MECHANISM = "SCRAM-SHA-512"
PATIENCE_MS = 10_000
RECONNECT_MS = 1_000
MOST_KEYS = 50_000


class BrokerError(RuntimeError):
    """The broker cannot be reached, or refuses; one line with its address and what to do."""


def servers(settings: Settings) -> str:
    """host:port of the broker: the one that the settings name, else the one that this machine runs itself."""
    return settings.kafka_servers or f"127.0.0.1:{settings.kafka_port}"


def options(settings: Settings) -> dict[str, Any]:
    """What every client of the broker needs to connect."""
    chosen: dict[str, Any] = {
        "bootstrap_servers": servers(settings).split(","),
        "client_id": "betting",
        "bootstrap_timeout_ms": PATIENCE_MS,
        "reconnect_backoff_max_ms": RECONNECT_MS,  # the default notices a broker that is back half a minute late
    }
    if settings.kafka_security != "PLAINTEXT":
        chosen |= {"security_protocol": settings.kafka_security}
        chosen |= {"ssl_cafile": str(settings.kafka_ca)} if settings.kafka_ca else {}
    if settings.kafka_security.startswith("SASL"):
        password = settings.kafka_password.get_secret_value() if settings.kafka_password else ""
        chosen |= {"sasl_mechanism": MECHANISM, "sasl_plain_username": settings.kafka_user}
        chosen |= {"sasl_plain_password": password}
    return chosen


@contextmanager
def told(settings: Settings) -> Iterator[None]:
    """Turns the client's errors into one line."""
    try:
        yield
    except KafkaError as error:
        why = " ".join(str(error).split())
        where = servers(settings)
        hint = "is it running? `betting up` starts one" if not settings.kafka_servers else "see BETTING_KAFKA_SERVERS"
        raise BrokerError(f"Kafka at {where}: {why} ({hint})") from error


@contextmanager
def admin_client(settings: Settings) -> Iterator[KafkaAdminClient]:
    with told(settings):
        client = KafkaAdminClient(**options(settings), request_timeout_ms=PATIENCE_MS)
        try:
            yield client
        finally:
            client.close()


def consumer(settings: Settings, **more: Any) -> KafkaConsumer:
    """A consumer without a group and without commits: positions are kept in PostgreSQL. Use `assign` and `seek`."""
    with told(settings):
        return KafkaConsumer(**options(settings) | {"enable_auto_commit": False, "check_crcs": True} | more)


def producer(settings: Settings, **more: Any) -> KafkaProducer:
    """An idempotent producer that waits for all replicas."""
    with told(settings):
        return KafkaProducer(**options(settings) | {"acks": "all", "partitioner": KeyPartitioner()} | more)


class KeyPartitioner(DefaultPartitioner):  # type: ignore[misc]
    """Chooses as every client of Kafka does (murmur2 of the key), but works it out once a key: in Python that takes
    as long as all else that sending does.
    """

    def __init__(self) -> None:
        self._hash = lru_cache(MOST_KEYS)(murmur2)

    def partition(
        self, topic: str, key: Any, serialized_key: bytes | None, value: Any, serialized_value: Any, cluster: Any
    ) -> int:
        if serialized_key is None:
            return int(super().partition(topic, key, serialized_key, value, serialized_value, cluster))
        partitions = sorted(cluster.partitions_for_topic(topic))
        return int(partitions[(self._hash(serialized_key) & 0x7FFFFFFF) % len(partitions)])
