"""API keys: who may ask. A file holds their hashes, a line each: `name sha256:<64 hex digits>`; # begins a comment.

SHA-256 and not bcrypt: a key is 256 random bits, which nobody can guess however fast the hash is, and it is hashed on
every request. A password would need bcrypt.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from betting_assets.settings import Settings

PREFIX = "bk_"
"""Lets a secret scanner, and a person, see what it is."""

LOOK = 1.0
"""Seconds between two looks whether the file has changed."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LINE = re.compile(rf"({_NAME.pattern})\s+sha256:([0-9a-f]{{64}})")
_Stamp = tuple[int, int, int]
logger = logging.getLogger(__name__)


class ApiKeysError(ValueError):
    """Keys that cannot be used; the message is one line: what, where, how to mend it."""


class ExposureError(RuntimeError):
    """The service would be open to everybody; the message is one line."""


def new_key() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def key_line(name: str, key: str) -> str:
    """The line of the file for a key. Raises ApiKeysError for a name that cannot be one."""
    if not _NAME.fullmatch(name):
        raise ApiKeysError(f"{name!r} is no name for a key: use 1 to 64 letters, digits, `.`, `_` and `-`")
    return f"{name} sha256:{hash_of(key)}"


def parse(text: str, place: str) -> dict[str, str]:
    """Name → hash. Raises ApiKeysError that names the line, but does not quote it: it may be a key."""
    keys: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        found = _LINE.fullmatch(content)
        if found is None:
            raise ApiKeysError(f"{place}, line {number}: not `name sha256:<64 hex digits>`; mend or remove it")
        name, digest = found.groups()
        if name in keys:
            raise ApiKeysError(f"{place}, line {number}: there is a key {name} already; rename or remove one")
        keys[name] = digest
    return keys


def read_keys(file: Path) -> dict[str, str]:
    """Name → hash. Raises ApiKeysError."""
    try:
        return parse(file.read_text("utf-8"), str(file))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ApiKeysError(f"{file} cannot be read ({reason}): make it with `betting api-key new NAME`") from error
    except UnicodeDecodeError as error:
        raise ApiKeysError(f"{file} is not a text file in UTF-8: make a new one") from error


class ApiKeys:
    """The keys of one file, read anew when it changes. While it cannot be read, the last good ones hold.

    Args:
        clock: seconds; for tests.
    """

    def __init__(self, file: Path, keys: dict[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._keys = keys
        self._clock = clock
        self._stamp = _stamp(file)
        self._looked = clock()

    @classmethod
    def load(cls, file: Path, clock: Callable[[], float] = time.monotonic) -> ApiKeys:
        """Read the file. Raises ApiKeysError."""
        keys = read_keys(file)
        if file.stat().st_mode & 0o077:
            logger.warning("%s can be read by others than its owner: chmod 600 it", file)
        if not keys:
            logger.warning("%s holds no key, so that every request is refused: `betting api-key new NAME`", file)
        return cls(file, keys, clock)

    def allows(self, header: str | None) -> str | None:
        """The name of the key in `Bearer <key>`, None if there is no such key.

        Every key is compared, each in constant time, so that the time taken tells nothing.
        """
        self._look()
        scheme, _, key = (header or "").partition(" ")
        digest, found = hash_of(key.strip()), None
        for name, known in self._keys.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found if scheme.lower() == "bearer" else None

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < LOOK:
            return
        self._looked = now
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = read_keys(self._file)
        except ApiKeysError as error:
            logger.error("API keys stay as they were: %s", error)
        else:
            logger.info("API keys were read anew: %d", len(self._keys))


def check_exposure(config: Settings) -> None:
    """Refuse to serve other machines without API keys.

    Raises:
        ExposureError: says what to set.
    """
    if _is_loopback(config.serving_host):
        return
    if config.api_keys_file is None:
        raise ExposureError(
            f"BETTING_SERVING_HOST={config.serving_host} lets other machines in without an API key: set "
            "BETTING_API_KEYS_FILE (`betting api-key new NAME` makes one), or listen on 127.0.0.1"
        )
    if config.tls_certificate is None:
        logger.warning("API keys travel in clear text: set BETTING_TLS_CERTIFICATE, unless a proxy does TLS")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _stamp(file: Path) -> _Stamp | None:
    """Changes whenever the file does; None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
