"""`betting replay`: recorded odds to the topics, as if they happened now."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def replay(path: Annotated[Path, typer.Argument(help="File or folder of recordings.")]) -> None:
    """Publish recorded odds and results to the topics."""
    raise NotImplementedError(path)
