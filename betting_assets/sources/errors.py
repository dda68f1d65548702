"""The one error that a source raises."""

from __future__ import annotations


class SourceError(ValueError):
    """An input that yields nothing usable. The message is one line: what is wrong, where, how to mend it."""
