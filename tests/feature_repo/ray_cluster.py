"""A Ray of the test's own, small, on loopback and with a token, and Feast's command through feature_store.ray.yaml."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from betting_assets.settings import PROJECT_ROOT
from feature_repo.store import FOLDER

CONFIGURATION = FOLDER / "feature_store.ray.yaml"
GONE = (psutil.NoSuchProcess, psutil.AccessDenied)


@dataclass(frozen=True)
class Run:
    """How a command ended: its exit code, what it printed, and the IP addresses at which its Ray listened meanwhile."""

    code: int
    output: str
    listened: frozenset[str]


@contextmanager
def ray_variables() -> Iterator[dict[str, str]]:
    """The variables that the configuration's comment names, for a Ray in a folder of its own.

    At the end whatever was left running is killed, the folder goes, and it is an error if something was left.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: Ray puts its sockets there, whose paths are limited
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    try:
        yield {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(folder),
            "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(80 * 2**20),
        }
    finally:
        _, left = psutil.wait_procs(processes(folder), timeout=15)
        names = [process.name() for process in left]
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=15)
        shutil.rmtree(folder)
    assert names == [], f"Ray left {names}"


@contextmanager
def cluster(variables: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """A cluster of one node that lives for this context; the variables with its RAY_ADDRESS."""
    start = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--port=0", "--include-dashboard=false"]
    folder = Path(variables["RAY_TMPDIR"])
    with (folder / "head.log").open("w") as log:
        command = [*start, "--num-cpus=2", "--block"]
        # Nothing runs there any more when it is told to end: no half a minute to drain.
        environment = {**os.environ, **variables, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield {**variables, "RAY_ADDRESS": _address(folder, head)}
    finally:
        head.terminate()
        head.wait(timeout=30)


def _address(folder: Path, head: subprocess.Popen[bytes]) -> str:
    """host:port of the head, as soon as it is up."""
    log = folder / "head.log"
    for _ in range(300):
        if "Ray runtime started" in log.read_text():
            return (folder / "ray" / "ray_current_cluster").read_text().strip()
        if head.poll() is not None:
            break
        time.sleep(0.2)
    raise RuntimeError(f"Ray did not start: {log.read_text()}")


def feast(url: str, variables: Mapping[str, str], *arguments: str) -> Run:
    """Run `python -m feature_repo -f feature_store.ray.yaml ARGUMENTS` on a database; watch where its Ray listens."""
    command = [sys.executable, "-m", "feature_repo", "-f", str(CONFIGURATION), *arguments]
    environment = {**os.environ, **variables, "BETTING_DATABASE_URL": url}
    folder = Path(variables["RAY_TMPDIR"])
    listened: set[str] = set()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(command, env=environment, cwd=PROJECT_ROOT, stdout=output, stderr=subprocess.STDOUT)
        try:
            while child.poll() is None:
                listened |= _listening(folder)
                time.sleep(1)
        finally:
            child.kill()
            child.wait()
        output.seek(0)
        return Run(child.returncode, output.read(), frozenset(listened))


def processes(folder: Path) -> list[psutil.Process]:
    """Every process that was started with this folder as RAY_TMPDIR."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("RAY_TMPDIR") == str(folder):
                found.append(process)
        except GONE:
            continue
    return found


def _listening(folder: Path) -> set[str]:
    addresses = set()
    for process in processes(folder):
        try:
            connections = process.net_connections(kind="tcp")
        except GONE:
            continue
        addresses |= {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}
    return {address.removeprefix("::ffff:") for address in addresses}  # gRPC's way to write an IPv4 address
