"""Features of matches from the online store, as rows for the batcher."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bentos.match_odds.champions import Champion
from bentos.match_odds.contract import MarketName, Row, Value
from bentos.match_odds.errors import NotFound, StoredFeaturesUnfit, Unavailable
from bentos.match_odds.scoring import feature_fault

if TYPE_CHECKING:
    from feature_repo.online_rows import OnlineRows

TIMEOUT = 5.0
"""Seconds to wait for the store before a request is refused."""

OPENING_TIMEOUT = 30.0
"""Seconds to wait for it when the service starts: loading Feast alone takes some."""


class OnlineFeatures:
    """Reads the online store in a thread of its own, because it blocks.

    Args:
        database_url: PostgreSQL that holds the store; None where the service runs without one.
    """

    def __init__(self, database_url: str | None) -> None:
        self._url = database_url
        self._thread = ThreadPoolExecutor(1, "online-store")
        self._readers: dict[str, Callable[[Sequence[str]], OnlineRows]] = {}

    async def open(self) -> None:
        """Load Feast and connect, so that the first request need not. Raises Unavailable."""
        await self._in_thread(OPENING_TIMEOUT, self._open)

    async def rows(self, champion: Champion, match_ids: Sequence[str], request_id: str) -> list[Row]:
        """One row a match, in order, with exactly the features that the champion reads.

        Raises:
            NotFound: names the matches that the store does not have.
            StoredFeaturesUnfit: the stored features have expired, or are not what the model was trained on.
            Unavailable: the store cannot be reached, or not in time.
        """
        market = champion.bundle.market.market.value
        read = await self._in_thread(TIMEOUT, self._read, market, match_ids)
        return rows_of(champion, read, request_id)

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

    def _read(self, market: str, match_ids: Sequence[str]) -> OnlineRows:
        from feature_repo.operations import online_reader
        from feature_repo.services import feature_service

        if market not in self._readers:
            self._readers[market] = online_reader(self._open(), feature_service(market, "market_residual"))
        return self._readers[market](match_ids)


def rows_of(champion: Champion, read: OnlineRows, request_id: str) -> list[Row]:
    """What was read, as rows for the batcher. Raises NotFound and StoredFeaturesUnfit, see `OnlineFeatures.rows`."""
    _check_found(read)
    wanted = champion.bundle.features
    numbers = [(name, read.names.index(name)) for name in wanted if name in read.names]
    others = [(name, read.others[name]) for name in wanted if name in read.others]
    table = read.numbers.tolist()
    ages = {view: seconds.tolist() for view, seconds in read.ages().items()}
    newest = read.newest().tolist()
    rows = []
    for i, key in enumerate(read.keys):
        features: dict[str, Value] = {name: _number(table[i][place]) for name, place in numbers}
        features |= {name: column[i] for name, column in others}
        fault = feature_fault(champion.bundle, features)
        if fault is not None:
            raise StoredFeaturesUnfit(f"stored features of {key}: {fault}")
        rows.append(
            Row.model_construct(
                market=MarketName(champion.bundle.market.market.value),
                features=features,
                match_id=str(key),
                feature_time=newest[i].replace(tzinfo=dt.UTC),
                feature_ages={view: seconds[i] for view, seconds in ages.items() if math.isfinite(seconds[i])},
                feature_read_at=read.read_at,
                request_id=request_id,
            )
        )
    return rows


def _check_found(read: OnlineRows) -> None:
    """Every match has a row in some view, and none that is too old."""
    if (absent := read.absent()).any():
        unknown = list(dict.fromkeys(str(key) for key, lacks in zip(read.keys, absent, strict=True) if lacks))
        raise NotFound(f"no features for {len(unknown)} of the matches: {', '.join(unknown[:5])}")
    for view, key, time in read.expired():
        raise StoredFeaturesUnfit(f"stored features of {key}: {view} of {time} UTC has expired, materialize newer ones")


def _number(stored: float) -> float | None:
    return stored if math.isfinite(stored) else None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
