"""Features of matches from the online store, as rows for the batcher."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bentos.match_odds.champions import Champion
from bentos.match_odds.contract import MarketName, Row, Value
from bentos.match_odds.errors import NotFound, StoredFeaturesUnfit, Unavailable
from bentos.match_odds.scoring import feature_fault

if TYPE_CHECKING:
    import pandas as pd

TIMEOUT = 5.0
"""Seconds to wait for the store before a request is refused."""

OPENING_TIMEOUT = 30.0
"""Seconds to wait for it when the service starts: loading Feast alone takes some."""


class OnlineFeatures:
    """Reads the online store in a thread of its own, because Feast blocks and its connection is not shared.

    Args:
        database_url: PostgreSQL that holds the store; None where the service runs without one.
    """

    def __init__(self, database_url: str | None) -> None:
        self._url = database_url
        self._thread = ThreadPoolExecutor(1, "online-store")

    async def open(self) -> None:
        """Load Feast and connect, so that the first request need not. Raises Unavailable."""
        await self._in_thread(OPENING_TIMEOUT, self._open)

    async def rows(self, champion: Champion, match_ids: Sequence[str], request_id: str) -> list[Row]:
        """One row a match, in order, with exactly the features that the champion reads.

        Raises:
            NotFound: names the matches that the store does not have.
            StoredFeaturesUnfit: the stored features are not what the model was trained on.
            Unavailable: the store cannot be reached, or not in time.
        """
        market = champion.bundle.market.market.value
        table = await self._in_thread(TIMEOUT, self._read, market, match_ids)
        stored = {record["match_id"]: record for record in table.to_dict("records")}
        unknown = [match_id for match_id in dict.fromkeys(match_ids) if match_id not in stored]
        if unknown:
            raise NotFound(f"no features for {len(unknown)} of the matches: {', '.join(unknown[:5])}")
        rows = {match_id: _row(champion, record, request_id) for match_id, record in stored.items()}
        return [rows[match_id] for match_id in match_ids]

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, seconds: float, work: Any, *args: Any) -> Any:
        if self._url is None:
            raise Unavailable("no online store: the service was started without BETTING_DATABASE_URL")
        future = asyncio.get_running_loop().run_in_executor(self._thread, work, *args)
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError as error:
            raise Unavailable(f"the online store did not answer within {seconds:.0f} seconds: try again") from error
        except LookupError as error:
            raise Unavailable(f"the online store is not set up: {_one_line(error)}") from error
        except Exception as error:
            raise Unavailable(f"the online store cannot be reached ({type(error).__name__}): try again") from error

    def _open(self) -> Any:
        from feature_repo.store import feature_store

        return feature_store(str(self._url))

    def _read(self, market: str, match_ids: Sequence[str]) -> pd.DataFrame:
        from feature_repo.operations import online_features

        return online_features(self._open(), market, match_ids)


def _row(champion: Champion, record: dict[str, Any], request_id: str) -> Row:
    features = {name: _value(record[name]) for name in champion.bundle.features if name in record}
    fault = feature_fault(champion.bundle, features)
    if fault is not None:
        raise StoredFeaturesUnfit(f"stored features of {record['match_id']}: {fault}")
    return Row.model_construct(
        market=MarketName(champion.bundle.market.market.value),
        features=features,
        match_id=record["match_id"],
        feature_time=record["feature_time"].to_pydatetime(),
        request_id=request_id,
    )


def _value(stored: Any) -> Value:
    """A cell of the table as JSON would give it: text, a float, or None for anything that is missing."""
    if isinstance(stored, str):
        return stored
    number = math.nan if stored is None else float(stored)
    return number if math.isfinite(number) else None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
