"""The store behind Feast's own front: push, write, read, services, views on demand, aliases."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, PushSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.types import Array, Bool, Float64, Int64, String
from invented_stores import HOUR, NO_ENTITY, NOON, Opened, item, row, source_of, stock_fails

PRESENT, NOT_FOUND = FieldStatus.PRESENT, FieldStatus.NOT_FOUND
NO_ASYNC_WRITE = "it has no asynchronous write"

prices_pushed = PushSource(name="prices_pushed", batch_source=source_of("prices"))
prices = FeatureView(
    name="prices",
    entities=[item],
    schema=[Field(name="item", dtype=String), Field(name="home", dtype=Float64), Field(name="away", dtype=Float64)],
    source=prices_pushed,
)
form = FeatureView(
    name="form",
    entities=[item],
    schema=[
        Field(name="item", dtype=String),
        Field(name="points", dtype=Int64),
        Field(name="ground", dtype=String),
        Field(name="rested", dtype=Bool),
        Field(name="goals", dtype=Array(Int64)),
    ],
    source=source_of("form"),
)
season = FeatureView(
    name="season", entities=[], schema=[Field(name="matches", dtype=Int64)], source=source_of("season")
)


@on_demand_feature_view(  # type: ignore[untyped-decorator,unused-ignore]
    sources=[prices, RequestSource(name="asked_with", schema=[Field(name="stake", dtype=Float64)])],
    schema=[Field(name="payout", dtype=Float64)],
    mode="python",
)
def payouts(inputs: dict[str, Any]) -> dict[str, Any]:
    pairs = zip(inputs["home"], inputs["stake"], strict=True)
    return {"payout": [None if price is None else price * stake for price, stake in pairs]}


PRICES = ["prices:home", "prices:away"]


@pytest.fixture
def front(feature_store: FeatureStore) -> FeatureStore:
    everything = FeatureService(name="everything", features=[prices[["away"]], form, season])
    feature_store.apply([item, prices_pushed, prices, form, season, payouts, everything])
    return feature_store


def priced(*rows: tuple[str, float | None, float | None], at: dt.datetime = NOON) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["item", "home", "away"]).astype({"home": float, "away": float})
    return frame.assign(event_timestamp=pd.Timestamp(at))


def statuses(answer: Any, name: str) -> list[int]:
    return list(answer.proto.results[list(answer.proto.metadata.feature_names.val).index(name)].statuses)


def test_what_is_pushed_is_read(front: FeatureStore) -> None:
    front.push("prices_pushed", priced(("a", 1.5, None), ("b", 2.5, 3.5)))
    answer = front.get_online_features(PRICES, {"item": ["b", "nobody", "a"]})
    assert answer.to_dict() == {"item": ["b", "nobody", "a"], "home": [2.5, None, 1.5], "away": [3.5, None, None]}
    assert statuses(answer, "home") == [PRESENT, NOT_FOUND, PRESENT]
    assert statuses(answer, "away") == [PRESENT, NOT_FOUND, PRESENT]


@stock_fails("a stale push overwrites a newer value")
def test_a_stale_push_changes_nothing(front: FeatureStore) -> None:
    front.push("prices_pushed", priced(("a", 1.5, 2.5)))
    front.push("prices_pushed", priced(("a", 8.5, 9.5), at=NOON - HOUR))
    assert front.get_online_features(PRICES, {"item": ["a"]}).to_dict()["home"] == [1.5]


def test_what_is_written_is_read_in_its_type(front: FeatureStore) -> None:
    frame = pd.DataFrame(
        {
            "item": ["a", "b"],
            "points": [2**60 + 1, -1],
            "ground": ["Ångvallen", None],
            "rested": [True, False],
            "goals": [[1, 0, 2], []],
            "event_timestamp": [pd.Timestamp(NOON)] * 2,
        }
    )
    front.write_to_online_store("form", frame)
    features = ["form:points", "form:ground", "form:rested", "form:goals"]
    assert front.get_online_features(features, {"item": ["a", "b"]}).to_dict() == {
        "item": ["a", "b"],
        "points": [2**60 + 1, -1],
        "ground": ["Ångvallen", None],
        "rested": [True, False],
        "goals": [[1, 0, 2], []],
    }


def test_an_entity_asked_for_twice_is_answered_twice(front: FeatureStore) -> None:
    front.push("prices_pushed", priced(("a", 1.5, 2.5), ("b", 3.5, 4.5)))
    answer = front.get_online_features(PRICES, {"item": ["a", "b", "a", "nobody", "nobody", "a"]})
    assert answer.to_dict()["home"] == [1.5, 3.5, 1.5, None, None, 1.5]
    assert statuses(answer, "home") == [PRESENT] * 3 + [NOT_FOUND] * 2 + [PRESENT]


def test_rows_may_be_asked_for_as_a_list(front: FeatureStore) -> None:
    front.push("prices_pushed", priced(("a", 1.5, 2.5)))
    assert front.get_online_features(PRICES, [{"item": "a"}, {"item": "b"}]).to_dict()["away"] == [2.5, None]


def test_full_names_carry_their_view(front: FeatureStore) -> None:
    front.push("prices_pushed", priced(("a", 1.5, 2.5)))
    answer = front.get_online_features([*PRICES, "form:points"], {"item": ["a"]}, full_feature_names=True)
    assert answer.to_dict() == {"item": ["a"], "prices__home": [1.5], "prices__away": [2.5], "form__points": [None]}


def test_a_service_gives_the_features_that_it_names_of_views_with_and_without_an_entity(
    front: FeatureStore, store: Opened
) -> None:
    front.push("prices_pushed", priced(("a", 1.5, 2.5)))
    store.write(form, row("a", NOON, points=3, ground="b", rested=True, goals=None))
    store.write(season, row(NO_ENTITY, NOON, matches=380))
    service = front.get_feature_service("everything")
    answer = front.get_online_features(service, {"item": ["a", "b"]}).to_dict()
    assert answer == {
        "item": ["a", "b"],
        "away": [2.5, None],
        "points": [3, None],
        "ground": ["b", None],
        "rested": [True, None],
        "goals": [None, None],
        "matches": [380, 380],
    }


def test_a_view_on_demand_is_computed_on_top(front: FeatureStore) -> None:
    front.push("prices_pushed", priced(("a", 1.5, 2.5)))
    asked = {"item": ["a", "nobody"], "stake": [10.0, 10.0]}
    answer = front.get_online_features(["prices:away", "payouts:payout"], asked).to_dict()
    assert answer["payout"] == [15.0, None]
    assert answer["away"] == [2.5, None]


def test_a_view_on_demand_may_be_kept_in_the_store(feature_store: FeatureStore) -> None:
    """Feast hands such a view to the online store as it is: it has no TTL."""

    @on_demand_feature_view(  # type: ignore[untyped-decorator,unused-ignore]
        sources=[prices],
        entities=[item],
        schema=[Field(name="item", dtype=String), Field(name="both", dtype=Float64)],
        mode="pandas",
        write_to_online_store=True,
    )
    def sums(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"both": inputs["home"] + inputs["away"]})

    feature_store.apply([item, prices_pushed, prices, sums])
    frame = priced(("a", 1.5, 2.5), ("b", 2.0, 2.0)).assign(both=[4.0, 4.5])
    feature_store.write_to_online_store("sums", frame, transform_on_write=False)
    answer = feature_store.get_online_features(["sums:both"], {"item": ["b", "a", "nobody"]}).to_dict()
    assert answer == {"item": ["b", "a", "nobody"], "both": [4.5, 4.0, None]}


def test_one_view_under_two_names_is_read_for_two_entities(feature_store: FeatureStore) -> None:
    team = Entity(name="team", join_keys=["team"], value_type=ValueType.STRING)
    schema = [Field(name="team", dtype=String), Field(name="elo", dtype=Float64)]
    rating = FeatureView(name="rating", entities=[team], schema=schema, source=source_of("rating"))
    home = rating.with_name("home").with_join_key_map({"team": "home_team"})
    away = rating.with_name("away").with_join_key_map({"team": "away_team"})
    service = FeatureService(name="pairing", features=[home, away])
    feature_store.apply([team, rating, service])
    frame = pd.DataFrame({"team": ["a", "b"], "elo": [1500.0, 1600.0], "event_timestamp": [pd.Timestamp(NOON)] * 2})
    feature_store.write_to_online_store("rating", frame)
    pairs = {"home_team": ["a", "b", "c"], "away_team": ["b", "a", "a"]}
    answer = feature_store.get_online_features(service, pairs, full_feature_names=True).to_dict()
    assert answer == pairs | {"home__elo": [1500.0, 1600.0, None], "away__elo": [1600.0, 1500.0, 1500.0]}


def test_views_of_different_entities_are_read_together(feature_store: FeatureStore) -> None:
    team = Entity(name="team", join_keys=["team"], value_type=ValueType.INT64)
    schema = [Field(name="team", dtype=Int64), Field(name="elo", dtype=Float64)]
    rating = FeatureView(name="rating", entities=[team], schema=schema, source=source_of("rating"))
    feature_store.apply([team, item, rating, prices_pushed, prices])
    frame = pd.DataFrame({"team": [1, 2], "elo": [1500.0, 1600.0], "event_timestamp": [pd.Timestamp(NOON)] * 2})
    feature_store.write_to_online_store("rating", frame)
    feature_store.push("prices_pushed", priced(("a", 1.5, 2.5)))
    asked = {"item": ["a", "a", "b"], "team": [2, 1, 2]}
    answer = feature_store.get_online_features(["rating:elo", "prices:home"], asked).to_dict()
    assert answer == asked | {"elo": [1600.0, 1500.0, 1600.0], "home": [1.5, 1.5, None]}


def test_a_feature_that_is_new_is_not_found_in_old_rows(front: FeatureStore) -> None:
    front.push("prices_pushed", priced(("a", 1.5, 2.5)))
    schema = [*prices.schema, Field(name="draw", dtype=Float64)]
    front.apply([FeatureView(name="prices", entities=[item], schema=schema, source=prices_pushed)])
    answer = front.get_online_features([*PRICES, "prices:draw"], {"item": ["a"]})
    assert answer.to_dict() == {"item": ["a"], "home": [1.5], "away": [2.5], "draw": [None]}
    assert statuses(answer, "draw") == [NOT_FOUND]
    assert statuses(answer, "home") == [PRESENT]


def test_a_view_that_is_removed_takes_its_rows_with_it(front: FeatureStore, store: Opened) -> None:
    front.push("prices_pushed", priced(("a", 1.5, 2.5)))
    front.apply([], objects_to_delete=[payouts, front.get_feature_service("everything"), prices], partial=False)
    front.apply([item, prices_pushed, prices])
    assert front.get_online_features(PRICES, {"item": ["a"]}).to_dict()["home"] == [None]


def test_applying_the_same_again_keeps_every_row(front: FeatureStore) -> None:
    front.push("prices_pushed", priced(("a", 1.5, 2.5)))
    front.apply([item, prices_pushed, prices, form, season])
    assert front.get_online_features(PRICES, {"item": ["a"]}).to_dict()["home"] == [1.5]


def test_an_asynchronous_read_of_the_sdk_gives_the_same(front: FeatureStore, store: Opened) -> None:
    front.push("prices_pushed", priced(("a", 1.5, 2.5)))
    asked = {"item": ["a", "nobody", "a"], "stake": [10.0, 20.0, 30.0]}
    for features in (PRICES, [*PRICES, "form:points"], ["prices:away", "payouts:payout"]):
        question = {name: asked[name] for name in asked if name == "item" or "payouts:payout" in features}

        async def ask(features: list[str] = features, question: dict[str, Any] = question) -> Any:
            try:
                return await front.get_online_features_async(features, question)
            finally:
                await Opened(store.kind, front.config, front.provider.online_store).close_async()

        answer, expected = asyncio.run(ask()), front.get_online_features(features, question)
        assert answer.to_dict() == expected.to_dict()
        assert answer.proto == expected.proto


@stock_fails(NO_ASYNC_WRITE, raises=NotImplementedError)
def test_asynchronous_writes_and_pushes_of_the_sdk_are_read(front: FeatureStore) -> None:
    async def write() -> None:
        await front.write_to_online_store_async("prices", priced(("a", 1.5, 2.5)))
        await front.push_async("prices_pushed", priced(("b", 3.5, 4.5)))

    asyncio.run(write())
    assert front.get_online_features(PRICES, {"item": ["a", "b"]}).to_dict()["home"] == [1.5, 3.5]


def test_teardown_of_the_sdk_removes_every_table(front: FeatureStore, admin: Any, schema: str) -> None:
    front.teardown()
    assert admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall() == []
