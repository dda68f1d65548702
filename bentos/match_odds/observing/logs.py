"""The worker's log: one JSON object a line on standard error, without secrets, payloads or storms."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TextIO

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")
"""Id of the request that this task works for; every line of the log names it."""

MOST_A_SECOND = 5
"""Lines from one place in the code; an outage would otherwise write a line for every request."""

LONGEST = 8_000
"""Characters of a message or a traceback."""

OURS = ("bentos", "betting_assets", "feature_repo", "bentoml")
"""Who may say more than warnings."""

ACCESS = ("uvicorn.access", "bentoml.access")
HAVE_HANDLERS = ("bentoml", "uvicorn", "uvicorn.error", "circus")

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(://[^/\s:@]*):\S*@"), r"\1:***@"),
    (re.compile(r"\b(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE), r"\1***"),
    (re.compile(r"\bbk_[\w-]+"), "bk_***"),
    (re.compile(r"\b(Bearer|Basic)\s+\S+", re.IGNORECASE), r"\1 ***"),
)
_PAYLOADS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\s(DETAIL|CONTEXT|QUERY|LINE \d+):.*?(?=\n\n|\Z)", re.DOTALL), ""),  # PostgreSQL
    (re.compile(r"input_value=.*, input_type="), "input_value=…, input_type="),  # pydantic
)


def set_up_logs(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send everything that this process logs through one handler, instead of those of BentoML and uvicorn.

    There is no access log: metrics count requests, and what goes wrong has a line of its own.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(Restraint())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in HAVE_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET)
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    for name in ACCESS:
        logging.getLogger(name).disabled = True
    logging.captureWarnings(True)


class JsonLines(logging.Formatter):
    """A record as one line: time (UTC), level, logger, message, request_id, whatever was given in `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": harmless(record.getMessage()),
            "pid": record.process,
        }
        if request_id := current_request_id.get():
            line["request_id"] = request_id
        for name, value in record.__dict__.items():
            if name not in _STANDARD and name not in line:
                line[name] = value if isinstance(value, int) or value is None else harmless(str(value))
        if record.exc_info:
            line["traceback"] = harmless(self.formatException(record.exc_info))
        return json.dumps(line)


def harmless(text: str) -> str:
    """The text without passwords, API keys, and what database and validation errors quote from requests."""
    for pattern, instead in (*_SECRETS, *_PAYLOADS):
        text = pattern.sub(instead, text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… {len(text) - LONGEST} more characters"


@dataclass
class _Second:
    """What one place has logged since `began`."""

    began: float
    lines: int = 0
    suppressed: int = 0


class Restraint(logging.Filter):
    """Lets a few lines a second through from every place in the code, and counts the others.

    The next line from that place tells in `suppressed` how many there were.
    """

    def __init__(self, most: int = MOST_A_SECOND, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._places: dict[tuple[str, int], _Second] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        with self._lock:
            place = self._places.setdefault((record.pathname, record.lineno), _Second(now))
            if now - place.began >= 1.0:
                place.began, place.lines = now, 0
            if place.lines >= self._most:
                place.suppressed += 1
                return False
            place.lines += 1
            if place.suppressed:
                record.suppressed = place.suppressed
                place.suppressed = 0
            return True
