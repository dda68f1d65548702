"""`betting dlq`: messages that could not be used."""

from __future__ import annotations

import typer

app = typer.Typer(help="Dead letters: messages of the topics that could not be used.", no_args_is_help=True)


@app.callback()
def dead_letters() -> None:
    """Without a second command yet."""
