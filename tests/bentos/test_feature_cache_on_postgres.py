"""The cache of features on the real online store: what is read from it, and what becomes of outages."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import psycopg
import pytest
from invented_store import ODDS, PRICES, eventually

from bentos.match_odds.errors import Unavailable
from bentos.match_odds.features.feature_cache import FeatureCache
from bentos.match_odds.model.champions import Champions
from betting_assets.warehouse.database import connect, with_database
from betting_assets.warehouse.features import write_feature_table
from feature_repo.columns import market_columns, strength_columns, typed

pytestmark = pytest.mark.services

BOUND, STALE = 4.0, 20.0

PRICED, UNPRICED = "xx_2026-03-07_a_b", "xx_2026-03-07_c_d"


def feature_tables(decided_at: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Both tables for two matches: one complete, one without odds."""
    keys = {"match_id": [PRICED, UNPRICED], "event_timestamp": [decided_at] * 2}
    rng = np.random.default_rng(5)
    strength = pd.DataFrame(keys | {name: rng.normal(size=2) for name in strength_columns()})
    strength = strength.assign(league="XX", last_input_at=decided_at)
    market = pd.DataFrame(keys | {name: [(ODDS | PRICES).get(name, 0.0)] * 2 for name in market_columns()})
    market.loc[1, [*ODDS, *PRICES]] = np.nan
    market = market.assign(**{name: "invented" for name in market if name.endswith("_book")})
    market = market.assign(**{name: False for name in market if name.endswith("_fallback")})
    return {"match_strength": typed(strength), "match_market": typed(market)}


@pytest.fixture
def decided_at() -> pd.Timestamp:
    return pd.Timestamp.now("UTC").floor("s") - pd.Timedelta(hours=1)


@pytest.fixture
def store_url(database: str, decided_at: pd.Timestamp) -> Iterator[str]:
    """A database whose online store holds two matches."""
    fill(database, decided_at)
    yield database
    from feature_repo.store import forget

    forget()


def fill(url: str, decided_at: pd.Timestamp) -> None:
    from feature_repo.operations import apply_definitions, materialize_upcoming
    from feature_repo.store import feature_store

    for name, frame in feature_tables(decided_at).items():
        write_feature_table(url, name, frame)
    store = feature_store(url)
    apply_definitions(store)
    materialize_upcoming(store, decided_at - dt.timedelta(days=1), decided_at + dt.timedelta(days=1))


@contextmanager
def locked(url: str) -> Iterator[None]:
    """The database refuses connections, and has cut those that there were."""
    name = url.rsplit("/", 1)[1].partition("?")[0]
    with connect(with_database(url, "postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_rows_are_what_the_feature_tables_hold_to_the_bit(
    store_url: str, decided_at: pd.Timestamp, champions: Champions
) -> None:
    tables = feature_tables(decided_at)
    table = tables["match_strength"].merge(tables["match_market"], on="match_id").set_index("match_id")

    async def scenario() -> None:
        cache = FeatureCache(store_url, BOUND, STALE)
        await cache.open()
        for champion in champions.values():
            spec = champion.bundle.market
            rows = await cache.get(champion, [UNPRICED, PRICED])
            for row, match_id in zip(rows, [UNPRICED, PRICED], strict=True):
                expected = table.loc[match_id, list(champion.bundle.numbers)].to_numpy(np.float64)
                assert row.stored.model.values.tobytes() == expected.tobytes()
                assert (row.stored.model.league, row.stored.model.fault, row.stored.suspended) == ("XX", None, False)
                assert row.stored.event_times == dict.fromkeys(tables, decided_at)
                assert row.stored.feature_time == decided_at
                assert row.read_at.utcoffset() == dt.timedelta(0)
            assert [row.stored.best_prices for row in rows] == [[], [PRICES[n] for n in spec.best_price_columns]]
        cache.close()

    asyncio.run(scenario())


def test_the_cache_outlives_an_outage_of_postgres_and_recovers_without_a_request(
    store_url: str, champions: Champions, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        cache = FeatureCache(store_url, 0.25, 600.0)
        await cache.open()
        (before,) = await cache.get(champions["1x2"], [PRICED])
        with locked(store_url):
            await eventually(lambda: not cache.state.reachable, "the outage is noticed")
            (row,) = await cache.get(champions["1x2"], [PRICED])
            assert row.age > 0.25
            assert row.stored is before.stored
            assert cache.state.oldest_age is None or cache.state.oldest_age > 0.25
            with pytest.raises(Unavailable, match=r"the online store (cannot be reached|did not answer)"):
                await cache.get(champions["1x2"], [UNPRICED])
            # Long enough for the pool to have given up for a while.
            await asyncio.sleep(6.0)
        await eventually(lambda: cache.state.reachable, "by itself")
        async with asyncio.timeout(30.0):
            (row,) = await cache.get(champions["1x2"], [PRICED])
        assert row.age <= 0.25
        assert row.stored is before.stored
        cache.close()

    asyncio.run(scenario())
    said = [record.message for record in caplog.records if record.name == "bentos.match_odds.features.feature_cache"]
    assert len(said) == 2, "an outage is logged once, and its end"
    assert said[1] == "the online store answers again"


def test_a_store_that_is_set_up_after_the_service_started_is_found(
    database: str, decided_at: pd.Timestamp, champions: Champions
) -> None:
    async def scenario() -> None:
        cache = FeatureCache(database, BOUND, STALE)
        with pytest.raises(Unavailable, match=r"not set up: .* run `python -m feature_repo apply`"):
            await cache.open()
        await asyncio.to_thread(fill, database, decided_at)
        await eventually(lambda: cache.state.reachable, "without a restart")
        (row,) = await cache.get(champions["1x2"], [PRICED])
        assert row.stored.model.fault is None
        cache.close()

    asyncio.run(scenario())
    from feature_repo.store import forget

    forget()


def test_new_odds_in_the_real_store_are_seen_and_expired_features_are_not_served(
    store_url: str, decided_at: pd.Timestamp, champions: Champions
) -> None:
    async def scenario() -> None:
        cache = FeatureCache(store_url, 0.25, STALE)
        await cache.open()
        champion = champions["1x2"]
        (before,) = await cache.get(champion, [PRICED])
        fill(store_url, decided_at + pd.Timedelta(minutes=5))
        async with asyncio.timeout(30.0):
            while (await cache.get(champion, [PRICED]))[0].stored is before.stored:
                await asyncio.sleep(0.02)
        (after,) = await cache.get(champion, [PRICED])
        assert after.stored.feature_time == decided_at + pd.Timedelta(minutes=5)
        with psycopg.connect(store_url, autocommit=True) as connection:
            month = 31 * 86_400_000_000
            connection.execute('UPDATE feast."betting:match_strength" SET event_us = event_us - %s', [month])
        async with asyncio.timeout(30.0):
            while (fault := (await cache.get(champion, [PRICED]))[0].stored.model.fault) is None:
                await asyncio.sleep(0.02)
        assert fault.startswith(f"stored features of {PRICED}: match_strength of ")
        assert fault.endswith("UTC has expired, materialize newer ones")
        cache.close()

    asyncio.run(scenario())
