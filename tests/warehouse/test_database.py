"""URLs and databases: each library gets the URL that it understands, and errors never show a password."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import URL, make_url, text

from betting_assets.settings import Settings
from betting_assets.warehouse.database import (
    DatabaseError,
    adbc,
    connect,
    create_databases,
    engine,
    plain,
    resolve_url,
    with_database,
    with_driver,
    without_password,
)

pytestmark = pytest.mark.services


@given(password=st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1))
def test_the_helpers_change_what_they_name_and_nothing_else(password: str) -> None:
    url = URL.create("postgresql", "me", password, "host", 5433, "db", {"sslmode": "require"})
    rendered = url.render_as_string(hide_password=False)
    assert make_url(with_database(rendered, "other")) == url.set(database="other")
    assert make_url(with_driver(rendered, "psycopg2")) == url.set(drivername="postgresql+psycopg2")
    assert make_url(plain(with_driver(rendered, "psycopg2"))) == url
    assert make_url(without_password(rendered)).password == "***"


@pytest.mark.parametrize("password", ["a b+c", "p@ss:w/o?r#d%41", "é"])
def test_a_password_of_any_kind_reaches_the_server_by_every_road(database: str, password: str) -> None:
    with connect(database, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS odd")
        conn.execute(f"CREATE ROLE odd LOGIN PASSWORD '{password}'")
    url = make_url(database).set(username="odd", password=password).render_as_string(hide_password=False)
    with connect(url) as conn:
        assert conn.execute("SELECT current_user").fetchone() == ("odd",)
    with adbc(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text")
        assert cursor.fetchone() == ("odd",)
    with engine(url).connect() as sql:
        assert sql.execute(text("SELECT current_user")).scalar() == "odd"


def test_every_road_speaks_utc(database: str) -> None:
    with connect(database, autocommit=True) as conn:
        conn.execute("ALTER ROLE betting IN DATABASE " + str(conn.info.dbname) + " SET timezone = 'Asia/Tokyo'")
    with connect(database) as conn:
        assert conn.execute("SHOW timezone").fetchone() == ("UTC",)
    with adbc(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('timezone')")
        assert cursor.fetchone() == ("UTC",)
    with engine(database).connect() as sql:
        assert sql.execute(text("SHOW timezone")).scalar() == "UTC"


def test_an_adbc_block_that_fails_is_rolled_back(database: str) -> None:
    def interrupted() -> None:
        with adbc(database) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE gone (a int)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with connect(database) as conn:
        assert conn.execute("SELECT to_regclass('gone')").fetchone() == (None,)


def test_the_side_databases_are_made_once_by_whoever_comes(postgres_url: str) -> None:
    names = ("side_one", "side_two")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: create_databases(postgres_url, names), range(4)))
    with connect(with_database(postgres_url, "side_two")) as conn:
        assert conn.execute("SELECT current_database()").fetchone() == ("side_two",)


def test_a_role_that_may_not_create_databases_is_told_what_to_do(postgres_url: str) -> None:
    with connect(postgres_url, autocommit=True) as conn:
        conn.execute("CREATE ROLE small LOGIN PASSWORD 'x'")
    url = make_url(postgres_url).set(username="small", password="x").render_as_string(hide_password=False)
    with pytest.raises(DatabaseError, match="role small may not create database never: create it, or ALTER ROLE"):
        create_databases(url, ("never",))


def test_an_unreachable_server_is_one_line_without_the_password() -> None:
    with pytest.raises(DatabaseError, match="check BETTING_DATABASE_URL") as error:
        connect("postgresql://me:hidden@127.0.0.1:1/db")
    assert "hidden" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_url_in_the_settings_wins_over_the_embedded_server(postgres_url: str) -> None:
    outside = Settings(database_url=SecretStr(with_driver(postgres_url, "psycopg2")))
    assert resolve_url(outside) == postgres_url
