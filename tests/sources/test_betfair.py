"""Betfair stream recordings become ticks: the order book is rebuilt, and nothing is left out without a reason."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from betfair_messages import EVENT, MARKET, RUNNERS, START, change, defined, line, offers
from hypothesis import given
from hypothesis import strategies as st

from betting_assets.sources.betfair.definition import Names
from betting_assets.sources.betfair.ladder import Ladder
from betting_assets.sources.betfair.recording import EXCHANGE, LAST_TRADED, collect_names, read_recording
from betting_assets.sources.feed import Account
from betting_assets.sources.records import Market, Tick, Trading

PRICES = [1.01, 1.5, 2.0, 2.02, 3.0, 5.5, 1000.0]


def read(*lines: bytes, names: Names | None = None, **more: str) -> tuple[list[Tick], Account]:
    account, known = Account("test"), names or Names()
    collect_names(lines, known)
    ticks = [event.record for event in read_recording(lines, account, known, **more)]
    assert all(isinstance(tick, Tick) for tick in ticks)
    assert account.ticks == len(ticks)
    return [tick for tick in ticks if isinstance(tick, Tick)], account


entries = st.tuples(st.sampled_from(["atb", "atl"]), st.sampled_from(PRICES), st.sampled_from([0, 0.5, 20]))


def rolled_up(offered: dict[float, float], best_first: list[float]) -> float | None:
    """The first price down to which at least 1 is offered, else the last of all."""
    there = [price for price in best_first if offered.get(price, 0) > 0]
    enough = [n for n in range(len(there)) if sum(offered[price] for price in there[: n + 1]) >= 1]
    return there[enough[0] if enough else -1] if there else None


@given(st.lists(st.lists(entries, max_size=4), max_size=30))
def test_the_best_price_is_the_first_down_to_which_enough_is_offered(
    messages: list[list[tuple[str, float, float]]],
) -> None:
    ladder, model = Ladder(), dict[str, dict[float, float]](atb={}, atl={})
    for message in messages:
        told: dict[str, list[list[float]]] = {}
        for side, price, size in message:
            told.setdefault(side, []).append([price, size])
            model[side][price] = size
        assert ladder.apply(told) == 0
        assert ladder.best_to_back() == rolled_up(model["atb"], PRICES[::-1])
        assert ladder.best_to_lay() == rolled_up(model["atl"], PRICES)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(PRICES), st.sampled_from([0, 3])), max_size=20))
def test_levels_are_replaced_by_place_and_an_empty_size_empties_the_level(
    updates: list[tuple[int, float, float]],
) -> None:
    ladder, model = Ladder(), {}
    for level, price, size in updates:
        ladder.apply({"batb": [[level, price, size]]})
        model[level] = price if size else None
    filled = [model[level] for level in sorted(model) if model[level] is not None]
    assert ladder.best_to_back() == (filled[0] if filled else None)


def test_the_full_depth_counts_before_the_levels_and_these_before_what_is_displayed() -> None:
    ladder = Ladder()
    ladder.apply({"bdatb": [[0, 3.0, 1]]})
    assert ladder.best_to_back() == 3.0
    ladder.apply({"batb": [[0, 2.9, 1]]})
    assert ladder.best_to_back() == 2.9
    ladder.apply({"atb": [[2.8, 1]]})
    assert ladder.best_to_back() == 2.8


def test_prices_follow_home_draw_away_whatever_the_order_of_the_runners() -> None:
    ticks, _ = read(line(defined(), change(offers(2.0, 3.4, 4.0))))
    (tick,) = ticks
    assert tick.prices == (2.0, 3.4, 4.0)
    assert tick.lay == (2.1, 3.5, 4.1)
    assert tick.match_id == "betfair_2023-11-15_alder-rovers_bracken-vale"
    assert (tick.bookmaker, tick.market, tick.trading, tick.in_play) == (EXCHANGE, Market.MATCH_RESULT, "open", False)
    assert tick.taken_at == dt.datetime.fromtimestamp(START / 1000, dt.UTC)
    assert tick.fixture is not None
    assert (tick.fixture.home, tick.fixture.away) == ("Alder Rovers", "Bracken Vale")


def test_the_name_of_the_event_tells_who_is_at_home() -> None:
    swapped = [(20, "Bracken Vale", 1), (10, "Alder Rovers", 2), (58805, "The Draw", 3)]
    ticks, _ = read(line(defined(runners=swapped), change(offers(2.0, 3.4, 4.0))))
    assert ticks[0].prices == (2.0, 3.4, 4.0)


def test_without_the_events_name_the_sort_priority_tells_who_is_at_home() -> None:
    ticks, _ = read(line(defined(eventName=None), change(offers(2.0, 3.4, 4.0))))
    assert ticks[0].match_id.endswith("alder-rovers_bracken-vale")
    assert ticks[0].prices == (2.0, 3.4, 4.0)


def test_an_image_replaces_the_book_and_a_delta_changes_it() -> None:
    ticks, account = read(
        line(defined(), change(offers(2.0, 3.4, 4.0))),
        line(change({10: {"atb": [[2.04, 7]]}}), pt=START + 1),
        line(change({10: {"atb": [[2.04, 0]]}}), pt=START + 2),
        line(change({10: {"atb": [[1.5, 9]]}}), pt=START + 3),
        line(change({10: {"atb": [[1.8, 9]]}, 20: {"atb": [[6.0, 1]]}}, img=True), pt=START + 4),
    )
    assert [tick.prices for tick in ticks] == [(2.0, 3.4, 4.0), (2.04, 3.4, 4.0), (2.0, 3.4, 4.0), (1.8, None, 6.0)]
    assert [tick.sequence for tick in ticks] == [1, 2, 3, 5]
    assert account.skipped == {"best_prices_unchanged": 1}


def test_suspended_in_play_and_closed_are_told() -> None:
    ticks, account = read(
        line(defined(), change(offers(2.0, 3.4, 4.0))),
        line(defined(status="SUSPENDED"), pt=START + 1),
        line(defined(status="OPEN", inPlay=True), pt=START + 2),
        line(defined(status="CLOSED", inPlay=True), pt=START + 3),
        line(defined(status="CLOSED", inPlay=True), pt=START + 4),
    )
    assert [(tick.trading, tick.in_play) for tick in ticks] == [
        (Trading.OPEN, False),
        (Trading.SUSPENDED, False),
        (Trading.OPEN, True),
        (Trading.CLOSED, True),
    ]
    assert ticks[-1].prices == (None, None, None)
    assert account.skipped["settled_without_score"] == 1


def test_an_open_market_in_which_nothing_is_offered_any_more_is_suspended() -> None:
    nothing = {one: {"atb": [[price, 0]]} for one, price in ((10, 2.0), (58805, 3.4), (20, 4.0))}
    ticks, _ = read(line(defined(), change(offers(2.0, 3.4, 4.0))), line(change(nothing), pt=START + 1))
    assert (ticks[-1].trading, ticks[-1].prices) == (Trading.SUSPENDED, (None, None, None))


def test_a_recording_with_traded_prices_only_goes_under_another_name() -> None:
    ticks, _ = read(line(defined()), line(change({10: {"ltp": 2.0}}), pt=START + 1))
    (tick,) = ticks
    assert (tick.bookmaker, tick.prices, tick.lay) == (LAST_TRADED, (2.0, None, None), None)


def test_interleaved_markets_do_not_touch_each_other() -> None:
    goals = {"marketType": "OVER_UNDER_25", "runners": [(1, "Under 2.5 Goals", 1), (2, "Over 2.5 Goals", 2)]}
    ticks, _ = read(
        line(defined(), defined(market="1.24", **goals)),
        line(
            change(offers(2.0, 3.4, 4.0)), change({1: {"atb": [[1.8, 1]]}, 2: {"atb": [[2.2, 1]]}}, market="1.24"),
            pt=START + 1,
        ),
    )  # fmt: skip
    assert [(tick.market, tick.line, tick.prices) for tick in ticks] == [
        (Market.MATCH_RESULT, 0.0, (2.0, 3.4, 4.0)),
        (Market.OVER_UNDER, 2.5, (2.2, 1.8)),
    ]
    assert len({tick.match_id for tick in ticks}) == 1
    assert [tick.fixture is not None for tick in ticks] == [True, False]


def test_every_handicap_is_a_line_of_the_home_team() -> None:
    runners = [
        {"id": one, "hc": hc, "name": name, "sortPriority": place, "status": "ACTIVE"}
        for one, name, place in RUNNERS[:2]
        for hc in (-0.5, 0.0, 0.5)
    ]
    rc = [
        {"id": 10, "hc": -0.5, "atb": [[2.1, 1]]},
        {"id": 20, "hc": 0.5, "atb": [[1.8, 1]]},
        {"id": 10, "hc": 0.0, "atb": [[1.6, 1]]},
        {"id": 20, "hc": 0.0, "atb": [[2.4, 1]]},
    ]
    ticks, _ = read(line(defined(marketType="ASIAN_HANDICAP", runners=runners), {"id": MARKET, "rc": rc}))
    assert [(tick.line, tick.prices) for tick in ticks] == [(-0.5, (2.1, 1.8)), (0.0, (1.6, 2.4))]


def test_names_that_come_late_or_from_a_catalogue_serve_from_the_start() -> None:
    nameless = [(one, "", place) for one, _, place in RUNNERS]
    early = line(defined(runners=nameless, eventName=None), change(offers(2.0, 3.4, 4.0)))
    unnamed, account = read(early)
    assert unnamed == []
    assert account.skipped == {"unnamed_runners": 2}
    late, _ = read(early, line(defined(), pt=START + 1))
    names = Names()
    names.learn_catalogue(
        {
            "marketId": MARKET,
            "event": {"id": EVENT, "name": "Alder Rovers v Bracken Vale"},
            "runners": [{"selectionId": one, "runnerName": name} for one, name, _ in RUNNERS],
        }
    )
    known, _ = read(early, names=names)
    assert late[0] == known[0]
    assert known[0].prices == (2.0, 3.4, 4.0)


def test_a_corrected_start_or_name_keeps_the_match_and_tells_the_new_kick_off() -> None:
    renamed = {"eventName": "Alder Rovers v Bracken Vale Harriers", "marketTime": "2023-11-16T19:00:00.000Z"}
    ticks, _ = read(line(defined(), change(offers(2.0, 3.4, 4.0))), line(defined(**renamed), pt=START + 1))
    assert len({tick.match_id for tick in ticks}) == 1
    assert ticks[1].fixture is not None
    assert ticks[1].fixture.away == "Bracken Vale"
    assert ticks[1].fixture.kickoff == dt.datetime(2023, 11, 16, 19, tzinfo=dt.UTC)


def test_the_league_that_the_user_names_gives_ids_and_names_of_football_data() -> None:
    named = {"eventName": "Man Utd v Wolves", "runners": [(10, "Man Utd", 1), (20, "Wolves", 2), RUNNERS[2]]}
    ticks, _ = read(line(defined(**named), change(offers(2.0, 3.4, 4.0))), league="E0")
    assert ticks[0].match_id == "e0_2023-11-15_man-united_wolves"
    assert ticks[0].fixture is not None
    assert ticks[0].fixture.season == "2324"


def test_of_two_markets_of_one_type_the_first_is_read() -> None:
    ticks, account = read(
        line(defined(), change(offers(2.0, 3.4, 4.0))),
        line(defined(market="1.99"), change(offers(9.0, 9.0, 9.0), market="1.99"), pt=START + 1),
    )
    assert len(ticks) == 1
    assert account.skipped == {"second_market_of_one_type": 2}


def test_a_removed_runner_has_no_price() -> None:
    removed = [{"id": 20, "name": "Bracken Vale", "sortPriority": 2, "status": "REMOVED"}, RUNNERS[0], RUNNERS[2]]
    ticks, account = read(line(defined(), change(offers(2.0, 3.4, 4.0))), line(defined(runners=removed), pt=START + 1))
    assert ticks[-1].prices == (2.0, 3.4, None)
    assert account.skipped["runner_removed"] == 1


def test_a_part_of_an_image_is_told_only_when_it_is_whole() -> None:
    ticks, account = read(
        line(defined(), change({10: {"atb": [[2.0, 1]]}}, segmentType="SEG_START")),
        line(change({20: {"atb": [[4.0, 1]]}}, segmentType="SEG_END")),
    )
    assert [tick.prices for tick in ticks] == [(2.0, None, 4.0)]
    assert account.skipped == {"part_of_an_image": 2}


@pytest.mark.parametrize(
    ("lines", "reasons"),
    [
        ([line(change({10: {"atb": [[2, 1]]}}))], {"without_definition": 1}),
        ([line(defined(marketType=None))], {"without_market_type": 1}),
        ([line(defined(eventTypeId="7", marketType="WIN"))], {"unsupported_market_type": 1}),
        ([line(defined(marketType="CORRECT_SCORE"))], {"unsupported_market_type": 1}),
        ([line(defined(eventTypeId="2"))], {"unsupported_market_type": 1}),
        ([line(defined(marketTime="soon"))], {"no_start_time": 1}),
        ([line(defined(runners=RUNNERS[:2]))], {"unexpected_runners": 1}),
        ([line(defined(status=7))], {"unreadable_definition": 1, "without_definition": 1}),
        ([line(pt=START)], {"heartbeat": 1}),
        ([b'{"op":"connection"}'], {"not_a_market_message": 1}),
        ([b'{"op":"mcm","pt":17000', b"[1]"], {"torn_line": 2}),
        ([line(defined(), pt="now")], {"no_publish_time": 1}),
        ([line(defined(), pt=10**18)], {"no_publish_time": 1}),
        ([line(defined(), change({10: {"atb": [["NaN", 1]], "ltp": "Infinity"}}))],
         {"not_a_number": 2, "best_prices_unchanged": 2}),
        ([line(defined(), {"id": MARKET, "rc": [3]})], {"not_a_runner": 1, "best_prices_unchanged": 2}),
        ([line(defined(), {"id": MARKET, "rc": 3})], {"best_prices_unchanged": 2}),
    ],
)  # fmt: skip
def test_what_gives_no_tick_is_counted_by_reason(lines: list[bytes], reasons: dict[str, int]) -> None:
    ticks, account = read(*lines)
    assert ticks == []
    assert account.skipped == reasons


def test_a_torn_line_is_told_with_its_number_and_the_rest_is_read() -> None:
    whole = line(defined(), change(offers(2.0, 3.4, 4.0)))
    ticks, account = read(whole[:40], b"", whole)
    assert len(ticks) == 1
    assert [(one.line, one.reason) for one in account.rejected] == [(1, "torn_line")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["mc", "pt", "rc", "marketDefinition", "atb", "ltp", "runners", "hc", "id", "segmentType"]),
    json_values,
)
def test_no_content_of_any_field_breaks_the_reader(name: str, value: object) -> None:
    def replaced(document: object) -> object:
        if isinstance(document, dict):
            return {key: value if key == name else replaced(inner) for key, inner in document.items()}
        return [replaced(inner) for inner in document] if isinstance(document, list) else document

    message = json.loads(line(defined(), change(offers(2.0, 3.4, 4.0))))
    broken = json.dumps(replaced(message)).encode()
    whole = line(defined(), change(offers(2.0, 3.4, 4.0)), pt=START + 1)
    read(broken, whole)
