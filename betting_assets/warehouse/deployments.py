"""The log of deployments and its state machine; at most one deployment is current, and every worker follows it.

starting → healthy → current → retired. Refused: it failed its checks (starting, healthy) or was rolled back (current).
Every change takes one lock, is one transaction, and is told to listeners of the channel `betting_deployment`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from betting_assets.warehouse.database import connect

CHANNEL = "betting_deployment"


class DeploymentError(RuntimeError):
    """A change that the state machine does not allow; the message says from where to where, and what to do."""


@dataclass(frozen=True)
class Deployment:
    """One row of serving.deployment; times are UTC. `code` is the digest of the Bento's code, "" where unknown."""

    id: int
    bento_tag: str
    code: str
    market_versions: dict[str, str]
    status: str
    reason: str | None
    known_answers: Any
    created_at: dt.datetime
    made_current_at: dt.datetime | None


@dataclass(frozen=True)
class Pointer:
    """Which deployment is current, and since when: one that comes back is another pointer."""

    id: int
    bento_tag: str
    code: str
    made_current_at: dt.datetime


COLUMNS = ", ".join(field.name for field in fields(Deployment))
POINTER_COLUMNS = ", ".join(field.name for field in fields(Pointer))


def propose(
    url: str,
    bento_tag: str,
    market_versions: Mapping[str, str],
    known_answers: Sequence[Any] | Mapping[str, Any],
    code: str = "",
) -> int:
    """Enter a new deployment as `starting`; returns its id."""
    with _turn(url) as conn:
        row = conn.execute(
            "INSERT INTO serving.deployment (bento_tag, code, market_versions, status, known_answers)"
            " VALUES (%s, %s, %s, 'starting', %s) RETURNING id",
            [bento_tag, code, Jsonb(dict(market_versions)), Jsonb(known_answers)],
        ).fetchone()
        assert row is not None
        return int(row[0])


def mark_healthy(url: str, deployment: int) -> None:
    """starting → healthy: it gave the known answers. Healthy already: nothing happens."""
    with _turn(url) as conn:
        if _status(conn, deployment, "healthy", "starting") != "healthy":
            _set(conn, deployment, "healthy")


def make_current(url: str, deployment: int) -> None:
    """healthy → current, and the current one → retired, in one transaction. Current already: nothing happens."""
    with _turn(url) as conn:
        if _status(conn, deployment, "current", "healthy") == "current":
            return
        if (old := _one(conn, "status = 'current'")) is not None:
            _set(conn, old.id, "retired", f"followed by deployment {deployment}")
        _put_live(conn, deployment)


def refuse(url: str, deployment: int, reason: str) -> None:
    """starting or healthy → refused. The current one cannot be refused: roll it back."""
    with _turn(url) as conn:
        _status(conn, deployment, "starting", "healthy")
        _set(conn, deployment, "refused", reason)


def roll_back(url: str, reason: str = "rolled back") -> Deployment:
    """current → refused, and the one before it live again, in one transaction; returns that one.

    Done again, it goes one further back. Raises DeploymentError when there is nothing to go back to.
    """
    with _turn(url) as conn:
        old = _one(conn, "status = 'current'")
        if old is None or _one(conn, "status = 'retired'") is None:
            raise DeploymentError("there is no earlier deployment to roll back to: deploy a Bento first")
        now = _step_back(conn, old.id, reason)
        assert now is not None
        return now


def withdraw(url: str, deployment: int, reason: str) -> Deployment | None:
    """Roll `deployment` back, if it is still the current one; returns what is current then, None: nothing.

    Unlike `roll_back` it never touches another deployment, and the first one can be withdrawn too.
    """
    with _turn(url) as conn:
        _status(conn, deployment, "current")
        return _step_back(conn, deployment, reason)


def current(url: str) -> Deployment | None:
    """The deployment that serves, if any."""
    with connect(url) as conn:
        return _one(conn, "status = 'current'")


def pointer(conn: psycopg.Connection) -> Pointer | None:
    """What `current` says, without what is heavy: for those who look every second."""
    with conn.cursor(row_factory=class_row(Pointer)) as cursor:
        return cursor.execute(
            f"SELECT {POINTER_COLUMNS} FROM serving.deployment WHERE status = 'current'"  # noqa: S608
        ).fetchone()


def find(conn: psycopg.Connection, deployment: int) -> Deployment | None:
    """One deployment by its number."""
    return _one(conn, "id = %s", deployment)


def previous(url: str) -> Deployment | None:
    """The deployment that `roll_back` would bring back, if any."""
    with connect(url) as conn:
        return _one(conn, "status = 'retired'")


def history(url: str, limit: int = 100) -> list[Deployment]:
    """The newest `limit` deployments, newest first."""
    with connect(url) as conn, conn.cursor(row_factory=class_row(Deployment)) as cursor:
        return cursor.execute(
            f"SELECT {COLUMNS} FROM serving.deployment ORDER BY id DESC LIMIT %s",  # noqa: S608
            [limit],
        ).fetchall()


@contextmanager
def _turn(url: str) -> Iterator[psycopg.Connection]:
    """One transaction that has the state machine for itself."""
    with connect(url) as conn:
        conn.execute("SELECT pg_advisory_xact_lock(hashtext('serving.deployment'))")
        yield conn


def _status(conn: psycopg.Connection, deployment: int, *allowed: str) -> str:
    row = conn.execute("SELECT status FROM serving.deployment WHERE id = %s", [deployment]).fetchone()
    if row is None:
        raise DeploymentError(f"there is no deployment {deployment}: `propose` one first")
    if row[0] not in allowed:
        raise DeploymentError(f"deployment {deployment} is {row[0]}, it must be {' or '.join(allowed)}")
    return str(row[0])


def _set(conn: psycopg.Connection, deployment: int, status: str, reason: str | None = None) -> None:
    conn.execute("UPDATE serving.deployment SET status = %s, reason = %s WHERE id = %s", [status, reason, deployment])
    conn.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(deployment)])


def _put_live(conn: psycopg.Connection, deployment: int) -> None:
    _set(conn, deployment, "current")
    conn.execute("UPDATE serving.deployment SET made_current_at = clock_timestamp() WHERE id = %s", [deployment])


def _step_back(conn: psycopg.Connection, deployment: int, reason: str) -> Deployment | None:
    """Refuse the current `deployment`, and make the one before it current, where there is one."""
    before = _one(conn, "status = 'retired'")
    _set(conn, deployment, "refused", reason)
    if before is None:
        return None
    _put_live(conn, before.id)
    return _one(conn, "status = 'current'")


def _one(conn: psycopg.Connection, condition: str, *values: Any) -> Deployment | None:
    """The deployment for which `condition` holds that went live last."""
    with conn.cursor(row_factory=class_row(Deployment)) as cursor:
        return cursor.execute(
            f"SELECT {COLUMNS} FROM serving.deployment WHERE {condition}"  # noqa: S608
            " ORDER BY made_current_at DESC NULLS LAST, id DESC LIMIT 1",
            values,
        ).fetchone()
