"""What an operator does from the terminal: ingest files, ask the service, look at the state, roll back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from betting_assets.embedded.platform_lock import holder
from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.instance import environment, export
from betting_assets.modelling.markets import modelled_market
from betting_assets.settings import Settings, remember
from betting_assets.sources.source import configured_source
from betting_assets.streaming.status import stream_state
from betting_assets.terminal import Stages
from betting_assets.warehouse import deployments
from betting_assets.warehouse.bulk import read_frame
from betting_assets.warehouse.confirmation import await_workers
from betting_assets.warehouse.database import (
    create_databases,
    resolve_url,
    with_database,
    with_driver,
    without_password,
)
from betting_assets.warehouse.fixtures import upcoming_matches
from betting_assets.warehouse.migrate import migrate

if TYPE_CHECKING:
    from betting_assets.defs.launch import Outcome

START = "start the platform with `betting up`"
MOST_ASKED = 256
"""The service's limit for one request."""
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


def ingest_folder(settings: Settings, stages: Stages) -> dict[str, dict[str, int]]:
    """Run the job `ingest` over every league and season of `settings.data`; what changed, by table.

    Raises:
        SourceError: the folder or a league cannot be used; nothing was started.
        OperationError: the run failed, with its first error.
    """
    configured_source(settings.data, settings.leagues.split(","))
    with ExitStack() as stack:
        with stages.stage("database"):
            url = stack.enter_context(_database_for_a_while(settings))
        _refuse_two_worlds(url)
        outcome = _run_ingest(settings, stages)
    if outcome.failed_checks:
        told = "; ".join(f"{name}: {reason}" for name, reason in outcome.failed_checks.items())
        raise OperationError(f"stored, but no feature will be built on it, because checks failed: {told}")
    if not outcome.success:
        raise OperationError(f"nothing was stored: {outcome.error or 'the run was stopped'}")
    remember(settings.home, data=str(Path(str(settings.data)).resolve()), leagues=settings.leagues)
    counts = {
        name: {
            "rows": int(found["dagster/row_count"]),
            "inserted": int(found["inserted"]),
            "updated": int(found["updated"]),
        }
        for name, found in outcome.metadata.items()
    }
    rejected = int(outcome.metadata["match_results"]["rejected"])
    return counts | {"rejected": {"rows": rejected, "inserted": 0, "updated": 0}}


def _run_ingest(settings: Settings, stages: Stages) -> Outcome:
    with stages.stage("load the graph"):
        from betting_assets.definitions import build
        from betting_assets.defs.launch import Launcher, Stage, platform_instance
        from betting_assets.defs.resources import Platform

    platform = Platform(settings)
    with stages.stage("read and store"), platform_instance() as instance:
        return Launcher(build(platform), platform, instance).run(Stage("ingest", "ingest", all_partitions=True))


def _refuse_two_worlds(url: str) -> None:
    """Simulated and real matches in one platform would be rated, trained on and served together."""
    found = read_frame(url, "SELECT count(*) AS n FROM core.match WHERE source = 'simulator'")
    if int(found["n"].iloc[0]):
        raise OperationError(
            "this platform holds simulated matches: give real ones a folder of their own, BETTING_HOME"
        )


@contextmanager
def _database_for_a_while(settings: Settings) -> Iterator[str]:
    """The prepared database's URL; an embedded server that was not running is stopped again."""
    server = EmbeddedPostgres(settings.home / "postgres") if settings.database_url is None else None
    was_running = server is None or server.is_running()
    try:
        yield prepare(settings)
    finally:
        if server is not None and not was_running and holder(settings.home) is None:
            server.stop()


