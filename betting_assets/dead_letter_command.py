"""`betting dlq`: messages that could not be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import psycopg
import typer

from betting_assets.settings import Settings
from betting_assets.streaming.dead_letters import Choice, DeadLetterError, StoredLetter, counts, find
from betting_assets.streaming.dead_letters import replay as send_again
from betting_assets.terminal import answers, plain_table
from betting_assets.usage import UsageError, checked_settings

SHOWN_BYTES = 4096
app = typer.Typer(help="Dead letters: messages of the topics that could not be used.", no_args_is_help=True)
TopicName = Annotated[str, typer.Option("--topic", help="Only those of this topic.")]
Reason = Annotated[str, typer.Option("--reason", help="Only those with this reason, e.g. price_out_of_range.")]


@app.command("list")
def list_(
    topic: TopicName = "",
    reason: Reason = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many to list.")] = 20,
) -> None:
    """How many dead letters there are by topic and reason, and the newest of them.

    Examples: betting dlq list · betting dlq list --reason price_out_of_range --limit 100
    """
    choice = Choice(topic, reason)
    with _database() as (_, conn):
        summary, letters = counts(conn, choice), find(conn, choice, limit)
    if not summary:
        answers().print("no dead letters")
        return
    table = plain_table("topic", "reason", "letters", "not sent again")
    for name, why, number, waiting in summary:
        table.add_row(name, why, f"{number:,}", f"{waiting:,}")
    answers().print(table)
    for one in letters:
        again = ", sent again" if one.replayed_at else ""
        _say(f"{one.place}  {one.landed_at:%Y-%m-%d %H:%M:%S}  {one.reason}{again}: {one.detail}")


@app.command()
def show(place: Annotated[str, typer.Argument(metavar="TOPIC:PARTITION:OFFSET")]) -> None:
    """Everything of one dead letter. Bytes that are no printable text are shown escaped.

    Example: betting dlq show odds.ticks.v1:3:41205
    """
    with _database() as (_, conn):
        found = find(conn, Choice(places=(place,)), 1, whole=True)
    if not found:
        raise UsageError(f"there is no dead letter {place}: see `betting dlq list`")
    for name, value in _lines(found[0]):
        _say(f"{name:<12} {value}")


@app.command()
def replay(
    places: Annotated[list[str] | None, typer.Argument(metavar="[TOPIC:PARTITION:OFFSET]…")] = None,
    reason: Reason = "",
    topic: TopicName = "",
    everything: Annotated[bool, typer.Option("--all", help="All that were not sent again yet.")] = False,
    key_from_message: Annotated[bool, typer.Option(help="Send them with the match_id of their JSON as key.")] = False,
) -> None:
    """Send the original bytes of dead letters to their topics again, e.g. after what refused them was mended.

    Each is sent at least once, behind the newest messages and with a header replayed-from. One that still cannot be
    used is a new dead letter. With --reason, --topic or --all only those are sent that were not sent again before.

    Examples: betting dlq replay odds.ticks.v1:3:41205 · betting dlq replay --reason key_missing --key-from-message
    """
    if bool(places) == bool(reason or topic or everything):
        raise UsageError("say which dead letters: either by TOPIC:PARTITION:OFFSET, or by --reason, --topic or --all")
    with _database() as (settings, conn):
        sent = send_again(conn, settings, Choice(topic, reason, tuple(places or ())), key_from_message=key_from_message)
    answers().print(f"{sent:,} sent again, each at least once")


def _lines(letter: StoredLetter) -> Iterator[tuple[str, str]]:
    yield "id", letter.place
    yield "reason", letter.reason
    yield "detail", letter.detail
    yield "produced", f"{letter.produced_at:%Y-%m-%d %H:%M:%S.%f} UTC"
    yield "landed", f"{letter.landed_at:%Y-%m-%d %H:%M:%S.%f} UTC"
    yield "sent again", f"{letter.replayed_at:%Y-%m-%d %H:%M:%S.%f} UTC" if letter.replayed_at else "no"
    for name, value in letter.headers:
        yield "header", f"{_safe(name.encode())} = {'null' if value is None else _safe(bytes.fromhex(value))}"
    yield "key", "null" if letter.key is None else _safe(letter.key)
    yield "value", "null" if letter.payload is None else f"{len(letter.payload):,} bytes: {_safe(letter.payload)}"


def _safe(data: bytes) -> str:
    """Bytes as text that can do nothing to a terminal; long ones are cut."""
    text = data[:SHOWN_BYTES].decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return shown + (" … (cut)" if len(data) > SHOWN_BYTES else "")


def _say(line: str) -> None:
    answers().print(line, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def _database() -> Iterator[tuple[Settings, psycopg.Connection]]:
    from betting_assets.streaming.kafka import BrokerError
    from betting_assets.warehouse.database import connect, resolve_url

    chosen = checked_settings()
    try:
        with connect(resolve_url(chosen), autocommit=True) as conn:
            yield chosen, conn
    except psycopg.errors.UndefinedTable as error:
        raise UsageError("the database has no tables yet: `betting up` makes them") from error
    except (DeadLetterError, BrokerError) as error:
        raise UsageError(str(error)) from error
