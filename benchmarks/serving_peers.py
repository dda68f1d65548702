"""Start and stop the peers: FastAPI under uvicorn, and Ray Serve."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psutil
from serving_peer_work import PeerConfig
from serving_stack import HTTP_PATH, WORKERS, Stack

from betting_assets.embedded.ports import free_port
from betting_assets.settings import NO_TELEMETRY

HERE = Path(__file__).parent


def ray_is_installed() -> bool:
    return importlib.util.find_spec("ray") is not None


@contextlib.contextmanager
def fastapi(stack: Stack) -> Iterator[tuple[int, int]]:
    """Port, and pid of the process whose tree serves."""
    port = free_port()
    with _running("serving_peer_fastapi.py", port, stack, {}) as pid:
        yield port, pid


@contextlib.contextmanager
def ray_serve(stack: Stack) -> Iterator[tuple[int, int]]:
    """Port, and pid of the process whose tree serves: all of Ray."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: Ray puts its sockets there, whose paths are limited
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_TMPDIR": str(folder),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }
    try:
        port = free_port()
        with _running("serving_peer_ray.py", port, stack, variables) as pid:
            yield port, pid
    finally:
        _end_leftovers(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _running(script: str, port: int, stack: Stack, variables: Mapping[str, str]) -> Iterator[int]:
    model = stack.models[0]
    config = PeerConfig(
        stack.url, model.tag, {market: str(path) for market, path in model.folders.items()}, dict(model.versions)
    )
    path = os.pathsep.join((str(HERE), str(HERE.parent)))
    environment = {
        **os.environ,
        **NO_TELEMETRY,
        **config.variable(),
        **variables,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
    }
    log = stack.home.parent / f"{script}.log"
    with log.open("wb") as output:
        command = [sys.executable, str(HERE / script), str(port), str(WORKERS)]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        _wait(process, port, stack.matches.ids, log)
        yield process.pid
    finally:
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        _, left = psutil.wait_procs(tree, timeout=5)
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, ids: list[str], log: Path) -> None:
    """Until it answers steadily: all its processes are up, and have read the store."""
    end, good = time.monotonic() + 120, 0
    while good < 40:
        if process.poll() is not None or time.monotonic() > end:
            tail = log.read_text(errors="replace").strip()[-1500:]
            raise RuntimeError(f"{log.name}: the peer did not come up:\n{tail}")
        try:
            question = {"market": "1x2", "match_ids": [ids[good % len(ids)]]}
            response = httpx.post(f"http://127.0.0.1:{port}{HTTP_PATH}", json=question, timeout=30.0)
            good = good + 1 if response.is_success else 0
        except httpx.TransportError:
            good = 0
        if not good:
            time.sleep(0.2)


def _end_leftovers(folder: Path) -> None:
    """Kill what was started with this folder as RAY_TMPDIR and outlived its parent."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("RAY_TMPDIR") == str(folder):
                process.kill()
