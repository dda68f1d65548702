"""The errors of the live feeds."""

from __future__ import annotations


class FeedError(RuntimeError):
    """A live feed that cannot go on. The message is one line: what is wrong, how to mend it. It holds no secret."""


class QuotaError(FeedError):
    """The quota of the feed is used up; nothing is wrong, it goes on when the quota is renewed."""
