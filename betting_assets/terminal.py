"""The terminal: answers on standard output, progress on standard error, and what libraries say in a log file."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_WIDTH = 160
"""Columns where the output is a file or a pipe: there no name is folded."""


def answers() -> Console:
    """The console for what was asked for."""
    return Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)


@contextmanager
def libraries_log_to(path: Path) -> Iterator[Console]:
    """Whatever is printed, warned or logged meanwhile goes to the file; the console yielded reaches the terminal.

    The file descriptors themselves are led there, because Feast prints, MLflow logs to a stream that it opened long
    before, Dagster warns while it is imported, and child processes inherit them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    before = {number: os.dup(number) for number in (1, 2)}
    with path.open("ab", buffering=0) as log, os.fdopen(os.dup(2), "w", encoding="utf-8") as terminal, _logged_to(path):
        try:
            for number in before:
                os.dup2(log.fileno(), number)
            yield Console(file=terminal, width=None if terminal.isatty() else PLAIN_WIDTH)
        finally:
            _flush()
            for number, original in before.items():
                os.dup2(original, number)
                os.close(original)


@contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """Log records and warnings of this process to the file alone."""
    root = logging.getLogger()
    level, handlers, handler = root.level, root.handlers[:], logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        root.handlers[:] = handlers
        handler.close()


def plain_table(*header: str, title: str | None = None) -> Table:
    """A table without frames: names at the left, folded and never cut, then columns of numbers."""
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left", caption_justify="left")
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number > 0)
    return table


class Stages:
    """Shows where a long job is: on a terminal a bar for each stage, elsewhere a line for each stage that ended.

    Use as a context manager.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            redirect_stdout=False,  # else rich would show again what libraries_log_to leads away
            redirect_stderr=False,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Stages:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Callable[[], None]]:
        """One stage of `total` steps (None: not known); call what is yielded after each step."""
        task = self._progress.add_task(name, total=total)
        began = time.perf_counter()
        yield lambda: self._progress.advance(task)
        done = total or 1
        self._progress.update(task, total=done, completed=done)
        if not self._console.is_terminal:
            self._console.print(f"{name:<18} {time.perf_counter() - began:6.1f} s", highlight=False)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
