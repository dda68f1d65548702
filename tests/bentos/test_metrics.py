"""Metrics are exact over several processes, forget the dead, and are those that dashboard and alerts speak of."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from bentos.match_odds.log.prediction_log import Fate
from bentos.match_odds.model.champions import Champions
from bentos.match_odds.model.served import Served
from bentos.match_odds.observing.metrics import LOG_FATES, Metrics
from betting_assets.settings import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"
START = "from bentos.match_odds.observing.metrics import make_metrics\nm = make_metrics()\n"
STATE = """
from types import SimpleNamespace
def state(reachable, age, watchers, degraded=False):
    m.state(SimpleNamespace(reachable=reachable, reason=None, entries=7, oldest_age=age), watchers, degraded=degraded)
"""
WAIT = "import sys\nprint('there', flush=True)\nsys.stdin.read()\n"


class Processes:
    """Worker processes that count into one folder, as BentoML's do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: list[subprocess.Popen[str]] = []

    def run(self, code: str) -> None:
        """Run to the end."""
        process = self._start(code)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err

    def keep(self, code: str) -> subprocess.Popen[str]:
        """Run the code, then wait."""
        process = self._start(code + WAIT)
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        return process

    def values(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self.folder))
        text = generate_latest(registry).decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}

    def value(self, name: str, **labels: str) -> float | None:
        return self.values().get((name, frozenset(labels.items())))

    def end(self) -> None:
        for process in self._open:
            process.kill()
            process.communicate()

    def _start(self, code: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(self.folder)}
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", START + STATE + code]
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        self._open.append(process)
        return process


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path)
    try:
        yield started
    finally:
        started.end()


def test_every_event_of_every_process_is_counted_exactly_once(processes: Processes) -> None:
    code = """
for i in range({n}):
    m.request("http", "predict", "200", 0.004)
    m.request("http", "predict", "503" if i % 3 == 0 else "200", 0.2)
    m.request("grpc", "predict", "OK", 0.004)
    m.request("grpc", "watch", "CANCELLED", 3600.0)
    m.cache_read(i % 2 == 0)
    m.batch(3, [0.001, 0.004, 0.0001])
    m.shed("grpc")
    m.cancelled("http")
    m.logged("dropped", 4)
    m.shadowed("scored", 2)
m.flush()
"""
    first = processes.keep(code.format(n=300))
    processes.run(code.format(n=699))
    first.send_signal(signal.SIGKILL)
    first.wait()

    n = 999
    counts = {
        ("betting_requests_total", ("http", "predict", "200")): n + n * 2 // 3,
        ("betting_requests_total", ("http", "predict", "503")): n // 3,
        ("betting_requests_total", ("grpc", "predict", "OK")): n,
        ("betting_requests_total", ("grpc", "watch", "CANCELLED")): n,
    }
    for (name, (protocol, method, code_)), expected in counts.items():
        assert processes.value(name, protocol=protocol, method=method, code=code_) == expected
    assert processes.value("betting_request_seconds_count", protocol="http", method="predict") == 2 * n
    assert processes.value("betting_request_seconds_bucket", protocol="http", method="predict", le="0.005") == n
    seconds = processes.value("betting_request_seconds_sum", protocol="http", method="predict")
    assert seconds == pytest.approx(n * 0.204)
    assert processes.value("betting_cache_reads_total", result="hit") == 150 + 350
    assert processes.value("betting_cache_reads_total", result="miss") == 150 + 349
    assert processes.value("betting_batch_rows_sum") == 3 * n
    assert processes.value("betting_queue_wait_seconds_sum") == pytest.approx(0.004 * n)
    assert processes.value("betting_shed_total", protocol="grpc") == n
    assert processes.value("betting_shed_total", protocol="http") == 0
    assert processes.value("betting_cancelled_total", protocol="http") == n
    assert processes.value("betting_prediction_log_rows_total", fate="dropped") == 4 * n
    assert processes.value("betting_shadow_rows_total", fate="scored") == 2 * n


def test_a_stream_says_nothing_about_latency(processes: Processes) -> None:
    processes.run('m.request("http", "watch", "200", 3600.0)\nm.flush()')
    assert processes.value("betting_requests_total", protocol="http", method="watch", code="200") == 1
    assert not [labels for name, labels in processes.values() if name == "betting_request_seconds_count"]


