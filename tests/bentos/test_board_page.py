"""The page in a real browser: what is landed is seen as it happens, on any screen, and nothing in it is ever markup."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from board_service import BoardService
from browser import CHROMIUM, Browser
from planted_board import NOW, Log, add_match, plant_match_days

from bentos.match_odds.front.api_keys import ApiKeys, key_line, new_key
from betting_assets.warehouse.database import connect

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install chromium to test the page"),
]
PICTURES = os.environ.get("BETTING_TEST_PICTURES")
"""Folder for new pictures of the page, for docs/images."""


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def service(database: str) -> Iterator[BoardService]:
    with BoardService(database) as running:
        yield running


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture
def page(browser: Browser, service: BoardService, conn: psycopg.Connection) -> Browser:
    """With one match of two markets."""
    add_match(conn, "a", "Alder", "Birch")
    log = Log(conn)
    log.land("a", market_probabilities=[0.5, 0.3, 0.2], probabilities=[0.55, 0.25, 0.2], edges=[0.1, -0.2, 0.0])
    log.land("a", "over_under")
    browser.open(f"{service.url}/board")
    browser.until("document.querySelectorAll('#rows tr').length === 1")
    return browser


def text(browser: Browser, selector: str = "body") -> str:
    return str(browser.value(f"document.querySelector({json.dumps(selector)}).innerText"))


def says(words: str, selector: str = "body") -> str:
    return f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(words)})"


def test_a_match_is_shown_with_market_model_price_edge_age_and_version(page: Browser) -> None:
    row = text(page, "#rows tr")
    for words in (
        "Alder – Birch",
        "SIM1",
        "50.0%",
        "55.0%",
        "3.00",
        "pinnacle",
        "▲ +10.0%",
        "-20.0%",
        "v3",
        "over 2.5",
    ):
        assert words in row
    assert page.value("document.querySelector('#rows time').title").endswith(" UTC")
    width = "[...document.querySelectorAll('#rows li')][0].querySelector('.bar.%s').style.width"
    assert (page.value(width % "market"), page.value(width % "model")) == ("50%", "55%")
    assert text(page, "#connection").endswith("live")
    assert page.complaints == []


def test_a_change_is_seen_at_once_and_highlighted_and_what_was_opened_stays_open(
    page: Browser, conn: psycopg.Connection
) -> None:
    log = Log(conn, partition=1)
    books = [{"bookmaker": "odd", "reason": "stale", "detail": "two hours old"}]
    log.land("a", tick=10, excluded=books, epoch=2, tick_epoch=2)
    page.until(says("1 book left out"))
    page.value("document.querySelector('#rows summary').focus()")
    page.type("\r")
    page.until("document.querySelector('#rows details').open")
    assert "odd: too old (two hours old)" in text(page, "#rows details")
    log.land("a", tick=11, market_probabilities=[0.61, 0.2, 0.19], excluded=books * 2, epoch=2, tick_epoch=2)
    page.until(says("61.0%"))
    page.until(says("2 books left out"))
    assert page.value("document.querySelector('#rows details').open") is True
    assert page.value("document.activeElement === document.querySelector('#rows summary')") is True
    assert "from" in text(page, ".moved")
    assert page.value("document.querySelector('.spark path').getAttribute('d').includes('V')") is True
    page.until("document.querySelectorAll('.changed').length === 0")


def test_what_moved_is_marked_and_without_motion_where_that_is_wished(page: Browser, conn: psycopg.Connection) -> None:
    page.value(
        "window.seen = []; new MutationObserver(() => { for (const one of document.querySelectorAll('.changed')) "
        "seen.push(getComputedStyle(one).animationName); }).observe(document.body, {subtree: true, attributes: true})"
    )
    log = Log(conn, partition=1)
    for tick, motion, name in ((10, "no-preference", "glow"), (11, "reduce", "none")):
        page.prefer(prefers_reduced_motion=motion)
        page.value("seen.length = 0")
        log.land("a", tick=tick, market_probabilities=[0.1 + tick / 100, 0.4, 0.4], epoch=2, tick_epoch=2)
        page.until("seen.length > 0")
        assert set(page.value("seen")) == {name}


def test_a_withheld_prediction_says_why_in_words(page: Browser, conn: psycopg.Connection) -> None:
    log = Log(conn, partition=1)
    nothing: dict[str, Any] = {"best_prices": [], "best_bookmakers": [], "edges": [], "epoch": 2, "tick_epoch": 2}
    log.land("a", withheld="suspended_market", withheld_detail="5 of 5 books", **nothing)
    page.until(says("Suspended: nobody takes bets now (5 of 5 books)"))
    log.land("a", withheld="some_new_reason", probabilities=[], market_probabilities=[], **nothing)
    page.until(says("some new reason"))
    assert "1 withheld" in text(page, "#count")


def test_what_data_says_stays_text(browser: Browser, service: BoardService, conn: psycopg.Connection) -> None:
    evil = "<img src=x onerror=alert(1)><script>window.hit=1</script>"
    add_match(conn, "x", evil, "</td><b>B", league=evil)
    detail = {"bookmaker": evil, "reason": "stale", "detail": evil}
    Log(conn).land(
        "x",
        withheld="<i>why</i>",
        withheld_detail=evil,
        best_bookmakers=[evil] * 3,
        excluded=[detail],
        variant=evil,
        model_version=evil,
    )
    browser.open(f"{service.url}/board")
    browser.until(says(evil, ".teams"))
    assert browser.value("window.hit") is None
    assert browser.value("document.querySelectorAll('main img, main script, main b:not(.up), main td > i').length") == 0
    assert evil in text(browser, "#league")
    assert browser.complaints == []


@pytest.mark.parametrize("width", [320, 390, 480, 800, 1280])
def test_no_screen_scrolls_sideways(browser: Browser, service: BoardService, database: str, width: int) -> None:
    plant_match_days(database, matches=9)
    browser.resize(width, 800)
    browser.open(f"{service.url}/board")
    browser.until("document.querySelectorAll('#rows tr').length === 9")
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.value("document.documentElement.scrollWidth") <= width
    numbers = "[...document.querySelectorAll('#rows .number, #rows .label')]"
    cut = f"{numbers}.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.innerText)"
    assert browser.value(f"{numbers}.length") > 0
    assert browser.value(cut) == []
    is_table = browser.value("getComputedStyle(document.querySelector('#rows tr')).display") == "table-row"
    assert is_table == (width == 1280)
    assert (
        browser.value(
            "document.querySelector('#rows tr').role ?? document.querySelector('#rows tr').getAttribute('role')"
        )
        == "row"
    )


def test_dark_and_light_are_told_apart_and_both_can_be_read(page: Browser) -> None:
    shown = """(() => { const of = (selector, what) => {
        const color = getComputedStyle(document.querySelector(selector))[what];
        const [r, g, b] = color.match(/[\\d.]+/g).map((v) => v / 255);
        const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b); };
        return {ground: of('#matches', 'backgroundColor'), ink: of('.teams', 'color'), quiet: of('.where', 'color'),
                up: of('.edge.up', 'color'), bar: of('.bar.model', 'backgroundColor')}; })()"""
    grounds = []
    for scheme in ("light", "dark"):
        page.prefer(prefers_color_scheme=scheme)
        light = page.value(shown)
        ground = light.pop("ground")
        grounds.append(ground)
        for what, value in light.items():
            high, low = max(value, ground), min(value, ground)
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{what} in {scheme}"
    assert grounds[0] > 0.9
    assert grounds[1] < 0.05


def test_a_key_is_asked_for_kept_in_the_tab_and_never_in_an_address(
    browser: Browser, database: str, conn: psycopg.Connection, tmp_path: Path
) -> None:
    add_match(conn, "a", "Alder", "Birch")
    Log(conn).land("a")
    key, file = new_key(), tmp_path / "keys"
    file.write_text(key_line("desk", key))
    file.chmod(0o600)

    def give(text: str) -> None:
        browser.until("!document.querySelector('#key').hidden")
        browser.until("document.activeElement.id === 'key-field'")
        browser.type(f"{text}\r")

    with BoardService(database, ApiKeys.load(file)) as service:
        browser.open(f"{service.url}/board")
        assert "Alder" not in text(browser)
        give("bk_wrong")
        browser.until(says("That key was refused"))
        give(key)
        browser.until(says("Alder – Birch"))
        browser.open(f"{service.url}/board")
        browser.until(says("Alder – Birch"))
        addresses = browser.value("performance.getEntries().map((one) => one.name).join() + location.href")
        assert key not in addresses
        assert browser.value("localStorage.length + document.cookie.length") == 0
        browser.value("document.querySelector('#forget').click()")
        browser.until("document.querySelector('#key') && !document.querySelector('#key').hidden")
        assert browser.value("sessionStorage.length") == 0


def test_matches_are_found_by_text_and_league_and_ordered_by_kickoff_or_edge(
    browser: Browser, service: BoardService, conn: psycopg.Connection
) -> None:
    log = Log(conn)
    for number, (name, league, edge) in enumerate([("Alder", "L1", 0.01), ("Birch", "L2", 0.3), ("Cedar", "L1", 0.1)]):
        kickoff = NOW.replace(microsecond=0).timestamp() + 3600 * (1 + number)
        add_match(conn, name.lower(), name, "Guest", league=league, kickoff=NOW.fromtimestamp(kickoff, tz=NOW.tzinfo))
        log.land(name.lower(), edges=[edge, -0.1, -0.1])

    def shown() -> str:
        return "".join(browser.value("[...document.querySelectorAll('#rows .teams')].map((one) => one.innerText[0])"))

    def choose(field: str, value: str) -> None:
        browser.value(
            f"{{ const one = document.querySelector('#{field}'); one.value = {json.dumps(value)}; "
            "one.dispatchEvent(new Event('input', {bubbles: true})); }"
        )

    browser.open(f"{service.url}/board")
    browser.until("document.querySelectorAll('#rows tr').length === 3")
    assert shown() == "ABC"
    choose("order", "edge")
    assert shown() == "BCA"
    choose("league", "L1")
    assert shown() == "CA"
    choose("find", "ALD")
    assert shown() == "A"
    choose("find", "nobody")
    assert "No match fits" in text(browser, "#notice")


def test_who_has_no_stream_yet_is_told_how_to_start_one(
    browser: Browser, service: BoardService, conn: psycopg.Connection
) -> None:
    browser.open(f"{service.url}/board")
    browser.until(says("betting stream land"))
    Log(conn).land("unknown-match")
    browser.until(says("unknown-match"))
    assert "betting stream land" not in text(browser)


def test_a_lost_service_is_told_with_the_time_and_found_again(
    browser: Browser, database: str, conn: psycopg.Connection
) -> None:
    add_match(conn, "a", "Alder", "Birch")
    log = Log(conn)
    log.land("a")
    with BoardService(database) as service:
        browser.open(f"{service.url}/board")
        browser.until(says("Alder – Birch"))
        port = service.port
    browser.until("document.querySelector('#connection').dataset.state === 'stale'")
    assert "stale since" in text(browser, "#connection")
    assert "Alder – Birch" in text(browser)
    log.land("a", market_probabilities=[0.77, 0.13, 0.1])
    with BoardService(database, port=port):
        browser.until("document.querySelector('#connection').dataset.state === 'live'")
        browser.until(says("77.0%"))
        assert browser.value("document.querySelectorAll('#rows tr').length") == 1


@pytest.mark.skipif(PICTURES is None, reason="$BETTING_TEST_PICTURES names no folder for new pictures")
def test_the_pictures_of_the_documentation_are_taken(browser: Browser, service: BoardService, database: str) -> None:
    folder = Path(str(PICTURES))
    plant_match_days(database)
    browser.open(f"{service.url}/board")
    browser.until("document.querySelectorAll('#rows tr').length === 30")
    browser.value("document.querySelector('#rows details').open = true")
    browser.picture(folder / "board.png")
    browser.resize(390, 844, 2)
    browser.picture(folder / "board-phone.png")
