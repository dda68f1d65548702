"""Asks the Bento: one request a market over gRPC, both at once, and what it means when it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from betting_assets.modelling.markets import MARKETS

if TYPE_CHECKING:
    from bentos.match_odds.client import MatchOddsClient
    from bentos.match_odds.contract import Answer, ModelCard, ScoreRow
    from betting_assets.settings import Settings

TIMEOUT_SECONDS = 5.0
"""Shorter than a reader may be silent, see `ownership`."""

CHANNELS = 4
BAD_REQUEST, NOT_FOUND = 400, 404


class ServiceAwayError(RuntimeError):
    """The Bento cannot be reached or refuses for now; one line."""


@dataclass(frozen=True)
class Scored:
    """What one model said of one row; `fault` says in one line why it said nothing."""

    probabilities: tuple[float, ...] = ()
    fair_odds: tuple[float, ...] = ()
    variant: str | None = None
    model_version: str | None = None
    bento: str | None = None
    fault: str | None = None


class Asker:
    """Use as a context manager. The client is shared by threads."""

    def __init__(self, client: MatchOddsClient) -> None:
        self._client = client
        self._threads = ThreadPoolExecutor(len(MARKETS), "asking")
        self._cards: dict[str, ModelCard] = {}

    @property
    def cards(self) -> Mapping[str, ModelCard]:
        """Market → what its model reads. Raises ServiceAwayError where the service was never reached."""
        if not self._cards:
            self.refresh()
        return self._cards

    def refresh(self) -> None:
        """Ask which models are served. Raises ServiceAwayError."""
        from bentos.match_odds.client import MatchOddsError

        try:
            self._cards = {card.market.value: card for card in self._client.models().models}
        except (MatchOddsError, ValidationError) as error:
            raise _away(error) from error

    def score(self, rows: Mapping[str, Sequence[ScoreRow]]) -> dict[str, list[Scored]]:
        """Market → answers, one a row.

        A row that the model refuses has a fault; the others do not suffer from it.

        Raises:
            ServiceAwayError: nothing was answered for some market.
        """
        asked = {market: given for market, given in rows.items() if given}
        if len(asked) <= 1:
            return {market: self._market(market, given) for market, given in asked.items()}
        futures = {market: self._threads.submit(self._market, market, given) for market, given in asked.items()}
        return {market: future.result() for market, future in futures.items()}

    def close(self) -> None:
        self._threads.shutdown()
        self._client.close()

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _market(self, market: str, rows: Sequence[ScoreRow]) -> list[Scored]:
        from bentos.match_odds.contract import MAX_ROWS

        parts = (rows[start : start + MAX_ROWS] for start in range(0, len(rows), MAX_ROWS))
        return [answer for part in parts for answer in self._part(market, part)]

    def _part(self, market: str, rows: Sequence[ScoreRow]) -> list[Scored]:
        from bentos.match_odds.client import MatchOddsError

        try:
            answer = self._client.score(market, rows)
        except ValidationError as error:
            raise _away(error) from error
        except MatchOddsError as error:
            if error.status not in (BAD_REQUEST, NOT_FOUND):
                raise _away(error) from error
            self._cards = {}  # another model may be served by now
            if error.status == BAD_REQUEST and len(rows) > 1:
                middle = len(rows) // 2
                return self._part(market, rows[:middle]) + self._part(market, rows[middle:])
            return [Scored(fault=str(error))] * len(rows)
        self._note(market, answer)
        return _scored(answer)

    def _note(self, market: str, answer: Answer) -> None:
        """Another model than the one whose features are known answered: they are asked for before the next row."""
        card = self._cards.get(market)
        if card is not None and card.model_version != answer.model_version:
            self._cards = {}


def _scored(answer: Answer) -> list[Scored]:
    return [
        Scored(tuple(one.probabilities), tuple(one.fair_odds), one.variant, answer.model_version, answer.bento)
        for one in answer.predictions
    ]


def _away(error: Exception) -> ServiceAwayError:
    return ServiceAwayError(f"the prediction service: {' '.join(str(error).split())}")


def open_asker(settings: Settings) -> Asker:
    """An asker of the service that the settings name."""
    from bentos.match_odds.client import MatchOddsClient

    key = settings.api_key.get_secret_value() if settings.api_key else None
    client = MatchOddsClient(
        settings.grpc_url, api_key=key, timeout=TIMEOUT_SECONDS, ca=settings.tls_certificate, channels=CHANNELS
    )
    return Asker(client)
