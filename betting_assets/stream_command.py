"""`betting stream`: the long-lived workers of the topics."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from betting_assets.usage import UsageError, checked_settings

app = typer.Typer(
    help="Long-lived workers of the Kafka topics: land them in PostgreSQL, score them.", no_args_is_help=True
)


@app.callback()
def stream() -> None:
    """Each worker runs in the foreground until Ctrl-C or SIGTERM; then it finishes what it began, and exits with 0."""


@app.command()
def land(
    accept_new_log: Annotated[
        str, typer.Option(help="Topic whose log is another one now: read it from its beginning.", metavar="TOPIC")
    ] = "",
    accept_gap: Annotated[
        str,
        typer.Option(help="Topic that lost unread messages to retention: record them as lost.", metavar="TOPIC"),
    ] = "",
) -> None:
    """Land the messages of all topics in PostgreSQL, each exactly once; what cannot be used is a dead letter.

    Start as many as you like, on any machine: they share the partitions, and take over those of one that dies. A
    broker or a database that is away is waited for.

    Examples: betting stream land · betting stream land --accept-new-log odds.ticks.v1
    """
    from betting_assets.streaming.kafka import BrokerError
    from betting_assets.streaming.landing.accepting import accept
    from betting_assets.streaming.landing.lander import Lander, LandingError
    from betting_assets.streaming.topic_logs import LogError
    from betting_assets.warehouse.database import resolve_url

    chosen = checked_settings()
    try:
        url = resolve_url(chosen)
        for line in accept(chosen, url, new_log=accept_new_log, gap=accept_gap):
            say(line)
        with stopped_politely() as stop:
            say("landing; Ctrl-C ends it")
            Lander(chosen, url, say).run(stop)
    except (LandingError, LogError, BrokerError) as error:
        raise UsageError(str(error)) from error


@app.command()
def score() -> None:
    """Score every tick: books to consensus and features, the Bento's answer to the topic predictions.v1.

    What nobody could bet at (suspended, stale or crossed books, palpable errors, matches under way) is withheld with
    its reason. Start as many as you like, on any machine: they share the partitions, and take over those of one that
    dies. A broker, a database or a Bento that is away is waited for.

    Example: betting stream score
    """
    from betting_assets.streaming.scoring.scorer import Scorer, ScoringError
    from betting_assets.streaming.topic_logs import LogError
    from betting_assets.warehouse.database import resolve_url
    from feature_repo.operations import NotAppliedError

    chosen = checked_settings()
    try:
        url = resolve_url(chosen)
        with stopped_politely() as stop:
            say("scoring; Ctrl-C ends it")
            Scorer(chosen, url, say).run(stop)
    except (ScoringError, NotAppliedError, LogError) as error:
        raise UsageError(str(error)) from error


@app.command()
def feed() -> None:
    """Feed the topics with what BETTING_LIVE_FEED names: the simulator's match day, or The Odds API.

    Example: BETTING_LIVE_FEED=simulator betting stream feed
    """
    import logging

    from betting_assets.streaming.feeds.live import run_live_feed

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with stopped_politely() as stop:
        run_live_feed(checked_settings(), stop)


def say(line: str) -> None:
    """One line on standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"betting stream: {line}")


@contextmanager
def stopped_politely() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, instead of ending the process; libraries keep quiet meanwhile."""
    import logging

    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what matters of it is said in lines of our own
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
