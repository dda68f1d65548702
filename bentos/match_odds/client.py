"""A small typed client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TypeVar

import httpx
from pydantic import BaseModel

from bentos.match_odds.contract import Answer, Models, Value

Reply = TypeVar("Reply", bound=BaseModel)


class MatchOddsError(RuntimeError):
    """The service refused. `status` is HTTP's code, the message the service's one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class MatchOddsClient:
    """Talks to one service; use as a context manager, or call `close`.

    Args:
        url: e.g. the address of a `RunningBento`.
        timeout: seconds for a whole request.

    Every method raises MatchOddsError when the service refuses and httpx.TransportError when it cannot be reached.
    """

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout)

    def predict(self, market: str, match_ids: Sequence[str]) -> Answer:
        """Probabilities for matches by id, at most 256."""
        return self._post("/v1/predict", {"market": market, "match_ids": list(match_ids)}, Answer)

    def score(self, market: str, rows: Sequence[Mapping[str, Value]]) -> Answer:
        """Probabilities for explicit features, at most 256 rows."""
        return self._post("/v1/score", {"market": market, "rows": [dict(row) for row in rows]}, Answer)

    def models(self) -> Models:
        """What is served."""
        return _parsed(self._http.get("/v1/models"), Models)

    def ready(self) -> bool:
        """Whether the service is up and warm; False also when nothing listens."""
        try:
            return self._http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> MatchOddsClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, path: str, body: Mapping[str, object], reply: type[Reply]) -> Reply:
        return _parsed(self._http.post(path, json=body), reply)


def _parsed(response: httpx.Response, kind: type[Reply]) -> Reply:
    if response.is_success:
        return kind.model_validate_json(response.content)
    try:
        message = str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        message = response.text[:500]
    raise MatchOddsError(response.status_code, message)
