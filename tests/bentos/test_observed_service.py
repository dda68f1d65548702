"""A real Bento, two workers, with keys, TLS and a trace collector: who gets in, what is counted, logged and traced."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from invented_certificate import self_signed
from invented_models import free_port
from trace_collector import Collector

from bentos.match_odds.client import MatchOddsClient, MatchOddsError
from bentos.match_odds.deploying.runner import RunningBento
from bentos.match_odds.front.api_keys import key_line, new_key
from bentos.match_odds.front.tls import TlsFiles
from bentos.match_odds.worker import LOOK
from betting_assets.modelling.bundle import Bundle

pytestmark = pytest.mark.services
HTTP_CALLS, GRPC_CALLS = 60, 45


@dataclass(frozen=True)
class Observed:
    bento: RunningBento
    collector: Collector
    key: str
    ca: Path

    def client(self, url: str, key: str | None) -> MatchOddsClient:
        return MatchOddsClient(url, api_key=key, ca=self.ca)

    def http(self, key: str | None) -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        trust = ssl.create_default_context(cafile=str(self.ca))
        return httpx.Client(base_url=self.bento.url, headers=headers, verify=trust)

    def counts(self) -> dict[tuple[str, str, str], int]:
        """(protocol, method, code) → requests so far, of both workers; each tells its own after a moment."""
        time.sleep(3 * LOOK)
        with self.http(self.key) as http:
            text = http.get("/metrics").text
        line = re.compile(r'betting_requests_total\{code="(\w+)",method="(\w+)",protocol="(\w+)"\} (\S+)')
        return {(p, m, c): int(float(n)) for c, m, p, n in line.findall(text)}


@pytest.fixture(scope="module")
def observed(tag: str, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    folder = tmp_path_factory.mktemp("observed")
    key, files, keys, collector = new_key(), self_signed(folder, "server"), folder / "keys", Collector()
    keys.write_text(key_line("test", key))
    keys.chmod(0o600)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BETTING_OTLP_ENDPOINT", collector.url)
        tls = TlsFiles(files.certificate, files.key)
        bento = RunningBento(tag, free_port(), home, workers=2, tls=tls, api_keys=keys, name="observed")
        try:
            with bento:
                yield Observed(bento, collector, key, files.certificate)
        finally:
            collector.close()


@pytest.fixture(scope="module")
def features(trained: dict[str, tuple[Bundle, pd.DataFrame]]) -> dict[str, Any]:
    bundle, table = trained["1x2"]
    cells = table.head(1)[list(bundle.features)].astype(object).where(lambda frame: frame.notna(), None)
    found: dict[str, Any] = cells.to_dict("records")[0]
    return found


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_nobody_gets_in_without_a_key(observed: Observed, features: dict[str, Any], protocol: str) -> None:
    url = observed.bento.url if protocol == "http" else observed.bento.grpc_url
    for key in (None, new_key()):
        with observed.client(url, key) as client, pytest.raises(MatchOddsError) as refused:
            client.score("1x2", [features])
        assert refused.value.status == 401
    with observed.client(url, observed.key) as client:
        assert client.score("1x2", [features]).predictions[0].probabilities


def test_pages_ask_for_the_key_and_probes_do_not(observed: Observed) -> None:
    with observed.http(None) as http:
        assert [http.get(page).status_code for page in ("/metrics", "/docs.json", "/v1/models")] == [401] * 3
        assert [http.get(probe).status_code for probe in ("/livez", "/readyz")] == [200] * 2


def test_every_request_to_any_worker_is_counted_once(observed: Observed, features: dict[str, Any]) -> None:
    before = observed.counts()
    for number in range(HTTP_CALLS):
        with observed.http(None if number % 3 == 0 else observed.key) as http:  # a connection each, so to both workers
            http.post("/v1/score", json={"market": "1x2", "rows": [{"features": features}] if number % 2 else []})
    for number in range(GRPC_CALLS):
        key = observed.key if number % 3 else None
        refused = nullcontext() if key else pytest.raises(MatchOddsError)
        with observed.client(observed.bento.grpc_url, key) as client, refused:
            client.score("1x2", [features])
    after = observed.counts()

    def more(*labels: str) -> int:
        return after.get((labels[0], labels[1], labels[2]), 0) - before.get((labels[0], labels[1], labels[2]), 0)

    assert more("http", "score", "401") == HTTP_CALLS // 3
    assert more("http", "score", "200") == HTTP_CALLS // 3
    assert more("http", "score", "400") == HTTP_CALLS // 3
    assert more("grpc", "score", "UNAUTHENTICATED") == GRPC_CALLS // 3
    assert more("grpc", "score", "OK") == GRPC_CALLS * 2 // 3


def test_log_and_traces_are_complete_and_tell_nothing_private(observed: Observed, features: dict[str, Any]) -> None:
    """The last test of this file: it stops the service."""
    with observed.client(observed.bento.url, observed.key) as client:
        client.score("1x2", [features], request_id="followed")
    observed.bento.stop()

    log = observed.bento.log.read_text()
    private = [str(value) for value in features.values() if isinstance(value, float) and len(str(value)) > 8]
    assert len(private) > 5
    for secret in (observed.key, *private):
        assert secret not in log
        assert not [body for body in observed.collector.bodies if secret.encode() in body]
    for line in log.splitlines():
        if '"logger"' in line:
            assert {"time", "level", "message", "pid"} <= json.loads(line).keys()
    assert "POST" not in log  # no access log

    spans = observed.collector.spans()
    requests = {one.span_id: one for one in spans if one.name in ("http score", "grpc score")}
    parts = [one for one in spans if one.name == "score"]
    assert parts
    assert all(part.trace_id == requests[part.parent_span_id].trace_id for part in parts)
    assert {one.name.split()[0] for one in spans} == {"http", "grpc", "score", "score_batch"}  # none of BentoML's own
