"""`betting stream`: the long-lived workers of the topics."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Long-lived workers of the Kafka topics: land them in PostgreSQL, score them.", no_args_is_help=True
)


@app.callback()
def stream() -> None:
    """Without a second command yet."""