def test_gauges_tell_the_worst_of_all_workers(processes: Processes) -> None:
    processes.keep("state(True, 0.1, 2)\n")
    processes.keep("state(False, 0.3, 5, degraded=True)\n")
    assert processes.value("betting_store_up") == 0
    assert processes.value("betting_cache_age_seconds") == 0.3
    assert processes.value("betting_degraded") == 1
    assert processes.value("betting_watchers") == 7
    assert processes.value("betting_cache_entries") == 14


def test_a_killed_worker_leaves_its_counts_but_not_its_state(processes: Processes) -> None:
    killed = processes.keep(
        'state(False, 9.0, 5, degraded=True)\nm.request("http", "predict", "200", 0.001)\nm.flush()\n'
    )
    killed.kill()
    killed.wait()
    assert processes.value("betting_store_up") == 0

    processes.keep("state(True, 0.1, 1)\n")

    assert processes.value("betting_store_up") == 1
    assert processes.value("betting_cache_age_seconds") == 0.1
    assert processes.value("betting_degraded") == 0
    assert processes.value("betting_watchers") == 1
    assert processes.value("betting_requests_total", protocol="http", method="predict", code="200") == 1


def test_metrics_that_nobody_could_see_are_refused(tmp_path: Path) -> None:
    code = f"""
import os
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
import prometheus_client
os.environ["PROMETHEUS_MULTIPROC_DIR"] = {str(tmp_path)!r}
from bentos.match_odds.observing.metrics import make_metrics
make_metrics()
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert "RuntimeError: prometheus_client was imported before PROMETHEUS_MULTIPROC_DIR was set" in run.stderr


def test_a_replaced_model_is_told_as_served_by_nobody(champions: Champions) -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    version = champions.of("1x2").version

    def workers(role: str, bento: str) -> float | None:
        labels = {"market": "1x2", "version": version, "role": role, "bento": bento}
        return registry.get_sample_value("betting_model_info", labels)

    metrics.serves(Served("match_odds:old", champions, Champions()))
    assert (workers("champion", "match_odds:old"), workers("champion", "match_odds:new")) == (1, None)
    metrics.serves(Served("match_odds:new", champions, champions))
    assert (workers("champion", "match_odds:old"), workers("champion", "match_odds:new")) == (0, 1)
    assert workers("challenger", "match_odds:new") == 1
    metrics.serves(Served("match_odds:old", champions, Champions()))
    assert (workers("champion", "match_odds:old"), workers("champion", "match_odds:new")) == (1, 0)
    assert workers("challenger", "match_odds:new") == 0


def test_the_fates_that_begin_at_zero_are_all_there_are() -> None:
    assert set(LOG_FATES) == set(Fate)


def _names() -> set[str]:
    """Every name that /metrics tells."""
    registry = CollectorRegistry()
    Metrics(registry)
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {family.name + suffix for family in registry.collect() for suffix in suffixes[family.type]}


def _named(text: str) -> set[str]:
    return set(re.findall(r"\bbetting_\w+", text))


def _expressions() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana" / "match_odds.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def _rules() -> list[dict[str, Any]]:
    alerts = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    return [rule for group in alerts["groups"] for rule in group["rules"]]


def test_dashboard_and_alerts_use_metrics_that_exist() -> None:
    rules = _rules()
    used = _named("\n".join([*_expressions(), *(rule["expr"] for rule in rules)]))
    assert len(used) >= 15
    assert used <= _names()
    assert all(rule["annotations"]["summary"] for rule in rules)


def test_the_dashboard_shows_every_metric() -> None:
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in _names()}
    shown = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in _named("\n".join(_expressions()))}
    assert shown == families


def test_the_manual_names_every_metric_and_every_alert() -> None:
    manual = (PROJECT_ROOT / "docs" / "serving-operations.md").read_text()
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in _names()}
    assert _named(manual) == families
    rules = _rules()
    assert set(re.findall(r"\bBetting[A-Z]\w+", manual)) == {rule["alert"] for rule in rules}
