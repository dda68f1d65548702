"""What every process of the prediction service says of itself: serving.worker, one row each, renewed while it lives."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, fields

import psycopg
from psycopg.rows import class_row

from betting_assets.warehouse.database import connect

LIVE_SECONDS = 10.0
"""Whoever said nothing for so long is dead, or cannot reach the database; workers speak every two seconds."""

KEPT = dt.timedelta(days=1)


@dataclass(frozen=True)
class Worker:
    """One row of serving.worker.

    Attributes:
        worker: host:pid.
        bento_tag: Bento whose code it runs.
        code: digest of that code.
        deployment_id: deployment whose models it serves; None: those of its own Bento.
        refused_id: deployment that it would have to serve and does not, for `reason`.
        started_at, seen_at: UTC, by the database's clock, which alone sets them.
    """

    worker: str
    bento_tag: str
    code: str
    deployment_id: int | None = None
    refused_id: int | None = None
    reason: str | None = None
    started_at: dt.datetime | None = None
    seen_at: dt.datetime | None = None


COLUMNS = ", ".join(field.name for field in fields(Worker))


def report(conn: psycopg.Connection, worker: Worker) -> None:
    """Say what a worker serves, and that it lives."""
    conn.execute(
        """INSERT INTO serving.worker (worker, bento_tag, code, deployment_id, refused_id, reason)
           VALUES (%s, %s, %s, %s, %s, %s)
           ON CONFLICT (worker) DO UPDATE SET
               bento_tag = excluded.bento_tag, code = excluded.code, deployment_id = excluded.deployment_id,
               refused_id = excluded.refused_id, reason = excluded.reason, seen_at = clock_timestamp()""",
        [worker.worker, worker.bento_tag, worker.code, worker.deployment_id, worker.refused_id, worker.reason],
    )


def forget(conn: psycopg.Connection, worker: str) -> None:
    """The worker has ended; also for what an earlier process of the same name has left. Unknown: nothing happens."""
    conn.execute("DELETE FROM serving.worker WHERE worker = %s", [worker])


def prune(conn: psycopg.Connection) -> int:
    """Forget who has been dead for a day; returns how many."""
    return conn.execute("DELETE FROM serving.worker WHERE seen_at < clock_timestamp() - %s", [KEPT]).rowcount


def live(url: str, seconds: float = LIVE_SECONDS) -> list[Worker]:
    """Who said something within the last `seconds`, by the database's clock; in order of their names."""
    with connect(url) as conn:
        return live_workers(conn, seconds)


def live_workers(conn: psycopg.Connection, seconds: float = LIVE_SECONDS) -> list[Worker]:
    """`live` on an open connection."""
    with conn.cursor(row_factory=class_row(Worker)) as cursor:
        return cursor.execute(
            f"SELECT {COLUMNS} FROM serving.worker"  # noqa: S608
            " WHERE seen_at > clock_timestamp() - make_interval(secs => %s) ORDER BY worker",
            [seconds],
        ).fetchall()
