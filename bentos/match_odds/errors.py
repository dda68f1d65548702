"""What can go wrong with a request: a code of HTTP, one of gRPC, and one line for the client."""

from __future__ import annotations


class ServingError(Exception):
    """A request that cannot be answered. The message is one line and goes to the client.

    `grpc_status` is the name of a member of grpc.StatusCode.
    """

    status = 500
    grpc_status = "INTERNAL"
    retry_after: float | None = None
    """Seconds after which the client may try again; None: at once, or never."""


class BadRequest(ServingError):
    status = 400
    grpc_status = "INVALID_ARGUMENT"


class Unauthenticated(ServingError):
    status = 401
    grpc_status = "UNAUTHENTICATED"


class NotFound(ServingError):
    status = 404
    grpc_status = "NOT_FOUND"


class Unavailable(ServingError):
    """Not now: the store cannot be reached. Clients may try again."""

    status = 503
    grpc_status = "UNAVAILABLE"
    retry_after = 1.0


class Overloaded(ServingError):
    """There is more work than can be done in time; nothing was done for this request. Clients may try again."""

    status = 503
    grpc_status = "RESOURCE_EXHAUSTED"
    retry_after = 0.1
