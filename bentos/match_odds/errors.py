"""What can go wrong with a request: a code of HTTP and one line for the client."""

from __future__ import annotations


class ServingError(Exception):
    """A request that cannot be answered. The message is one line and goes to the client."""

    status = 500


class BadRequest(ServingError):
    status = 400


class NotFound(ServingError):
    status = 404


class StoredFeaturesUnfit(ServingError):
    """The match is known, but its stored features are not what the model was trained on."""

    status = 409


class Unavailable(ServingError):
    """Not now: the store cannot be reached, or there is more work than can be done. Clients may try again."""

    status = 503
