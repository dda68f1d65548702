"""Every real recording, through the broker into PostgreSQL, held against a second reading of the file written here.

The second reading shares no code with the readers: plain json, csv and dicts.
"""

from __future__ import annotations

import bz2
import csv
import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from feed_topics import results, ticks
from landings import dead, dealt_with, land, landed, query

from betting_assets.settings import Settings
from betting_assets.sources.betfair.ladder import Ladder
from betting_assets.streaming.feeds.files import FeedFile, events, find
from betting_assets.streaming.feeds.publisher import publish
from betting_assets.streaming.messages import OddsTick

pytestmark = [pytest.mark.real_data, pytest.mark.services]

FOOTBALL = "miksyr/1.159963367.bz2"
LADDERED = ("betfair_parser/1.185781277.bz2", "betfair_parser/1.205822330.bz2", "flumine/1.197931750",
            "flumine/1.197931751")  # fmt: skip
RACING = (*LADDERED, "flumine/BASIC-1.132153978")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The private test input; a test that needs it is skipped, visibly, where it is absent."""
    root = Path(os.environ.get("BETTING_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (root / "B_betfair").is_dir():
        pytest.skip("no real data: set BETTING_TEST_DATA to its folder")
    return root


def replayed(settings: Settings, *paths: Path, league: str = "") -> tuple[dict[str, FeedFile], list[OddsTick]]:
    """Through the broker and the lander; counts of files, of acknowledgements, of topic and tables agree.

    Returns the ticks of the topic, which are held against the second reading; the landed ones are the same.
    """
    files = find(paths)
    published = publish(settings, events(files, league))
    told = ticks(settings)
    assert published.by_topic["odds.ticks.v1"] == len(told) == sum(file.account.ticks for file in files)
    assert published.by_topic["match.results.v1"] == sum(file.account.results for file in files)
    land(settings, dealt_with(settings, sum(published.by_topic.values())))
    assert landed_ticks(settings) == Counter(map(as_landed, told))
    assert len(landed(settings, "stream.match_result")) == published.by_topic["match.results.v1"]
    assert not dead(settings)
    return {file.account.file: file for file in files}, told


def as_landed(tick: OddsTick) -> tuple[Any, ...]:
    """A tick as its row; text, for a missing price is NaN there, which is not itself."""
    lay = None if tick.lay is None else nan_for_none(tick.lay)
    how = (str(nan_for_none(tick.prices)), str(lay), tick.trading.value, tick.in_play)
    told = None if tick.fixture is None else (tick.fixture.home, tick.fixture.away)
    return (tick.match_id, tick.bookmaker, tick.market.value, tick.line, *how, tick.taken_at, tick.sequence, told)


def nan_for_none(prices: tuple[float | None, ...]) -> list[float]:
    return [float("nan") if price is None else price for price in prices]


def landed_ticks(settings: Settings) -> Counter[tuple[Any, ...]]:
    rows = query(
        settings,
        """SELECT match_id, bookmaker, market, line, prices, lay, trading, in_play, taken_at, sequence, fixture
           FROM stream.odds_tick""",
    )
    return Counter(
        (*names, str(prices), str(lay), *how, None if fixture is None else (fixture["home"], fixture["away"]))
        for *names, prices, lay, trading, in_play, taken_at, sequence, fixture in rows
        for how in [(trading, in_play, taken_at, sequence)]
    )


def messages(path: Path) -> list[dict[str, Any]]:
    content = bz2.decompress(path.read_bytes()) if path.suffix == ".bz2" else path.read_bytes()
    return [json.loads(line) for line in content.splitlines()]


def changes(path: Path) -> int:
    return sum(len(message["mc"]) for message in messages(path))


def test_the_football_recording_gives_a_tick_for_every_change_of_a_price_or_of_the_status(
    recordings: Path, stream_settings: Settings
) -> None:
    path = recordings / "B_betfair" / FOOTBALL
    _, told = replayed(stream_settings, path)
    runners: dict[str, int] = {}
    prices: dict[int, float] = {}
    status, wanted = ("", False), []
    kick_off, shown = "", ""
    for message in messages(path):
        for change in message["mc"]:
            if described := change.get("marketDefinition"):
                status, kick_off = (described["status"], described["inPlay"]), described["marketTime"]
                runners = {"home": described["runners"][0]["id"], "away": described["runners"][1]["id"], "draw": 58805}
            prices |= {one["id"]: one["ltp"] for one in change.get("rc", [])}
        book = tuple(prices.get(runners[side]) for side in ("home", "draw", "away"))
        book = (None, None, None) if status[0] == "CLOSED" else book
        news = (book, status[0].lower(), status[1])
        if (wanted and (news != wanted[-1][1:] or kick_off != shown)) or (not wanted and any(book)):
            wanted.append((message["pt"], *news))
            shown = kick_off
    assert [(round(t.taken_at.timestamp() * 1000), t.prices, t.trading, t.in_play) for t in told] == wanted
    assert {t.bookmaker for t in told} == {"betfair-last-traded"}
    assert len({t.match_id for t in told}) == 1
    assert sum(t.fixture is not None for t in told) >= 1


def test_racing_is_counted_and_gives_no_tick(recordings: Path, stream_settings: Settings) -> None:
    folder = recordings / "B_betfair"
    files, _ = replayed(stream_settings, folder)
    for name in RACING:
        assert files[name].account.skipped == {"unsupported_market_type": changes(folder / name)}
    sample = "betfair_parser/mcm_samples.ndjson"
    assert files[sample].account.skipped == {"without_definition": changes(folder / sample)}
    used = files[FOOTBALL].account
    assert used.ticks + used.skipped["best_prices_unchanged"] == changes(folder / FOOTBALL)


def as_football(path: Path, to: Path) -> list[int]:
    """The recording with its real prices as a market of football, so that ladders go all the way; three runners."""
    said = messages(path)
    runners = next(c["marketDefinition"]["runners"] for m in said for c in m["mc"] if "marketDefinition" in c)
    volumes = Counter(r["id"] for m in said for c in m["mc"] for r in c.get("rc", []) if {"atb", "batb"} & set(r))
    there = {runner["id"] for runner in runners}
    chosen = [one for one, _ in volumes.most_common() if one in there][:3]
    names = dict(zip(chosen, ("Alder", "Bracken", "The Draw"), strict=True))
    for message in said:
        for change in message["mc"]:
            if described := change.get("marketDefinition"):
                kept = [r | {"name": names[r["id"]]} for r in described["runners"] if r["id"] in names]
                football = {"marketType": "MATCH_ODDS", "eventTypeId": "1", "eventName": "Alder v Bracken"}
                change["marketDefinition"] = described | football | {"runners": kept}
    to.write_text("".join(json.dumps(message, separators=(",", ":")) + "\n" for message in said))
    home, away, draw = chosen
    return [home, draw, away]


def best(depth: dict[float, float], *, back: bool) -> float | None:
    total, price = 0.0, None
    for price in sorted(depth, reverse=back):
        total += depth[price]
        if round(total, 6) >= 1:
            return price
    return price


@pytest.mark.parametrize("name", LADDERED)
def test_best_prices_of_real_ladders_are_those_of_a_plain_book_at_every_message(
    recordings: Path, stream_settings: Settings, tmp_path: Path, name: str
) -> None:
    """All these recordings hold the full depth, so the plain book needs no levels."""
    path = tmp_path / "recording"
    runners = as_football(recordings / "B_betfair" / name, path)
    _, told = replayed(stream_settings, path)
    depth: dict[tuple[int, str], dict[float, float]] = defaultdict(dict)
    by_moment: dict[int, tuple[Any, ...]] = {}
    status, removed = "", set[int]()
    for message in messages(path):
        for change in message["mc"]:
            if change.get("img"):
                depth.clear()
            if described := change.get("marketDefinition"):
                status = described["status"]
                removed = {r["id"] for r in described["runners"] if r["status"].startswith("REMOVED")}
            for runner in change.get("rc", []):
                for side in ("atb", "atl"):
                    for price, size in runner.get(side, []):
                        depth[runner["id"], side].update({price: size})
                        if size == 0:
                            del depth[runner["id"], side][price]
        back, lay = (
            tuple(None if one in removed else best(depth[one, side], back=side == "atb") for one in runners)
            for side in ("atb", "atl")
        )
        if status == "CLOSED":
            back = lay = (None, None, None)
        by_moment[message["pt"]] = (back, lay)
    assert len(told) > 100
    said = {round(tick.taken_at.timestamp() * 1000): (tick.prices, tick.lay) for tick in told}
    current = None
    for moment, books in by_moment.items():
        current = said.get(moment, current)
        if current is not None or any(books[0]):
            assert current == books, f"at {moment}"


def test_the_rebuilt_book_shows_what_betfair_shows(recordings: Path) -> None:
    """One recording holds the full depth and Betfair's own best levels, at every moment."""
    ladders: dict[int, Ladder] = defaultdict(Ladder)
    shown: dict[tuple[int, str], dict[int, float]] = defaultdict(dict)
    compared = 0
    for message in messages(recordings / "B_betfair" / LADDERED[0]):
        for change in message["mc"]:
            if change.get("img"):
                ladders.clear()
                shown.clear()
            for runner in change.get("rc", []):
                ladders[runner["id"]].apply({side: runner[side] for side in ("atb", "atl") if side in runner})
                for side in ("batb", "batl"):
                    for level, price, size in runner.get(side, []):
                        shown[runner["id"], side][level] = price if size else 0
        for (one, side), levels in shown.items():
            ladder = ladders[one]
            ours = ladder.best_to_back() if side == "batb" else ladder.best_to_lay()
            assert (ours or 0) == levels.get(0, 0)
            compared += 1
    assert compared > 100_000


