"""An invented offline store: four views of different keys and sources, seen by Feast's own store and by ours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, PushSource, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Float64, Int64, String
from psycopg import sql
from sqlalchemy import make_url

from betting_assets.warehouse.database import connect
from feature_repo.operations import apply_definitions  # noqa: F401  imports Feast the fast way

OURS = "feature_repo.offline_store.PointInTimePostgresOfflineStore"
STOCK = "postgres"
NOON = pd.Timestamp("2021-03-05 12:00", tz="UTC")
HOUR = pd.Timedelta(hours=1)
TTL = dt.timedelta(hours=3)

TABLES = """
CREATE SCHEMA features;
CREATE TABLE features.price (match_id text, event_timestamp timestamptz, created timestamptz,
    home double precision, book text, open boolean, bets bigint, updated_at timestamptz NOT NULL DEFAULT now(),
    pushed_at timestamptz);
CREATE UNIQUE INDEX ON features.price (match_id, event_timestamp, created);
CREATE TABLE features.form (team integer, "At" timestamptz, "Goals" double precision);
CREATE TABLE features.standing (league text, round text, event_timestamp timestamptz, points bigint,
    PRIMARY KEY (round, league, event_timestamp));
CREATE TABLE features.weather (event_timestamp timestamptz, rain double precision);
"""


def definitions() -> list[Any]:
    """Entities and views; `form` has other names in its table and no index, `standing` a composite key."""
    match = Entity(name="match", join_keys=["match_id"], value_type=ValueType.STRING)
    team = Entity(name="team", join_keys=["team_id"], value_type=ValueType.INT64)
    league = Entity(name="league", join_keys=["league"], value_type=ValueType.STRING)
    round_ = Entity(name="round", join_keys=["round"], value_type=ValueType.STRING)
    price_table = PostgreSQLSource(
        name="price_table",
        table="features.price",
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    price = FeatureView(
        name="price",
        entities=[match],
        ttl=TTL,
        schema=[
            Field(name="match_id", dtype=String),
            Field(name="home", dtype=Float64),
            Field(name="book", dtype=String),
            Field(name="open", dtype=Bool),
            Field(name="bets", dtype=Int64),
        ],
        source=PushSource(name="price_push", batch_source=price_table),
    )
    form = FeatureView(
        name="form",
        entities=[team],
        ttl=dt.timedelta(0),
        schema=[Field(name="team_id", dtype=Int64), Field(name="goals", dtype=Float64)],
        source=PostgreSQLSource(
            name="form_table",
            table="features.form",
            timestamp_field="At",
            field_mapping={"team": "team_id", "Goals": "goals"},
        ),
    )
    standing = FeatureView(
        name="standing",
        entities=[league, round_],
        ttl=TTL,
        schema=[
            Field(name="league", dtype=String),
            Field(name="round", dtype=String),
            Field(name="points", dtype=Int64),
        ],
        source=PostgreSQLSource(name="standing_table", table="features.standing", timestamp_field="event_timestamp"),
    )
    weather = FeatureView(
        name="weather",
        entities=[],
        ttl=TTL,
        schema=[Field(name="rain", dtype=Float64)],
        source=PostgreSQLSource(
            name="weather_query",
            query="SELECT event_timestamp, max(rain) AS rain FROM features.weather GROUP BY 1",
            timestamp_field="event_timestamp",
        ),
    )
    kinds = FeatureView(
        name="kinds",
        entities=[match],
        ttl=TTL,
        schema=[
            Field(name="match_id", dtype=String),
            Field(name="exact", dtype=Float64),
            Field(name="prices", dtype=Array(Float64)),
            Field(name="exacts", dtype=Array(Float64)),
            Field(name="note", dtype=String),
            Field(name="ticket", dtype=String),
        ],
        source=PostgreSQLSource(
            name="kinds_query",
            query="""SELECT 'a' AS match_id, timestamptz '2021-03-05 12:00+00' AS event_timestamp,
                1.25::numeric AS exact, '{1.5,NULL}'::float8[] AS prices, '{2.5,NULL}'::numeric[] AS exacts,
                '{"a": 1}'::jsonb AS note, '00000000-0000-0000-0000-000000000001'::uuid AS ticket""",
            timestamp_field="event_timestamp",
        ),
    )

    @on_demand_feature_view(sources=[price], schema=[Field(name="twice_home", dtype=Float64)])
    def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"twice_home": inputs["home"] * 2})

    return [match, team, league, round_, price, form, standing, weather, kinds, doubled]


def open_store(url: str, folder: Path, kind: str, **options: Any) -> FeatureStore:
    """A FeatureStore on the registry in `folder` whose offline store is of `kind`; the online one is SQLite."""
    where = make_url(url)
    offline = {
        "type": kind,
        "host": where.host,
        "port": where.port,
        "database": where.database,
        "db_schema": "features",
        "user": where.username,
        "password": where.password,
        "sslmode": "disable",
    }
    config = RepoConfig(
        project="invented",
        provider="local",
        entity_key_serialization_version=3,
        registry=str(folder / "registry.db"),
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        offline_store=offline | options,
    )
    config.repo_path = folder
    return FeatureStore(config=config)


def insert(url: str, table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows into features.<table>."""
    with connect(url) as connection, connection.cursor() as cursor:
        for row in rows:
            cursor.execute(
                sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    sql.Identifier("features", table),
                    sql.SQL(", ").join(map(sql.Identifier, row)),
                    sql.SQL(", ").join(sql.Placeholder() * len(row)),
                ),
                list(row.values()),
            )


def clear(url: str) -> None:
    with connect(url) as connection:
        connection.execute("TRUNCATE features.price, features.form, features.standing, features.weather")
