"""Whether the workers have taken a deployment: what `live_deployment` and `betting rollback` wait for."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psycopg

from betting_assets.warehouse import deployments
from betting_assets.warehouse.database import connect
from betting_assets.warehouse.deployments import Deployment, DeploymentError
from betting_assets.warehouse.workers import Worker, live_workers

LOOK = 0.2
"""Seconds between two looks at the table."""


@dataclass(frozen=True)
class Confirmation:
    """How far one deployment is served.

    Attributes:
        deployment: its row at that moment.
        confirmed: workers that serve it.
        refused: workers that should, and do not, with their reasons.
        missing: workers that will serve it, or will be replaced, but not yet.
        others: workers of other code, where nobody is there to replace them.
        supervised: somebody keeps the service running, so there must be a worker that serves.
        seconds: how long it was waited for.
    """

    deployment: Deployment
    confirmed: tuple[Worker, ...]
    refused: tuple[Worker, ...]
    missing: tuple[Worker, ...]
    others: tuple[Worker, ...]
    supervised: bool
    seconds: float = 0.0

    @property
    def is_current(self) -> bool:
        return self.deployment.status == "current"

    @property
    def is_served(self) -> bool:
        """Every worker serves it; also where nobody serves, and nobody should."""
        whole = self.is_current and not self.refused and not self.missing
        return whole and (bool(self.confirmed) or not self.supervised)

    @property
    def why(self) -> str:
        """One line: why it is not served, or by whom it is."""
        if not self.is_current:
            return f"it is {self.deployment.status}: {self.deployment.reason or 'another one is current'}"
        if self.refused:
            return "refused by " + "; ".join(f"worker {one.worker}: {one.reason}" for one in self.refused)
        if self.missing:
            return f"not yet served by worker {', '.join(one.worker for one in self.missing)}"
        if self.confirmed:
            return f"served by worker {', '.join(one.worker for one in self.confirmed)}"
        return "no worker runs"


def await_workers(url: str, deployment: int, seconds: float, *, supervised: bool) -> Confirmation:
    """Wait until every live worker serves the current `deployment`; no longer than it takes to know that one refuses.

    Workers of its code load its models themselves. For workers of other code there must be a supervisor, who starts
    the new code and ends them.

    Args:
        supervised: whether there is one.

    Returns:
        How things stood when it was served, refused or not current any more, or when `seconds` were over.
    """
    began = time.monotonic()
    with connect(url, autocommit=True) as conn:
        while True:
            found = _look(conn, deployment, supervised, time.monotonic() - began)
            if found.is_served or found.refused or not found.is_current or found.seconds > seconds:
                return found
            time.sleep(LOOK)


def _look(conn: psycopg.Connection, deployment: int, supervised: bool, seconds: float) -> Confirmation:
    row = deployments.find(conn, deployment)
    if row is None:
        raise DeploymentError(f"there is no deployment {deployment}: `propose` one first")
    workers = live_workers(conn)
    ours = [one for one in workers if one.code == row.code]
    others = tuple(one for one in workers if one.code != row.code)
    confirmed = tuple(one for one in ours if one.deployment_id == deployment)
    refused = tuple(one for one in ours if one.refused_id == deployment)
    missing = tuple(one for one in ours if one not in confirmed and one not in refused)
    if supervised:
        missing, others = missing + others, ()
    return Confirmation(row, confirmed, refused, missing, others, supervised, seconds)
