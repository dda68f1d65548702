"""The board of a built Bento: its files are in it, it shows what is landed, and its streams end with the process."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest
from invented_models import VERSIONS, free_port
from planted_board import Log, add_match

from bentos.match_odds.board.contract import BoardData
from bentos.match_odds.board.page import FILES, PATHS
from bentos.match_odds.deploying.runner import RunningBento
from betting_assets.warehouse.database import connect

pytestmark = pytest.mark.services


def test_a_bento_serves_the_page_byte_for_byte(running: RunningBento) -> None:
    for path, (name, kind) in PATHS.items():
        answer = httpx.get(running.url + path)
        assert (answer.status_code, answer.content) == (200, (FILES / name).read_bytes())
        assert answer.headers["content-type"] == kind.decode()
    refused = httpx.get(f"{running.url}/board/data")
    assert (refused.status_code, "database" in refused.json()["error"]) == (503, True)


def test_a_running_bento_shows_what_is_landed_and_ends_its_streams_when_it_stops(
    tag: str, home: Path, store_url: str
) -> None:
    lines: list[str] = []
    began = threading.Event()

    def watch(url: str) -> None:
        with httpx.stream("GET", f"{url}/board/events", timeout=60) as stream:
            for line in stream.iter_lines():
                lines.append(line)
                began.set()
        lines.append("ended")

    with connect(store_url, autocommit=True) as conn:
        add_match(conn, "shown", "Alder", "Birch")
        Log(conn).land("shown")
        try:
            with RunningBento(tag, free_port(), home, store_url) as bento:
                thread = threading.Thread(target=watch, args=(bento.url,))
                thread.start()
                assert began.wait(60)
                told = BoardData.model_validate_json(httpx.get(f"{bento.url}/board/data", timeout=60).content)
                assert [match.home for match in told.matches] == ["Alder"]
                assert (told.serving.bento, told.serving.models) == (bento.tag, VERSIONS)
                bento.stop()
            thread.join(30)
            assert lines[0] == "event: board"
            assert lines[-1] == "ended"
        finally:
            conn.execute("DELETE FROM stream.prediction WHERE match_id = 'shown'")
            conn.execute("DELETE FROM core.match WHERE match_id = 'shown'")
