"""The page and its files: no build step, nothing from elsewhere, and nothing inline, for a strict policy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILES = Path(__file__).parent / "files"
PATHS = {
    "/board": ("board.html", b"text/html; charset=utf-8"),
    "/board/board.css": ("board.css", b"text/css; charset=utf-8"),
    "/board/board.js": ("board.js", b"text/javascript; charset=utf-8"),
    "/board/drawing.js": ("drawing.js", b"text/javascript; charset=utf-8"),
    "/board/stream.js": ("stream.js", b"text/javascript; charset=utf-8"),
    "/board/words.js": ("words.js", b"text/javascript; charset=utf-8"),
    "/board/icon.svg": ("icon.svg", b"image/svg+xml"),
}
"""They hold no data: where the service asks for API keys, they are served without one."""

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)
"""A browser keeps the files, and asks each time whether they are still those: another Bento may answer."""


@dataclass(frozen=True)
class PageFile:
    kind: bytes
    content: bytes
    etag: bytes

    def is_known(self, if_none_match: str | None) -> bool:
        """Whether the browser has it, by its header If-None-Match."""
        known = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
        return self.etag.decode() in known or "*" in known


@cache
def page_file(path: str) -> PageFile:
    """The file at one of PATHS; read once in the life of a process."""
    name, kind = PATHS[path]
    content = (FILES / name).read_bytes()
    return PageFile(kind, content, f'"{hashlib.sha256(content).hexdigest()[:20]}"'.encode())
