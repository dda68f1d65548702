"""What an operator does from the terminal: ingest files, ask the service, look at the state, roll back."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Sequence
from typing import Any

from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.instance import environment, export
from betting_assets.modelling.markets import modelled_market
from betting_assets.settings import Settings
from betting_assets.warehouse import deployments
from betting_assets.warehouse.bulk import read_frame
from betting_assets.warehouse.database import (
    create_databases,
    resolve_url,
    with_database,
    with_driver,
    without_password,
)
from betting_assets.warehouse.fixtures import upcoming_matches
from betting_assets.warehouse.migrate import migrate

SERVED_WITHIN = 60.0


class OperationError(RuntimeError):
    """What was asked for cannot be done now; the message is one line that says why and what to do."""


def prepare(settings: Settings) -> str:
    """Database up and migrated, environment set for every process started from here; returns the database's URL."""
    url = resolve_url(settings)
    create_databases(url)
    migrate(url)
    export(environment(settings, url))
    return url


def ingest_folder(settings: Settings) -> dict[str, dict[str, int]]:
    """Run the job `ingest` over every league and season of `settings.data`; what changed, by table.

    Raises:
        OperationError: the run failed, with its first error.
    """
    from betting_assets.definitions import build
    from betting_assets.defs.launch import Launcher, Stage, platform_instance
    from betting_assets.defs.resources import Platform

    platform = Platform(settings)
    platform.source.partitions()  # a wrong folder is told before anything is started
    prepare(settings)
    _log_to(settings)
    with platform_instance() as instance:
        stage = Stage("ingest", "ingest", all_partitions=True)
        outcome = Launcher(build(platform), platform, instance).run(stage)
    if not outcome.success:
        raise OperationError(outcome.error or f"refused by {outcome.failed_checks}")
    return {
        name: {
            "rows": int(found["dagster/row_count"]),
            "inserted": int(found["inserted"]),
            "updated": int(found["updated"]),
        }
        for name, found in outcome.metadata.items()
    } | {"rejected": {"rows": int(outcome.metadata["match_results"]["rejected"]), "inserted": 0, "updated": 0}}


def ask(settings: Settings, market: str, match_ids: Sequence[str]) -> list[tuple[str, str, str, str, str]]:
    """The running service's answer: match, variant, probabilities, fair odds, feature time; no ids: all upcoming.

    Raises:
        OperationError: nothing listens, or there is nothing to predict.
        MatchOddsError: the service refused.
    """
    import httpx

    from bentos.match_odds.client import MatchOddsClient

    market = modelled_market(market).market.value
    ids = list(match_ids) or upcoming_matches(_running_database(settings))["match_id"].tolist()
    if not ids:
        raise OperationError("there is no upcoming match: ingest fixtures, or give match ids")
    rows = []
    try:
        with MatchOddsClient(f"http://127.0.0.1:{settings.serving_port}") as client:
            for first in range(0, len(ids), 256):
                answer = client.predict(market, ids[first : first + 256])
                rows += [_row(answer.selections, one) for one in answer.predictions]
    except httpx.TransportError as error:
        raise OperationError(
            f"no service answers on port {settings.serving_port} ({error}): start it with `betting up`"
        ) from error
    return rows


def state(settings: Settings) -> dict[str, str]:
    """What is stored, deployed and answering, for people."""
    from bentos.match_odds.client import MatchOddsClient

    told = {"state folder": str(settings.home)}
    if settings.database_url is None and not EmbeddedPostgres(settings.home / "postgres").is_running():
        return {**told, "database": "the embedded PostgreSQL is not running: start the platform with `betting up`"}
    url = resolve_url(settings)
    told["database"] = without_password(url)
    counts = read_frame(
        url,
        """SELECT (SELECT count(*) FROM core.match) AS matches, (SELECT count(*) FROM core.result) AS results,
                  (SELECT count(*) FROM core.book) AS books, (SELECT count(*) FROM raw.rejected_row) AS rejected,
                  (SELECT count(*) FROM serving.prediction_log) AS predictions""",
    ).iloc[0]
    told |= {str(name): f"{int(value):,}" for name, value in counts.items()}
    current, previous = deployments.current(url), deployments.previous(url)
    told["current deployment"] = _deployment(current)
    told["rollback would return to"] = _deployment(previous)
    with MatchOddsClient(f"http://127.0.0.1:{settings.serving_port}", timeout=2.0) as client:
        answers = client.ready()
    told["service"] = f"ready on port {settings.serving_port}" if answers else "not answering"
    return told


def roll_back(settings: Settings) -> str:
    """Move the pointer back, and the registry's champions with it; wait for the service where one follows."""
    from bentos.match_odds.follower import is_followed
    from betting_assets.modelling.registry import Registry

    url = _running_database(settings)
    now = deployments.roll_back(url, f"rolled back by hand at {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC")
    registry = Registry(with_driver(with_database(url, "mlflow"), "psycopg2"))
    for market, name in now.market_versions.items():
        registry.make_champion(market, name.rpartition("/")[2])
    if not is_followed(url):
        return f"{now.bento_tag} is current again; no service is running"
    _wait_until_served(settings.serving_port, now.bento_tag)
    return f"{now.bento_tag} is current again, and serves on port {settings.serving_port}"


def _wait_until_served(port: int, tag: str) -> None:
    import httpx

    from bentos.match_odds.client import MatchOddsClient, MatchOddsError

    deadline = time.monotonic() + SERVED_WITHIN
    while time.monotonic() < deadline:
        try:
            with MatchOddsClient(f"http://127.0.0.1:{port}", timeout=2.0) as client:
                if client.models().bento == tag:
                    return
        except (httpx.TransportError, MatchOddsError):
            pass  # between two Bentos nothing listens; the deadline bounds the wait
        time.sleep(0.5)
    raise OperationError(f"{tag} is current, but port {port} does not serve it yet: see `betting status` and the logs")


def _running_database(settings: Settings) -> str:
    if settings.database_url is None and not EmbeddedPostgres(settings.home / "postgres").is_running():
        raise OperationError("the embedded PostgreSQL is not running: start the platform with `betting up`")
    return resolve_url(settings)


def _deployment(deployment: deployments.Deployment | None) -> str:
    if deployment is None:
        return "none"
    versions = ", ".join(deployment.market_versions.values())
    return f"{deployment.bento_tag} ({versions}), made current {deployment.made_current_at:%Y-%m-%d %H:%M} UTC"


def _row(selections: Sequence[str], one: Any) -> tuple[str, str, str, str, str]:
    chances = "  ".join(f"{name} {p:.3f}" for name, p in zip(selections, one.probabilities, strict=True))
    odds = "  ".join(f"{price:.2f}" for price in one.fair_odds)
    return (
        str(one.match_id),
        one.variant,
        chances,
        odds,
        f"{one.feature_time:%Y-%m-%d %H:%M}" if one.feature_time else "",
    )


def _log_to(settings: Settings) -> None:
    """The libraries' log goes to a file; the terminal is for the answer."""
    path = settings.home / "logs" / "operate.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=path, level=logging.INFO, force=True)
    logging.captureWarnings(True)
