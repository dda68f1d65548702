"""What is defined, and how definitions reach the registry, against a real PostgreSQL."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading
from urllib.parse import quote

import pytest
from feast import FeatureStore, FeatureView, Field
from feast.types import Float64
from invented_features import FRIDAY, write

from betting_assets.modelling.markets import MARKETS
from betting_assets.settings import PROJECT_ROOT
from betting_assets.warehouse.database import connect
from feature_repo.columns import market_columns, strength_columns
from feature_repo.entities import match
from feature_repo.operations import VIEWS, apply_definitions, materialize_upcoming, online_features
from feature_repo.services import FEATURE_SERVICES, feature_names, feature_service, serving_service
from feature_repo.store import environment, feature_store, forget


def test_applying_twice_changes_nothing(store: FeatureStore, database: str) -> None:
    assert apply_definitions(store) == []
    write(database, ["a"], [FRIDAY])
    materialize_upcoming(store, FRIDAY, FRIDAY)
    assert apply_definitions(store) == []
    assert len(online_features(store, "1x2", ["a"])) == 1


def test_what_is_applied_is_told(database: str) -> None:
    try:
        told = apply_definitions(feature_store(database))
    finally:
        forget()
    for expected in ("entity match", "feature view match_strength", "feature service over_under_training"):
        assert f"create {expected}" in told


def test_a_view_that_is_no_longer_defined_goes_with_its_online_table(store: FeatureStore, database: str) -> None:
    old = FeatureView(
        name="old_view",
        entities=[match],
        ttl=dt.timedelta(days=1),
        schema=[Field(name="old_feature", dtype=Float64)],
        source=VIEWS[0].batch_source,
    )
    store.apply([old])
    assert online_table(database, "old_view") is not None
    assert apply_definitions(store) == ["delete feature view old_view"]
    assert online_table(database, "old_view") is None
    assert {view.name for view in store.list_feature_views()} == {"match_market", "match_strength"}


def online_table(url: str, view: str) -> str | None:
    with connect(url) as connection:
        row = connection.execute("SELECT to_regclass(%s)::text", [f'feast."betting:{view}"']).fetchone()
        return None if row is None else row[0]


def test_a_lost_online_table_is_made_again(store: FeatureStore, database: str) -> None:
    with connect(database, autocommit=True) as connection:
        connection.execute('DROP TABLE feast."betting:match_market"')
    apply_definitions(store)
    assert online_table(database, "match_market") == 'feast."betting:match_market"'


@pytest.mark.services
def test_feasts_own_command_applies_the_same(database: str) -> None:
    command = [sys.executable, "-m", "feature_repo", "apply"]
    variables = {**os.environ, "BETTING_DATABASE_URL": database}
    run = subprocess.run(command, cwd=PROJECT_ROOT, env=variables, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    try:
        assert apply_definitions(feature_store(database)) == []
    finally:
        forget()


def test_every_market_has_a_service_for_each_variant_and_for_training() -> None:
    expected = {f"{m}_{v}" for m in MARKETS for v in ("fundamentals", "market_residual", "training")}
    assert {service.name for service in FEATURE_SERVICES} == expected | {"serving"}


def test_the_bento_reads_every_market_and_what_a_bet_is_worth_by_one_service() -> None:
    names = feature_names(serving_service())
    residual = {name for market in MARKETS for name in feature_names(feature_service(market, "market_residual"))}
    value = {name for spec in MARKETS.values() for name in (*spec.best_price_columns, spec.suspended_column)}
    assert len(names) == len(set(names))
    assert set(names) == residual | value


def test_all_that_the_bento_reads_but_the_league_is_a_number_that_the_store_reads_fast() -> None:
    features = [feature for view in serving_service().feature_view_projections for feature in view.features]
    assert {feature.name for feature in features if feature.dtype != Float64} == {"league"}


@pytest.mark.parametrize("market", list(MARKETS))
@pytest.mark.parametrize("variant", ["fundamentals", "market_residual", "training"])
def test_no_model_reads_a_best_price_or_a_suspension(market: str, variant: str) -> None:
    value = {name for spec in MARKETS.values() for name in (*spec.best_price_columns, spec.suspended_column)}
    assert value <= set(market_columns())
    assert value.isdisjoint(feature_names(feature_service(market, variant)))


@pytest.mark.parametrize("market", list(MARKETS))
def test_a_variant_reads_only_what_it_may(market: str) -> None:
    spec = MARKETS[market]
    fundamentals = feature_names(feature_service(market, "fundamentals"))
    residual = feature_names(feature_service(market, "market_residual"))
    training = feature_names(feature_service(market, "training"))
    assert not [name for name in fundamentals if name.startswith("market_")]
    assert {"last_input_at", "match_id", "event_timestamp"}.isdisjoint(residual)
    assert set(residual) - set(fundamentals) == set(spec.market_columns)
    assert set(training) - set(residual) == {*spec.price_columns, "last_input_at"}


def test_no_closing_price_is_a_feature() -> None:
    assert not [name for name in {**strength_columns(), **market_columns()} if "close" in name]


def test_a_process_has_one_store_for_a_database(store: FeatureStore, database: str) -> None:
    found: list[FeatureStore] = []
    threads = [threading.Thread(target=lambda: found.append(feature_store(database))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one is store for one in found] == [True] * 4


def test_any_password_reaches_the_server(database: str) -> None:
    password = "p@ss:/?#%\\\"$HOME${x}'é'"
    with connect(database, autocommit=True) as connection:
        connection.execute("CREATE ROLE odd LOGIN PASSWORD {}".format("'" + password.replace("'", "''") + "'"))
        connection.execute("GRANT betting TO odd")
    url = database.replace(database.split("://")[1].split("@")[0], f"odd:{quote(password, safe='')}")
    try:
        store = feature_store(url)
        apply_definitions(store)
        write(url, ["a"], [FRIDAY])
        materialize_upcoming(store, FRIDAY, FRIDAY)
        assert len(online_features(store, "1x2", ["a"])) == 1
    finally:
        forget()
        with connect(database, autocommit=True) as connection:
            connection.execute("REASSIGN OWNED BY odd TO betting")
            connection.execute("DROP OWNED BY odd")
            connection.execute("DROP ROLE odd")


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://u:p@127.0.0.1/d", "disable"),
        ("postgresql://u:p@localhost/d", "disable"),
        ("postgresql://u:p@[::1]:5433/d", "disable"),
        ("postgresql://u:p@db.example/d", "prefer"),
        ("postgresql://u:p@db.example/d?sslmode=verify-full", "verify-full"),
        ("postgresql://u:p@127.0.0.1/d?sslmode=require", "require"),
    ],
)
def test_encryption_is_off_only_on_loopback_or_when_asked(url: str, mode: str) -> None:
    variables = environment(url)
    assert variables["FEAST_SSLMODE"] == mode
    assert f"sslmode={mode}" in variables["FEAST_REGISTRY_URL"]


def test_a_url_without_a_user_is_refused_without_telling_the_password() -> None:
    with pytest.raises(ValueError, match="needs host, user and database") as refusal:
        environment("postgresql://:secret@/d")
    assert "secret" not in str(refusal.value)
