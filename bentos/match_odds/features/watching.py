"""Streams of answers: all matches first, then those of which an answer shows something new.

Odds that merely grow old are no event: a client that was told prices knows from `feature_time` how old they are.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

from bentos.match_odds.contract import Answer, Prediction, Reason, WatchEvent, WatchRequest
from bentos.match_odds.errors import Overloaded, Unavailable
from bentos.match_odds.features.feature_cache import FeatureCache, Subscription

MAX_WATCHERS = 1000
RETRY = 0.5
"""Seconds after which matches are tried again whose answer was refused."""

TIMES = frozenset({"feature_time", "feature_age_seconds", "feature_ages", "cache_age_seconds"})
"""What differs between two answers though nothing has happened."""

AnswerSome = Callable[[WatchRequest, list[str], str], Awaitable[Answer]]


class Watching:
    """The watchers of one process. Nothing is queued: a slow client gets the newest state once.

    Args:
        cache: knows which matches change.
        answer: answers some matches of a request.
    """

    def __init__(self, cache: FeatureCache, answer: AnswerSome, max_watchers: int = MAX_WATCHERS) -> None:
        self._cache = cache
        self._answer = answer
        self._max_watchers = max_watchers
        self._watchers: set[Subscription] = set()

    @property
    def count(self) -> int:
        return len(self._watchers)

    def model_changed(self) -> None:
        """Other models are served now: every match is answered anew, and sent if its model is another."""
        for subscription in self._watchers:
            subscription.mark_all()

    async def watch(self, request: WatchRequest, request_id: str) -> AsyncGenerator[WatchEvent, None]:
        """Events until the caller closes it. What the first answer raises, it raises; later on it sends heartbeats.

        Raises:
            Overloaded: there are too many watchers, or too many matches are watched.
        """
        if len(self._watchers) >= self._max_watchers:
            raise Overloaded(f"{len(self._watchers)} clients are watching already: try again")
        with self._cache.subscribed(request.market.value, request.match_ids) as subscription:
            self._watchers.add(subscription)
            try:
                watcher = _Watcher(request, request_id, self._answer, subscription)
                yield _event(await watcher.look(subscription.match_ids))
                while True:
                    yield _event(await watcher.news())
            finally:
                self._watchers.discard(subscription)


class _Watcher:
    """What one client has been told, and which matches it is still to be told of."""

    def __init__(self, request: WatchRequest, request_id: str, answer: AnswerSome, subscription: Subscription) -> None:
        self._request = request
        self._request_id = request_id
        self._answer = answer
        self._subscription = subscription
        self._told: dict[str, tuple[str, Prediction]] = {}
        self._pending: set[str] = set()

    async def news(self) -> Answer | None:
        """Matches of which there is something new; None if there is none for as long as a heartbeat may take."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._request.heartbeat_seconds
        while (left := due - loop.time()) > 0:
            self._pending |= await self._subscription.changes(min(left, RETRY) if self._pending else left)
            if not self._pending:
                continue
            try:
                answer = await self.look(self._subscription.in_order(self._pending))
            except (Unavailable, Overloaded):
                continue  # The store is away, or there is too much work: they stay pending.
            self._pending.clear()
            if answer is not None:
                return answer
        return None

    async def look(self, match_ids: Iterable[str]) -> Answer | None:
        """What the client does not know yet of these matches."""
        answer = await self._answer(self._request, list(match_ids), self._request_id)
        new = [p for p in answer.predictions if self._is_new(answer.model_version, p)]
        for prediction in new:
            self._tell(answer.model_version, prediction)
        if len(new) == len(answer.predictions):
            return answer
        return answer.model_copy(update={"predictions": new}) if new else None

    def _tell(self, version: str, prediction: Prediction) -> None:
        match_id, why = str(prediction.match_id), prediction.withheld
        self._told[match_id] = (version, prediction)
        if why is not None and why.reason is Reason.STALE_ODDS:
            self._subscription.stale.add(match_id)
        else:
            self._subscription.stale.discard(match_id)

    def _is_new(self, version: str, prediction: Prediction) -> bool:
        told = self._told.get(str(prediction.match_id))
        return told is None or told[0] != version or _shown(told[1]) != _shown(prediction)


def _shown(prediction: Prediction) -> dict[str, object]:
    """All but times and ages, which the text of a withheld value tells too."""
    shown = {name: value for name, value in prediction.__dict__.items() if name not in TIMES}
    why = prediction.withheld
    return shown | {"withheld": why and (why.reason, why.fields)}


def _event(answer: Answer | None) -> WatchEvent:
    return WatchEvent(sent_at=dt.datetime.now(dt.UTC), answer=answer)
