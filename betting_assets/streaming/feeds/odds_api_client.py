"""Asks The Odds API over HTTP, within its rate and its quota.

The API takes its key in the query, and httpx logs every address: so its logger is silenced here, and no error text
repeats an address.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from betting_assets.settings import Settings
from betting_assets.streaming.feeds.errors import FeedError, QuotaError

HOST = "https://api.the-odds-api.com"
MAX_BYTES = 32 * 2**20
TIMEOUT = 20.0
ATTEMPTS = 5
LONGEST_PAUSE = 300.0

_REFUSED = (401, 403, 404, 422)
"""Wrong key, used up quota, unknown sport, wrong parameters: to ask again changes nothing."""


class _Reply(NamedTuple):
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """`document` is None where nothing has changed since the last answer."""

    document: list[Any] | None
    taken_at: dt.datetime


class OddsApi:
    """One client for one key. `wait` sleeps, and returns True when the caller wants to stop.

    `remaining` is what the API said is left of the quota, None before the first answer.
    """

    def __init__(self, settings: Settings, wait: Callable[[float], bool], base_url: str = HOST) -> None:
        if settings.odds_api_key is None or not settings.odds_api_key.get_secret_value():
            raise FeedError("live_feed=odds_api needs a key of The Odds API: set BETTING_ODDS_API_KEY")
        import httpx

        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._key = settings.odds_api_key.get_secret_value()
        self._wait = wait
        self._client = httpx.Client(base_url=base_url, timeout=TIMEOUT, follow_redirects=False)
        self._seen: dict[str, tuple[str | None, bytes]] = {}
        self.remaining: float | None = None

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, cost: int, **query: str) -> Answer | None:
        """The answer, or None where the API did not give one now: busy, broken, or out of reach.

        Raises:
            FeedError: refused for good. Never shows the key.
            QuotaError: fewer than `cost` requests are left.
        """
        if self.remaining is not None and self.remaining < cost:
            raise QuotaError(f"The Odds API: {self.remaining:g} requests are left and one costs {cost}; stopped asking")
        for attempt in range(ATTEMPTS):
            reply = self._ask(path, query)
            if reply is not None and reply.status < 400:
                return self._answer(path, reply)
            if reply is not None and reply.status in _REFUSED:
                raise FeedError(f"The Odds API refused {path} with {reply.status}: {self._said(reply)}")
            pause = _retry_after(reply.headers if reply else {}) or _backoff(attempt)
            if attempt == ATTEMPTS - 1 or self._wait(min(pause, LONGEST_PAUSE)):
                break
        return None

    def _ask(self, path: str, query: Mapping[str, str]) -> _Reply | None:
        """The reply; None where there was none, or one of more than MAX_BYTES."""
        import httpx

        etag, _ = self._seen.get(path, (None, b""))
        headers = {"If-None-Match": etag} if etag else {}
        body = bytearray()
        try:
            with self._client.stream("GET", path, params={"apiKey": self._key, **query}, headers=headers) as response:
                for part in response.iter_bytes():
                    body += part
                    if len(body) > MAX_BYTES:
                        return None
        except httpx.HTTPError:
            return None
        self._count(response.headers)
        return _Reply(response.status_code, response.reason_phrase, response.headers, bytes(body))

    def _count(self, headers: Mapping[str, str]) -> None:
        try:
            self.remaining = float(headers["x-requests-remaining"])
        except (KeyError, ValueError):
            return

    def _answer(self, path: str, reply: _Reply) -> Answer | None:
        now = dt.datetime.now(dt.UTC)
        _, before = self._seen.get(path, (None, b""))
        if reply.status == 304 or reply.body == before:
            return Answer(None, now)
        try:
            document = json.loads(reply.body)
        except (ValueError, RecursionError):
            return None
        if not isinstance(document, list):
            return None
        self._seen[path] = (reply.headers.get("etag"), reply.body)
        return Answer(document, now)

    def _said(self, reply: _Reply) -> str:
        try:
            text = str(json.loads(reply.body)["message"])
        except (ValueError, KeyError, TypeError):
            text = reply.reason
        return " ".join(text.replace(self._key, "***").split())[:200]


def _backoff(attempt: int) -> float:
    return float(2**attempt * random.uniform(0.5, 1.0))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, which holds a number or a date."""
    said = headers.get("retry-after")
    if said is None:
        return None
    if said.isdigit():
        return float(said)
    try:
        until = email.utils.parsedate_to_datetime(said)
    except ValueError:
        return None
    return max(0.0, (until.astimezone(dt.UTC) - dt.datetime.now(dt.UTC)).total_seconds())
