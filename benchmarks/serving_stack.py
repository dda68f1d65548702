"""The service as it runs in earnest, in a temporary folder: PostgreSQL, online store, a Bento with two workers."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import serving_models
from serving_generator import GRPC, HTTP
from serving_load import Target
from serving_models import Matches, in_turn

from bentos.match_odds.client import MatchOddsClient
from bentos.match_odds.deploying.build import bento_code, build_bento
from bentos.match_odds.deploying.runner import RunningBento
from bentos.match_odds.model.known_answers import KnownAnswer
from betting_assets.embedded.ports import free_port
from betting_assets.embedded.postgres import EmbeddedPostgres
from betting_assets.modelling.bundle import Bundle
from betting_assets.modelling.markets import MARKETS
from betting_assets.warehouse import deployments
from betting_assets.warehouse.features import write_feature_table
from betting_assets.warehouse.migrate import migrate

MATCHES = 300
MARKET = "1x2"
WORKERS = 2
HTTP_PATH, GRPC_PATH = "/v1/predict", "/betting.v1.MatchOdds/Predict"
DISTINCT = 600
"""Requests that are sent in turn."""


@dataclass(frozen=True)
class Model:
    """One Bento: its models and their answers. `versions`: market → name of the version in answers."""

    tag: str
    code: str
    versions: Mapping[str, str]
    known: list[KnownAnswer]
    bundles: Mapping[str, Bundle]
    folders: Mapping[str, Path]


@dataclass(frozen=True)
class Stack:
    home: Path
    url: str
    postgres_pid: int
    matches: Matches
    models: tuple[Model, ...]

    def expected(self, model: int = 0) -> dict[str, list[float]]:
        """Match → probabilities, worked out in this process."""
        return serving_models.expected(dict(self.models[model].bundles), MARKET, self.matches)

    def deploy(self, model: Model) -> int:
        """Make it current, as the asset graph does."""
        known = [answer.model_dump(mode="json") for answer in model.known]
        number = deployments.propose(self.url, model.tag, model.versions, known, model.code)
        deployments.mark_healthy(self.url, number)
        deployments.make_current(self.url, number)
        return number

    @contextlib.contextmanager
    def bento(self, *, follow: bool = False, name: str = "benchmark") -> Iterator[RunningBento]:
        """The first model's Bento with all its workers ready."""
        tag, port, grpc_port = self.models[0].tag, free_port(), free_port()
        running = RunningBento(
            tag, port, self.home, self.url, grpc_port=grpc_port, workers=WORKERS, follow=follow, name=name
        )
        with running:
            wait_for_workers(running)
            yield running


@contextlib.contextmanager
def stack(models: int = 2) -> Iterator[Stack]:
    """PostgreSQL with the features of `MATCHES` upcoming matches, and Bentos of so many different models."""
    with _folder() as folder, _postgres(folder) as (url, pid):
        home = folder / "home"
        os.environ |= {"BETTING_HOME": str(home), "BETTING_HOLD_BACK": "false"}  # before the settings are first read
        migrate(url)
        say("training models and building Bentos")
        made = tuple(_model(folder, home, seed) for seed in range(1, models + 1))
        matches = serving_models.upcoming(MATCHES)
        _fill_store(url, matches)
        yield Stack(home, url, pid, matches, made)


def predict_target(name: str, protocol: str, port: int, ids: list[str], size: int = 1) -> Target:
    """Questions for `size` matches each, by id. An answer without probabilities counts as failed."""
    questions = in_turn(ids, size, DISTINCT)
    if protocol == HTTP:
        bodies = [json.dumps(_question(ids)).encode() for ids in questions]
        return Target(name, HTTP, port, HTTP_PATH, bodies, b'"probabilities":[0.', size)
    from bentos.match_odds.proto.match_odds_pb2 import Prediction, PredictRequest

    bodies = [PredictRequest(market=MARKET, match_ids=ids).SerializeToString() for ids in questions]
    sign = Prediction(probabilities=[0.0] * len(MARKETS[MARKET].selections)).SerializeToString()[:2]
    return Target(name, GRPC, port, GRPC_PATH, bodies, sign, size)


def check(url: str, expected: Mapping[str, list[float]]) -> None:
    """Ask for every match: only right answers are worth timing.

    Raises:
        AssertionError: an answer differs from what the model says in this process.
    """
    with MatchOddsClient(url, timeout=30.0) as client:
        for match_id, probabilities in expected.items():
            found = client.predict(MARKET, [match_id]).predictions[0]
            assert found.probabilities == probabilities, f"{url}: the answer for {match_id} differs: {found.withheld}"


def _question(ids: list[str]) -> dict[str, object]:
    return {"market": MARKET, "match_ids": ids}


def wait_for_workers(running: RunningBento, seconds: float = 60.0) -> None:
    """Until every worker listens for gRPC: the Bento counts as ready with its first one."""
    import psutil

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        listening = 0
        for pid in running.worker_pids():
            with contextlib.suppress(psutil.NoSuchProcess):
                connections = psutil.Process(pid).net_connections("tcp")
                listening += any(c.status == "LISTEN" and c.laddr.port == running.grpc_port for c in connections)
        if listening >= WORKERS:
            return
        time.sleep(0.2)
    raise RuntimeError(f"{WORKERS} workers were not ready within {seconds:.0f} s: see {running.log}")


def say(text: str) -> None:
    print(f"... {text}", flush=True)


def _model(folder: Path, home: Path, seed: int) -> Model:
    folders, known, bundles = serving_models.save(folder / "models" / str(seed), seed)
    versions = {market: str(100 + seed) for market in folders}
    tag = build_bento(folders, versions, known, home)
    return Model(tag, bento_code(tag, home), versions, known, bundles, folders)


def _fill_store(url: str, matches: Matches) -> None:
    from feature_repo.operations import apply_definitions, materialize_upcoming
    from feature_repo.store import feature_store, forget

    write_feature_table(url, "match_strength", matches.strength)
    write_feature_table(url, "match_market", matches.market)
    store = feature_store(url)
    apply_definitions(store)
    now = pd.Timestamp.now("UTC").to_pydatetime()
    with contextlib.redirect_stdout(io.StringIO()):  # Feast tells of every view
        materialize_upcoming(store, now - pd.Timedelta(days=1), now)
    forget()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="betting-benchmark-"))
    folder.chmod(0o755)  # for the server's own user, when root runs this
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _postgres(folder: Path) -> Iterator[tuple[str, int]]:
    server = EmbeddedPostgres(folder / "postgres")
    try:
        url = server.start()
        assert server.pid is not None
        yield url, server.pid
    finally:
        server.delete()
