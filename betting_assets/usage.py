"""What a user chose, checked before any work depends on it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

from betting_assets.betting.odds import MarginMethod
from betting_assets.settings import Settings, settings


class UsageError(ValueError):
    """A setting, folder or file that cannot be used; the message is one line: what, where, how to mend it."""


def checked_settings() -> Settings:
    """The settings of this process. Raises UsageError that names the variable and what is wrong with it."""
    try:
        chosen = settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise UsageError(
            f"BETTING_{name}={first['input']!r}: {first['msg']}; mend it in the environment or in .env"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{Path('.env').resolve()}: not a text file in UTF-8 ({error.reason}); mend it") from error
    if chosen.margin_method not in list(MarginMethod):
        raise UsageError(
            f"BETTING_MARGIN_METHOD={chosen.margin_method!r}: there is no such method; choose one of "
            f"{', '.join(MarginMethod)}"
        )
    return chosen


def require_writable(folder: Path, how: str) -> None:
    """Make `folder` and see that files can be written there, before minutes of work depend on it.

    Raises:
        UsageError: says why not, and `how` to choose another.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written to ({os.strerror(error.errno or 0)}); {how}") from error
