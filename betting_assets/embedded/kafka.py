"""The embedded development broker: Kafka's protocol on loopback, for laptops and tests."""

from __future__ import annotations

from pathlib import Path


class EmbeddedKafka:
    """A development broker in a process of its own.

    Args:
        folder: keeps the topics.
        port: 0: a free one, kept in the folder.
    """

    def __init__(self, folder: Path, port: int) -> None:
        raise NotImplementedError

    def start(self) -> str:
        """Start it, wait until it answers; returns host:port."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop it; what it holds stays in the folder."""
        raise NotImplementedError