def ask(settings: Settings, market: str, match_ids: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The running service's answer as header and rows; no ids: all upcoming matches.

    Raises:
        OperationError: nothing listens, or there is nothing to predict.
        MatchOddsError: the service refused.
    """
    from bentos.match_odds.client import MatchOddsClient, UnreachableError

    spec = modelled_market(market)
    ids = list(match_ids) or upcoming_matches(running_database(settings))["match_id"].tolist()
    if not ids:
        raise OperationError("there is no upcoming match: ingest fixtures, or give match ids")
    rows: list[list[str]] = []
    try:
        key = settings.api_key.get_secret_value() if settings.api_key else None
        with MatchOddsClient(settings.serving_url, api_key=key, ca=settings.tls_certificate) as client:
            for first in range(0, len(ids), MOST_ASKED):
                answer = client.predict(spec.market.value, ids[first : first + MOST_ASKED])
                rows += [_row(one, len(spec.selections)) for one in answer.predictions]
    except UnreachableError as error:
        raise OperationError(f"no service answers on port {settings.serving_port} ({error}): {START}") from error
    except ValidationError as error:
        raise OperationError(
            f"what answers on port {settings.serving_port} is not the prediction service: choose another port with "
            "BETTING_SERVING_PORT"
        ) from error
    return ["match", *spec.selections, "fair odds", "variant", "features as of"], rows


def state(settings: Settings) -> dict[str, str]:
    """What is stored, deployed and answering, for people."""
    from bentos.match_odds.client import MatchOddsClient

    told = {"state folder": str(settings.home)}
    try:
        url = running_database(settings)
    except OperationError as error:
        return {**told, "database": str(error)}
    told["database"] = without_password(url)
    counts = read_frame(
        url,
        """SELECT (SELECT count(*) FROM core.match) AS matches, (SELECT count(*) FROM core.result) AS results,
                  (SELECT count(*) FROM core.book) AS books, (SELECT count(*) FROM raw.rejected_row) AS rejected,
                  (SELECT count(*) FROM serving.prediction_log WHERE role = 'champion') AS predictions""",
    ).iloc[0]
    told |= {str(name): f"{int(value):,}" for name, value in counts.items()}
    told |= stream_state(url, settings)
    current, previous = deployments.current(url), deployments.previous(url)
    told["current deployment"] = _deployment(current)
    told["rollback would return to"] = _deployment(previous)
    with MatchOddsClient(settings.serving_url, ca=settings.tls_certificate, timeout=2.0) as client:
        answers = client.ready()
    told["service"] = f"ready on port {settings.serving_port}" if answers else "not answering"
    return told


def roll_back(settings: Settings) -> str:
    """Move the pointer back, and the registry's champions with it; wait until every worker serves it.

    Works also while the platform is down, as it may be because what is current cannot start.
    """
    if settings.database_url is None and not EmbeddedPostgres(settings.home / "postgres").exists():
        raise OperationError(f"{settings.home} holds no platform, so there is nothing to roll back: {START}")
    with _database_for_a_while(settings) as url:
        return _roll_back(settings, url)


def _roll_back(settings: Settings, url: str) -> str:
    from bentos.match_odds.deploying.follower import is_followed
    from betting_assets.modelling.registry import Registry

    now = deployments.roll_back(url, f"rolled back by hand at {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC")
    registry = Registry(with_driver(with_database(url, "mlflow"), "psycopg2"))
    for market, name in now.market_versions.items():
        registry.make_champion(market, name.rpartition("/")[2])
    served = await_workers(url, now.id, SERVED_WITHIN, supervised=is_followed(url))
    if not served.is_served:
        raise OperationError(
            f"{now.bento_tag} is current again, but {served.why}, after {served.seconds:.0f} s: "
            "see `betting status` and the logs"
        )
    if not served.confirmed:
        return f"{now.bento_tag} is current again; no service is running"
    return (
        f"{now.bento_tag} is current again, and serves on port {settings.serving_port}: "
        f"{served.why}, after {served.seconds:.1f} s"
    )


def running_database(settings: Settings) -> str:
    if settings.database_url is None and not EmbeddedPostgres(settings.home / "postgres").is_running():
        raise OperationError(f"the embedded PostgreSQL is not running: {START}")
    url = resolve_url(settings)
    if read_frame(url, "SELECT to_regclass('serving.deployment') IS NULL AS missing")["missing"].iloc[0]:
        raise OperationError(f"{without_password(url)} has no tables of the platform yet: {START}")
    return url


def _deployment(deployment: deployments.Deployment | None) -> str:
    if deployment is None:
        return "none"
    versions = ", ".join(deployment.market_versions.values())
    return f"{deployment.bento_tag} ({versions}), made current {deployment.made_current_at:%Y-%m-%d %H:%M} UTC"


def _row(one: Any, selections: int) -> list[str]:
    known_at = f"{one.feature_time:%Y-%m-%d %H:%M}" if one.feature_time else ""
    if not one.probabilities:
        return [str(one.match_id), *([""] * selections), "", one.withheld.detail if one.withheld else "", known_at]
    odds = "  ".join(f"{price:.2f}" for price in one.fair_odds)
    return [str(one.match_id), *(f"{p:.3f}" for p in one.probabilities), odds, one.variant, known_at]
