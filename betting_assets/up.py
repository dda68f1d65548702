"""The platform in the foreground: databases, Dagster, MLflow and the prediction service, until Ctrl-C."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack

from rich.console import Console

from betting_assets.embedded.broker_process import answers
from betting_assets.embedded.platform_lock import PlatformLock
from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.embedded.supervisor import Service, ServiceFailedError, Supervisor
from betting_assets.operate import prepare
from betting_assets.settings import PROJECT_ROOT, Settings
from betting_assets.streaming.kafka import servers
from betting_assets.warehouse.database import with_database, with_driver
from betting_assets.warehouse.deployments import current

HOST = "127.0.0.1"


def run(settings: Settings, out: Console) -> None:
    """Start everything, say where it is, and block until Ctrl-C or until a service fails for good.

    Raises:
        PlatformLockError, PortsError, ServiceFailedError: one line that says what is in the way.
    """
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    home = settings.home.resolve()
    if settings.proxy:
        _find_proxy()
    with ExitStack() as stack:
        stack.enter_context(PlatformLock(home, _ports(settings)))
        out.print("starting PostgreSQL …")
        if settings.database_url is None:
            stack.callback(EmbeddedPostgres(home / "postgres").stop)
        url = prepare(settings)
        _end_interrupted_runs()
        out.print("starting MLflow, Dagster and the prediction service …")
        waiting = stack.enter_context(out.status("this takes about half a minute"))

        def ready() -> None:
            waiting.stop()
            _tell(settings, url, out)

        Supervisor(_services(settings, url), home, on_ready=ready).run()
    out.print("stopped; everything is stored, `betting up` resumes")


def _end_interrupted_runs() -> None:
    """Runs of a platform that was killed would hold their slots for ever; nobody else runs any, we hold the lock."""
    from betting_assets.defs.launch import fail_interrupted_runs, platform_instance

    with platform_instance() as instance:
        for run in fail_interrupted_runs(instance):
            logging.getLogger(__name__).warning("run %s was interrupted when the platform stopped: failed", run)


def _find_proxy() -> None:
    """Say at once what the follower would find out half a minute later."""
    from bentos.match_odds.deploying.haproxy import HAProxyError, find_haproxy

    try:
        find_haproxy()
    except HAProxyError as error:
        raise ServiceFailedError(str(error)) from error


def _ports(settings: Settings) -> dict[str, int]:
    own = {} if settings.kafka_servers else {"kafka": settings.kafka_port}
    return own | {
        "dagster": settings.dagster_port,
        "mlflow": settings.mlflow_port,
        "serving": settings.serving_port,
        "grpc": settings.grpc_port,
    }


def _services(settings: Settings, url: str) -> list[Service]:
    """In order of need: stopped in reverse. Passwords go by the environment, where `ps` does not show them."""
    workspace = str(PROJECT_ROOT / "workspace.yaml")
    python = [sys.executable, "-m"]
    tracking = with_driver(with_database(url, "mlflow"), "psycopg2")
    return [
        *_broker(settings),
        Service(
            "mlflow",
            [*python, "mlflow", "server", "--host", HOST, "--port", str(settings.mlflow_port), "--workers", "1"],
            # Without its job runner MLflow is two processes instead of ten.
            {
                "MLFLOW_BACKEND_STORE_URI": tracking,
                "MLFLOW_DEFAULT_ARTIFACT_ROOT": (settings.home.resolve() / "mlflow").as_uri(),
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
            ready_url=f"http://{HOST}:{settings.mlflow_port}/health",
            start_seconds=120,
        ),
        Service(
            "dagster-daemon",
            [*python, "dagster._daemon", "run", "-w", workspace],
            {},
            ready_url=None,
            start_seconds=120,
        ),
        Service(
            "dagster-webserver",
            [*python, "dagster_webserver", "-h", HOST, "-p", str(settings.dagster_port), "-w", workspace],
            {},
            ready_url=f"http://{HOST}:{settings.dagster_port}/server_info",
            start_seconds=120,
        ),
        # It may be just between two Bentos, each of which drains for a while.
        Service("serving", [*python, "bentos.match_odds.deploying.follower"], {}, ready_url=None, stop_seconds=40),
        Service("lander", [*python, "betting_assets", "stream", "land"]),
        Service("scorer", [*python, "betting_assets", "stream", "score"]),
        *_feed(settings),
    ]


def _broker(settings: Settings) -> list[Service]:
    """The embedded development broker, where the settings name no other."""
    if settings.kafka_servers:
        return []
    folder = str(settings.home.resolve() / "kafka")
    command = ["betting_assets.embedded.kafka", "--folder", folder, "--port", str(settings.kafka_port)]
    port = settings.kafka_port
    return [Service("kafka", [sys.executable, "-m", *command], ready=lambda: answers(port))]


def _feed(settings: Settings) -> list[Service]:
    """What puts odds on the topics, where the settings ask for it."""
    if not settings.live_feed:
        return []
    return [Service("feed", [sys.executable, "-m", "betting_assets", "stream", "feed"])]


def _kind_of_broker(settings: Settings) -> str:
    return "as set" if settings.kafka_servers else "the embedded development broker"


def _tell(settings: Settings, url: str, out: Console) -> None:
    deployed = current(url)
    secure = "s" if settings.tls_certificate else ""
    http, grpc = f"http{secure}://{HOST}:{settings.serving_port}", f"grpc{secure}://{HOST}:{settings.grpc_port}"
    out.print(f"Dagster    http://{HOST}:{settings.dagster_port}   lineage, runs, backfills")
    out.print(f"Kafka      {servers(settings)}   {_kind_of_broker(settings)}")
    out.print(f"MLflow     http://{HOST}:{settings.mlflow_port}   runs, models, aliases")
    if deployed is None:
        out.print("Service    nothing is deployed yet: it starts with the first deployment")
        out.print(
            "Next: `betting ingest DIR` reads your football-data.co.uk files (or start the sensor `new_partitions`"
        )
        out.print("      for the simulator); features, models and the service follow by themselves.")
    else:
        out.print(f"HTTP       {http}   {deployed.bento_tag}; POST /v1/predict, /v1/score, GET /v1/watch, /v1/models")
        out.print(f"Board      {http}/board   the market against the models, live")
        out.print(f"gRPC       {grpc}   the same, betting.v1.MatchOdds")
        out.print("Next: `betting predict` asks it for every upcoming match; `betting status` tells what is stored.")
    out.print(f"Logs are in {settings.home / 'logs'}. Ctrl-C stops all of it.")
