"""What a client may raise, the same for both protocols."""

from __future__ import annotations


class MatchOddsError(RuntimeError):
    """The service refused, or did not answer.

    Attributes:
        status: HTTP's code; over gRPC the one that stands for the same.
        retryable: whether the same request may do better later. The client has then tried already, see `Retries`.
        retry_after: seconds that the service asks to wait for; None where it does not say.
    """

    def __init__(self, status: int, message: str, *, retryable: bool = False, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after


class UnreachableError(MatchOddsError):
    """Nothing listens there, or the connection broke before there was an answer."""

    def __init__(self, message: str) -> None:
        super().__init__(503, message, retryable=True)
