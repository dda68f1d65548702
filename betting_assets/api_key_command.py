"""`betting api-key`: makes, lists and revokes the API keys of the prediction service."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from bentos.match_odds.front.api_keys import ApiKeysError, key_line, new_key, parse, read_keys
from betting_assets.terminal import answers
from betting_assets.usage import UsageError, checked_settings, require_writable

app = typer.Typer(help="API keys of the prediction service, see BETTING_API_KEYS_FILE.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Whose key it is: letters, digits, `.`, `_` and `-`.")]


@app.command()
def new(name: Name) -> None:
    """Make a key and print it, this once: only its hash is kept. A running service takes it within a second.

    Example: BETTING_API_KEYS_FILE=~/.betting-keys betting api-key new live-scorer
    """
    key = new_key()
    with _lines(_file()) as lines:
        if name in parse("\n".join(lines), ""):
            raise UsageError(f"there is a key {name} already: revoke it, or choose another name")
        lines.append(key_line(name, key))
    answers().print(key, soft_wrap=True, highlight=False)


@app.command("list")
def list_() -> None:
    """The names of the keys; the keys themselves are known to their owners only."""
    try:
        names = read_keys(_file())
    except ApiKeysError as error:
        raise UsageError(str(error)) from error
    for name in names:
        answers().print(name)


@app.command()
def revoke(name: Name) -> None:
    """Remove a key. A running service refuses it within a second."""
    with _lines(_file()) as lines:
        left = [line for line in lines if line.partition("#")[0].split()[:1] != [name]]
        if len(left) == len(lines):
            raise UsageError(f"there is no key {name}: see `betting api-key list`")
        lines[:] = left


def _file() -> Path:
    file = checked_settings().api_keys_file
    if file is None:
        raise UsageError("BETTING_API_KEYS_FILE is not set: name the file that holds the hashes of the keys")
    return file.absolute()


@contextmanager
def _lines(file: Path) -> Iterator[list[str]]:
    """The lines of the file, to be changed: they are checked and written back as a whole, one command at a time."""
    require_writable(file.parent, "choose another file with BETTING_API_KEYS_FILE")
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if file.exists():
            read_keys(file)
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        yield lines
        text = "".join(f"{line}\n" for line in lines)
        parse(text, str(file))
        _replace(file, text)
    except ApiKeysError as error:
        raise UsageError(str(error)) from error
    finally:
        os.close(folder)


def _replace(file: Path, text: str) -> None:
    """Write a file of mode 600 that is there as a whole or not at all."""
    number, path = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(path).replace(file)
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
