"""What the board holds: the newest of every market whatever the order of arrival, told in changes, and bounded."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.match_odds.board import snapshot as module
from bentos.match_odds.board.contract import BoardData, BoardMarket, BoardMatch, Serving, Status
from bentos.match_odds.board.rendering import Rendering
from bentos.match_odds.board.snapshot import LINGERS, MOST_POINTS, UNKNOWN_LINGERS, Landed, Snapshot, is_over

NOON = dt.datetime(2026, 3, 7, 12, tzinfo=dt.UTC)
LIVE = Status(state="live")
SERVING = Serving(bento="match_odds:x", deployment=None, models={"1x2": "3"})


def said(
    match_id: str, offset: int, market: str = "1x2", probability: float = 0.5, at: dt.datetime = NOON, epoch: int = 1
) -> Landed:
    """What is published for one tick; of one tick it is always the same but for `scored_at`."""
    message = BoardMarket(
        match_id=match_id,
        market=market,
        line=0.0,
        selections=("home", "draw", "away"),
        probabilities=(),
        market_probabilities=(probability, 0.3, 0.2),
        best_prices=(),
        best_bookmakers=(),
        edges=(),
        withheld=None,
        withheld_detail=None,
        excluded=(),
        variant=None,
        model_version=None,
        bento=None,
        taken_at=at + dt.timedelta(seconds=offset),
        scored_at=at + dt.timedelta(seconds=offset),
    )
    return Landed(epoch, 0, offset, message)


ids, markets = st.sampled_from(["a", "b", "c"]), st.sampled_from(["1x2", "over_under"])
publications = st.lists(
    st.builds(said, ids, st.integers(0, 30), markets, st.sampled_from([0.4, 0.5, 0.6])), max_size=40
)


@settings(deadline=None)
@given(publications, st.randoms())
def test_neither_repetition_nor_order_of_arrival_moves_a_market_back(published: list[Landed], chance: Any) -> None:
    one_for_each_tick = list({(one.key, one.offset): one for one in published}.values())
    arrivals = one_for_each_tick * 2
    chance.shuffle(arrivals)
    board = Snapshot()
    for one in arrivals:
        board.take([one])
    newest = {key: max(o.offset for o in published if o.key == key) for key in {one.key for one in published}}
    shown = {(m.match_id, m.market): (m.taken_at - NOON).total_seconds() for m in board.changes().markets}
    assert shown == newest


def test_a_new_log_of_ticks_follows_the_old_one_though_its_offsets_begin_again() -> None:
    board = Snapshot()
    board.take([said("a", 500), said("a", 3, probability=0.4, epoch=2), said("a", 501)])
    assert board.changes().markets[0].market_probabilities[0] == 0.4


class Follower:
    """A page: it hears the whole once, then changes."""

    def __init__(self) -> None:
        self.matches: dict[str, Any] = {}
        self.markets: dict[tuple[str, str], Any] = {}

    def hear(self, message: bytes) -> None:
        told = json.loads(message)
        BoardData.model_validate_json(message)
        self.matches |= {match["match_id"]: match for match in told["matches"]}
        for market in told["markets"]:
            key = market["match_id"], market["market"]
            history = market.get("history", self.markets.get(key, {}).get("history"))
            point = [dt.datetime.fromisoformat(market["taken_at"]).timestamp(), market["market_probabilities"][0]]
            if "history" not in market and history[-1][1] != point[1]:
                history = [*history, point][-MOST_POINTS:]
            self.markets[key] = market | {"history": history}
        for match_id in told["gone"]:
            del self.matches[match_id]
            self.markets = {key: market for key, market in self.markets.items() if key[0] != match_id}


steps = st.lists(
    st.one_of(
        publications.map(lambda found: found[:5]),
        st.builds(
            BoardMatch, match_id=ids, home=st.sampled_from(["H", "<b>"]), away=st.just("A"), kickoff=st.just(NOON)
        ),
        st.just(NOON + LINGERS * 2),
    ),
    max_size=15,
)


@settings(deadline=None)
@given(steps)
def test_who_follows_the_changes_sees_what_who_comes_later_is_told(steps: Iterable[Any]) -> None:
    board = Snapshot()
    rendering, follower = Rendering(board, replayed=False), Follower()
    for step in steps:
        if isinstance(step, list):
            board.take(step)
        elif isinstance(step, BoardMatch):
            if step.match_id in board.match_ids:
                board.describe([step])
        else:
            board.prune(step)
        rendered = rendering.render(board.changes(), LIVE, SERVING)
        change = rendered.told_change()
        assert change is not None
        follower.hear(change)
        late = Follower()
        late.hear(rendered.told_whole())
        assert (late.matches, late.markets) == (follower.matches, follower.markets)


def test_nothing_is_told_twice() -> None:
    board = Snapshot()
    board.take([said("a", 1)])
    assert board.changes()
    board.take([said("a", 1)])
    board.describe([BoardMatch(match_id="a")])
    assert not board.changes()


@pytest.mark.parametrize(
    ("match", "last"),
    [
        (BoardMatch(match_id="a", kickoff=NOON), NOON + LINGERS),
        (BoardMatch(match_id="a", match_date=NOON.date()), dt.datetime(2026, 3, 8, tzinfo=dt.UTC) + LINGERS),
        (BoardMatch(match_id="a"), NOON + UNKNOWN_LINGERS),
    ],
)
def test_a_match_is_shown_until_it_must_be_over(match: BoardMatch, last: dt.datetime) -> None:
    assert not is_over(match, NOON, last)
    assert is_over(match, NOON, last + dt.timedelta(seconds=1))


def test_of_too_many_matches_those_scored_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MATCHES", 3)
    board = Snapshot()
    board.take(said(f"m{i}", i) for i in (5, 1, 4, 2, 3))
    board.changes()
    board.prune(NOON)
    assert sorted(board.match_ids) == ["m3", "m4", "m5"]
    assert sorted(board.changes().gone) == ["m1", "m2"]


def test_a_movement_keeps_its_newest_points_and_only_what_moved() -> None:
    board = Snapshot()
    for i in range(400):
        board.take([said("a", i, probability=0.2 + (i // 2) / 1000)])
        board.changes()
    history = board.history(("a", "1x2"))
    assert len(history) == MOST_POINTS
    assert history[-1] == ((NOON + dt.timedelta(seconds=398)).timestamp(), 0.2 + 199 / 1000)
    assert all(one[1] != following[1] for one, following in itertools.pairwise(history))
