"""Where a client connects to, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bentos.match_odds.calling.retries import Retries

HTTP_SCHEMES = ("http", "https")
GRPC_SCHEMES = ("grpc", "grpcs")


@dataclass(frozen=True)
class Connection:
    """Attributes:
    url: http://, https://, grpc:// or grpcs:// with host and port; the s stands for TLS.
    timeout: seconds for a whole request, its retries included.
    ca: PEM file of the authorities that are trusted; None: those that the library brings.
    channels: connections of gRPC.
    """

    url: str
    api_key: str | None
    timeout: float
    ca: Path | None
    retries: Retries
    channels: int

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in HTTP_SCHEMES + GRPC_SCHEMES or not parts.hostname:
            raise ValueError(f"{self.url!r} is no address of the service: http, https, grpc or grpcs://host:port")
        if self.is_grpc and parts.port is None:
            raise ValueError(f"{self.url!r} names no port")
        if self.channels < 1:
            raise ValueError("channels must be at least 1")

    @property
    def is_grpc(self) -> bool:
        return urlsplit(self.url).scheme in GRPC_SCHEMES

    @property
    def is_encrypted(self) -> bool:
        return urlsplit(self.url).scheme in ("https", "grpcs")

    @property
    def address(self) -> str:
        """host:port."""
        return urlsplit(self.url).netloc

    def headers(self, request_id: str | None = None) -> dict[str, str]:
        """The same names for HTTP and for gRPC's metadata."""
        key = {} if self.api_key is None else {"authorization": f"Bearer {self.api_key}"}
        return key if request_id is None else {**key, "x-request-id": request_id}
