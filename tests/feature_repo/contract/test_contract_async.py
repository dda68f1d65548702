"""The asynchronous twins do what the others do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from feast.types import Float64, String
from invented_stores import DAY, HOUR, NOON, Answer, Opened, row, stock_fails, view_of

T = TypeVar("T")

VIEW = view_of(x=Float64, text=String)
NO_ASYNC_WRITE = "it has no asynchronous write"


def in_a_loop(store: Opened, work: Callable[[], Awaitable[T]]) -> T:
    """Run in an event loop of its own; the store's connections of that loop are closed with it."""

    async def run() -> T:
        async with asyncio.timeout(30):
            try:
                return await work()
            finally:
                await store.close_async()

    return asyncio.run(run())


@stock_fails("it advertises neither its asynchronous read nor a write")
def test_the_twins_are_advertised(store: Opened) -> None:
    supported = store.online.async_supported
    assert (supported.read, supported.write) == (True, True)


def test_an_asynchronous_read_answers_as_the_other_does(store: Opened) -> None:
    store.update(VIEW)
    store.write(VIEW, row("a", NOON, x=1.0, text="é"), row("b", NOON + HOUR, x=None, text=None))
    keys = ["b", "nobody", "a", "b"]

    asked = [["x", "text"], ["text"], ["x", "nothing"]]

    async def read() -> list[list[Answer]]:
        return [await store.read_async(VIEW, *keys, features=features) for features in asked]

    assert in_a_loop(store, read) == [store.read(VIEW, *keys, features=features) for features in asked]


@stock_fails("the TTL is ignored at read")
def test_an_asynchronous_read_honours_the_ttl(store: Opened) -> None:
    view = view_of(ttl=DAY)
    store.update(view)
    store.write(view, row("a", NOON, x=1.0))
    assert in_a_loop(store, lambda: store.read_async(view, "a", "b")) == [(NOON, None), (None, None)]


@stock_fails(NO_ASYNC_WRITE, raises=NotImplementedError)
def test_an_asynchronous_write_writes_as_the_other_does(store: Opened) -> None:
    store.update(VIEW)
    told: list[int] = []

    async def write() -> list[Answer]:
        await store.write_async(VIEW, row("a", NOON, x=1.0, text="1"), row("b", NOON.replace(tzinfo=None), x=2.0))
        await store.write_async(VIEW, row("a", NOON - HOUR, x=3.0, text="stale"))
        rows = [row("c", NOON, x=4.0, text=None)]
        await store.online.online_write_batch_async(store.config, VIEW, rows, told.append)
        return await store.read_async(VIEW, "a", "b", "c")

    answers = in_a_loop(store, write)
    assert answers == [
        (NOON, {"x": 1.0, "text": "1"}),
        (NOON, {"x": 2.0}),
        (NOON, {"x": 4.0, "text": None}),
    ]
    assert store.read(VIEW, "a", "b", "c") == answers
    assert told == [1]


def test_one_store_reads_in_two_event_loops_one_after_the_other(store: Opened) -> None:
    store.update(VIEW)
    store.write(VIEW, row("a", NOON, x=1.0, text="1"))
    for _ in range(2):
        assert in_a_loop(store, lambda: store.read_async(VIEW, "a")) == [(NOON, {"x": 1.0, "text": "1"})]


@stock_fails(NO_ASYNC_WRITE, raises=NotImplementedError)
def test_one_store_writes_in_two_event_loops_that_end_without_closing_it(store: Opened) -> None:
    store.update(VIEW)

    async def work(number: float) -> list[Answer]:
        async with asyncio.timeout(30):
            await store.write_async(VIEW, row("a", NOON, x=number, text=None))
            return await store.read_async(VIEW, "a")

    for number in (1.0, 2.0):
        assert asyncio.run(work(number)) == [(NOON, {"x": number, "text": None})]
    assert store.read(VIEW, "a") == [(NOON, {"x": 2.0, "text": None})]


def test_more_reads_at_once_than_connections_are_all_answered(store: Opened) -> None:
    store.update(VIEW)
    store.write(VIEW, *(row(f"{i}", NOON, x=float(i), text=None) for i in range(100)))

    async def read() -> list[list[Answer]]:
        return await asyncio.gather(*(store.read_async(VIEW, f"{i}") for i in range(100)))

    assert in_a_loop(store, read) == [[(NOON, {"x": float(i), "text": None})] for i in range(100)]


@stock_fails(NO_ASYNC_WRITE, raises=NotImplementedError)
def test_writes_at_once_leave_the_newest(store: Opened) -> None:
    store.update(VIEW)

    async def write() -> None:
        hours = [(7 * i) % 40 for i in range(40)]
        await asyncio.gather(
            *(store.write_async(VIEW, row("a", NOON + i * HOUR, x=float(i), text=None)) for i in hours)
        )

    in_a_loop(store, write)
    assert store.read(VIEW, "a") == [(NOON + 39 * HOUR, {"x": 39.0, "text": None})]
