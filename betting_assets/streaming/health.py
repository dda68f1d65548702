"""Whether this machine's lander or scorer works, for the health checks of containers.

    python -m betting_assets.streaming.health lander

Exits with 0 when a worker of that name on this host spoke lately and names no trouble; else with 1 and one line.
"""

from __future__ import annotations

import platform
import sys
from typing import TextIO

from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.settings import Settings, settings
from betting_assets.warehouse.database import DatabaseError, connect, resolve_url

READERS = ("lander", "scorer")
SILENT_SECONDS = 30.0
"""Workers speak every two seconds; one that waits for a database or a broker may take longer."""


def trouble(url: str, reader: str, host: str | None = None) -> str | None:
    """What is wrong with the workers of this name on `host` (default: this one), in one line; None: nothing.

    Of several the first one in trouble is told.
    """
    host = host or platform.node()
    with connect(url, autocommit=True) as connection:
        rows = connection.execute(
            """SELECT worker, message FROM stream.reader
                WHERE reader = %s AND starts_with(worker, %s) AND seen_at > now() - make_interval(secs => %s)
                ORDER BY message NULLS LAST, worker""",
            [reader, f"{host}:", SILENT_SECONDS],
        ).fetchall()
    if not rows:
        return f"no {reader} on {host} has spoken in the last {SILENT_SECONDS:.0f} s"
    worker, message = rows[0]
    return None if message is None else f"{reader} {worker}: {message}"


def _trouble(chosen: Settings, reader: str) -> str | None:
    try:
        return trouble(resolve_url(chosen), reader)
    except DatabaseError as error:
        return str(error)


def main(arguments: list[str], out: TextIO = sys.stderr) -> int:
    """The exit code for these arguments."""
    if len(arguments) != 1 or arguments[0] not in READERS:
        print(f"usage: python -m betting_assets.streaming.health {'|'.join(READERS)}", file=out)
        return 2
    chosen = settings()
    if chosen.database_url is None and not EmbeddedPostgres(chosen.home / "postgres").is_running():
        told: str | None = "the embedded PostgreSQL is not running"  # and is not started just to be asked
    else:
        told = _trouble(chosen, arguments[0])
    if told:
        print(told, file=out)
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