_BACK_AND_LAY = {"h2h": "back", "h2h_lay": "lay"}


def books_of(rows: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    """(market, line, prices, lay, kick-off, last update) of every book, from rows of one snapshot."""
    found: dict[tuple[str, ...], dict[str, Any]] = defaultdict(lambda: {"back": {}, "lay": {}, "at": ""})
    for row in rows:
        point = float(row["point"] or 0) if row["point"] is not None else 0.0
        if row["market"] == "totals" and point != 2.5:
            continue
        kind = "h2h" if row["market"].startswith("h2h") else row["market"]
        line = 0.0 if kind == "h2h" else -point if kind == "spreads" and row["name"] == row["away"] else point
        book = found[row["event"], row["book"], kind, str(line + 0.0)]
        book[_BACK_AND_LAY.get(row["market"], "back")][row["name"]] = float(row["price"])
        book["at"] = max(book["at"], row["at"])
        book |= {"home": row["home"], "away": row["away"], "starts": row["starts"]}
    order = {"h2h": ("home", "draw", "away"), "totals": ("over", "under"), "spreads": ("home", "away")}
    told: Counter[tuple[Any, ...]] = Counter()
    for (_, _, kind, line_text), book in found.items():
        names = {"home": book["home"], "away": book["away"], "draw": "Draw", "over": "Over", "under": "Under"}
        back, lay = (tuple(book[side].get(names[one]) for one in order[kind]) for side in ("back", "lay"))
        told[kind, float(line_text), back, lay if book["lay"] else None, book["starts"], book["at"]] += 1
    return told


def told_books(told: list[OddsTick]) -> Counter[tuple[Any, ...]]:
    kickoffs = {tick.match_id: tick.fixture.kickoff for tick in told if tick.fixture}
    kinds = {"1x2": "h2h", "over_under": "totals", "asian_handicap": "spreads"}
    return Counter(
        (kinds[tick.market], tick.line, tick.prices, tick.lay, f"{kickoffs[tick.match_id]:%Y-%m-%dT%H:%M:%SZ}",
         f"{tick.taken_at:%Y-%m-%dT%H:%M:%SZ}")
        for tick in told
    )  # fmt: skip


def rows_of_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return [
            {
                "event": row.get("event_id") or row["game_id"],
                "book": row.get("bookmaker_key") or row["bookmaker"],
                "market": row["market"],
                "name": row.get("outcome_name") or row["name"],
                "price": row["price"],
                "point": row["point"],
                "home": row["home_team"],
                "away": row["away_team"],
                "starts": row["commence_time"],
                "at": row["last_update"],
            }
            for row in csv.DictReader(file)
        ]


def rows_of_json(path: Path) -> list[dict[str, Any]]:
    return [
        {
            "event": event["id"],
            "book": book["key"],
            "market": market["key"],
            "name": outcome["name"],
            "price": outcome["price"],
            "point": outcome.get("point"),
            "home": event["home_team"],
            "away": event["away_team"],
            "starts": event["commence_time"],
            "at": market["last_update"],
        }
        for event in json.loads(path.read_text())
        for book in event["bookmakers"]
        for market in book["markets"]
        for outcome in market["outcomes"]
    ]


def test_every_odds_api_file_gives_the_books_of_a_plain_reading(recordings: Path, stream_settings: Settings) -> None:
    folder = recordings / "C_oddsapi"
    files, told = replayed(stream_settings, folder, league="E0")
    wanted: Counter[tuple[Any, ...]] = Counter()
    for name, file in files.items():
        books: Counter[tuple[Any, ...]] = Counter()
        if name.endswith(".json"):
            books = books_of(rows_of_json(folder / name))
        elif "odds" in Path(name).name:
            books = books_of(rows_of_csv(folder / name))
        assert file.account.ticks == books.total(), name
        assert not file.account.rejected
        wanted += books
    assert wanted.total() > 7_000
    assert told_books(told) == wanted
    assert results(stream_settings) == []
    assert files["multi_sport_csv/soccer_epl/scores.csv"].account.skipped == {"not_completed": 20}


def test_the_clubs_have_the_names_of_football_data(recordings: Path) -> None:
    files = find([recordings / "C_oddsapi"])
    fixtures = [event.record.fixture for event in events(files, "E0") if event.record.fixture]
    known: set[str] = set()
    for path in (recordings / "A_football" / "mmz4281").glob("*/E[0-2].csv"):
        with path.open(encoding="cp1252", newline="") as file:
            known |= {row["HomeTeam"] for row in csv.DictReader(file) if row.get("HomeTeam")}
    assert {one.home for one in fixtures} | {one.away for one in fixtures} <= known
