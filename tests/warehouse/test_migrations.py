"""The schema: migrations lead exactly to what tables.py declares, however often and by however many they are run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from betting_assets.warehouse.database import connect, engine, with_database
from betting_assets.warehouse.migrate import alembic_config, migrate
from betting_assets.warehouse.tables import SCHEMAS, metadata

CATALOGUE = """
SELECT c.oid::regclass::text, 'table', relkind::text, obj_description(c.oid, 'pg_class')
  FROM pg_class c WHERE relnamespace::regnamespace::text = ANY(%(schemas)s) AND relkind IN ('r', 'i')
UNION ALL
SELECT attrelid::regclass::text, attname, format('%%s %%s %%s %%s', format_type(atttypid, atttypmod), attnotnull,
       attidentity, pg_get_expr(adbin, adrelid)), col_description(attrelid, attnum)
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
 WHERE relnamespace::regnamespace::text = ANY(%(schemas)s) AND relkind = 'r' AND attnum > 0
UNION ALL
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL
  FROM pg_constraint WHERE connamespace::regnamespace::text = ANY(%(schemas)s)
UNION ALL
SELECT tablename, indexname, indexdef, NULL FROM pg_indexes WHERE schemaname = ANY(%(schemas)s)
ORDER BY 1, 2, 3
"""


@pytest.fixture
def empty(postgres_url: str) -> str:
    """URL of a database without any schema."""
    with connect(postgres_url, autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS empty WITH (FORCE)")
        conn.execute("CREATE DATABASE empty")
    return with_database(postgres_url, "empty")


def catalogue(url: str) -> list[tuple[object, ...]]:
    with connect(url) as conn:
        return conn.execute(CATALOGUE, {"schemas": list(SCHEMAS)}).fetchall()


def test_migrations_and_declared_tables_agree_for_alembic(database: str) -> None:
    with engine(database).connect() as conn:
        context = MigrationContext.configure(
            conn, opts={"include_schemas": True, "compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_migrations_and_declared_tables_agree_to_the_last_comment_and_check(database: str, empty: str) -> None:
    with engine(empty).begin() as conn:
        for schema in SCHEMAS:
            conn.exec_driver_sql(f"CREATE SCHEMA {schema}")
        metadata.create_all(conn)
    declared = catalogue(empty)
    assert len(declared) > 100
    assert catalogue(database) == declared


def test_migrating_twice_changes_nothing(database: str) -> None:
    before = catalogue(database)
    migrate(database)
    assert catalogue(database) == before


def test_processes_that_migrate_at_once_take_turns(empty: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [empty] * 4))
    with connect(empty) as conn:
        assert conn.execute("SELECT count(*) FROM alembic_version").fetchall() == [(1,)]


def test_every_table_and_column_says_what_it_holds() -> None:
    silent = [
        f"{table}.{column.name}" for table in metadata.tables.values() for column in table.columns if not column.comment
    ]
    assert silent == []
    assert [str(table) for table in metadata.tables.values() if not table.comment] == []


def test_a_platform_from_before_pushed_rows_can_take_them_and_loses_the_old_online_tables(database: str) -> None:
    _downgrade(database, "0002")
    with connect(database, autocommit=True) as conn:
        conn.execute("CREATE TABLE features.match_market (match_id text PRIMARY KEY)")
        conn.execute("CREATE SCHEMA feast")
        conn.execute("CREATE TABLE feast.betting_match_market (entity_key bytea, feature_name text)")
    migrate(database)
    with connect(database) as conn:
        conn.execute("INSERT INTO features.match_market (match_id, pushed_at) VALUES ('a', now())")
        assert conn.execute("SELECT to_regclass('feast.betting_match_market')").fetchone() == (None,)


def _downgrade(url: str, revision: str) -> None:
    pool = engine(url)
    with pool.begin() as connection:
        command.downgrade(alembic_config(connection), revision)
    pool.dispose()
