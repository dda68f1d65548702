"""`betting replay`: recorded or simulated odds to the topics, as if they happened now."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from betting_assets.terminal import answers, plain_table
from betting_assets.usage import UsageError, checked_settings

if TYPE_CHECKING:
    from betting_assets.settings import Settings
    from betting_assets.sources.feed import Account, Event

_MOST_SPEED = 1_000_000


def replay(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files or folders of recordings.")] = None,
    speed: Annotated[str, typer.Option(help="60: sixty times as fast as it was; max: as fast as possible.")] = "1",
    max_gap: Annotated[
        float | None, typer.Option(help="Longest wait between two messages, in seconds.", min=0.0)
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Stop after so many messages.", min=1)] = None,
    league: Annotated[
        str, typer.Option(help="League code of football-data.co.uk, e.g. E0, where a file does not tell its own.")
    ] = "",
    simulate: Annotated[bool, typer.Option("--simulate", help="The simulator's last match days, live.")] = False,
    days: Annotated[int, typer.Option(help="Match days of --simulate.", min=1, max=30)] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count only; needs no broker.")] = False,
) -> None:
    """Publish recorded odds and results to the topics odds.ticks.v1 and match.results.v1, in order of time.

    Reads Betfair stream recordings (plain, bz2, gz; with the market catalogues beside them), answers of The Odds API v4
    (odds, historical odds, scores) and tables made of them; what a file is, its content tells. To repeat a replay is
    safe: receivers order by time, and old messages change nothing.

    Examples: betting replay recordings/ --speed 60 · betting replay odds.csv --league E0 --speed max ·
    betting replay --simulate --days 2 --speed 600
    """
    settings = checked_settings()
    chosen = _speed(speed)
    if bool(paths) == simulate:
        raise UsageError("name files or folders to replay, or give --simulate for the simulator's match days")
    accounts, formats, events = _simulated(settings, days) if simulate else _recorded(paths or [], league)
    wanted = itertools.islice(events, limit)
    if dry_run:
        counts = _counted(wanted)
        answers().print("nothing was published (--dry-run)")
    else:
        counts = _published(settings, wanted, chosen, max_gap)
    _show(accounts, formats, counts)


def _speed(text: str) -> float:
    if text == "max":
        return 0.0
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed <= _MOST_SPEED:
        raise UsageError(f"--speed {text}: write a number up to {_MOST_SPEED}, such as 60, or max")
    return speed


def _recorded(paths: list[Path], league: str) -> tuple[list[Account], list[str], Iterator[Event]]:
    from betting_assets.streaming.feeds.files import events, find

    files = find(paths)
    return [file.account for file in files], [file.format.value for file in files], events(files, league)


def _simulated(settings: Settings, days: int) -> tuple[list[Account], list[str], Iterator[Event]]:
    from betting_assets.sources.feed import Account
    from betting_assets.streaming.feeds.simulated import simulated_match_days

    account = Account("simulator")
    events = itertools.chain.from_iterable(simulated_match_days(settings, days))
    return [account], ["simulated match days"], (account.count(event) for event in events)


def _counted(events: Iterator[Event]) -> Counter[str]:
    from betting_assets.streaming.feeds.publisher import topic_of

    return Counter(topic_of(event.record).base for event in events)


def _published(settings: Settings, events: Iterator[Event], speed: float, max_gap: float | None) -> Counter[str]:
    from betting_assets.streaming.feeds.publisher import publish

    with _progress() as tell:
        published = publish(settings, events, speed, max_gap=max_gap, progress=tell)
    seconds = max(published.seconds, 1e-9)
    answers().print(
        f"{published.total:,} messages acknowledged in {seconds:,.1f} s ({published.total / seconds:,.0f}/s)"
    )
    return published.by_topic


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    with Console(stderr=True).status("publishing") as status:
        yield lambda acknowledged: status.update(f"publishing: {acknowledged:,} messages acknowledged")


def _show(accounts: list[Account], formats: list[str], counts: Counter[str]) -> None:
    table = plain_table("file", "format", "odds.ticks.v1", "match.results.v1", "skipped")
    for account, kind in zip(accounts, formats, strict=True):
        why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(account.skipped.items()))
        table.add_row(account.file, kind, f"{account.ticks:,}", f"{account.results:,}", why)
    table.columns[-1].no_wrap = False
    if len(accounts) > 1:
        table.add_section()
        table.add_row("all", "", f"{counts['odds.ticks.v1']:,}", f"{counts['match.results.v1']:,}", "")
    answers().print(table)
    for account in accounts:
        for one in account.rejected:
            answers().print(f"{one.file}:{one.line}: {one.reason}: {one.content}", markup=False, highlight=False)
