"""Copies of dead letters on the topic *.dlq, for readers that know Kafka only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from betting_assets.streaming.landing.batch import DeadLetter
from betting_assets.streaming.topics import DEAD_LETTERS

PATIENCE_SECONDS = 30.0


class Copies:
    """Sends copies, at least once: the key topic:partition:offset is the same each time."""

    def __init__(self, producer: KafkaProducer) -> None:
        self._producer = producer
        self._sent: list[tuple[DeadLetter, Any]] = []

    def send(self, letters: Iterable[DeadLetter]) -> None:
        for letter in letters:
            self._sent.append((letter, self._send(letter, whole=True)))

    def flush(self) -> None:
        """Wait until the broker has all of them.

        Raises:
            KafkaError: it does not take them.
        """
        if not self._sent:
            return
        sent, self._sent = self._sent, []
        self._producer.flush(timeout=PATIENCE_SECONDS)
        again = [letter for letter, future in sent if _is_too_large(future)]
        for future in [self._send(letter, whole=False) for letter in again]:
            future.get(timeout=PATIENCE_SECONDS)

    def _send(self, letter: DeadLetter, *, whole: bool) -> Any:
        message, fault = letter.message, letter.fault
        headers = [("reason", fault.reason.encode()), ("detail", fault.detail.encode())]
        if not whole:
            headers.append(("value-left-out", b"too large with these headers; its bytes are in stream.dead_letter"))
        key = f"{message.topic}:{message.partition}:{message.offset}".encode()
        value = message.value if whole else None
        try:
            return self._producer.send(message.topic + DEAD_LETTERS, key=key, value=value, headers=headers)
        except MessageSizeTooLargeError:
            if not whole:
                raise
            return self._send(letter, whole=False)


def _is_too_large(future: Any) -> bool:
    """Raises whatever else went wrong."""
    error = future.exception
    if error is None and future.succeeded():
        return False
    if isinstance(error, MessageSizeTooLargeError):
        return True
    future.get(timeout=PATIENCE_SECONDS)  # raises the error, or that it took too long
    return False
