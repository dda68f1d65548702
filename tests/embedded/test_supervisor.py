"""The supervisor: services are kept running, and whatever happens to it or to them, no process stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from betting_assets.embedded.platform_lock import PlatformLock
from betting_assets.embedded.ports import free_port
from betting_assets.embedded.process_tree import Record, marked, same_process
from betting_assets.embedded.service_log import ServiceLog
from betting_assets.embedded.supervisor import Service, Supervisor

PROGRAM = Path(__file__).with_name("supervised.py")
SLEEP = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
WITH_GRANDCHILD = f"""
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
"""


def python(name: str, code: str, *arguments: str, **more: object) -> dict[str, object]:
    return {"name": name, "command": [sys.executable, "-c", code, *arguments], "stop_seconds": 0.5, **more}


def website(name: str = "website") -> dict[str, object]:
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    return {"name": name, "command": command, "ready_url": f"http://127.0.0.1:{port}/"}


class Platform:
    """`supervised.py` as a process in a session of its own, as if in a terminal."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.process: subprocess.Popen[str] | None = None

    def start(self, *services: dict[str, object], ready: bool = True) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(self.state), json.dumps(services)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if ready:
            assert self.process.stdout is not None
            assert self.process.stdout.readline() == "ready\n"
        return self.process

    def log(self, name: str) -> str:
        return (self.state / "logs" / f"{name}.log").read_text()

    def pids(self) -> set[int]:
        return {process.pid for process in marked(self.state)}


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    platform = Platform(tmp_path / "state")
    yield platform
    if platform.process is not None:
        platform.process.kill()
        platform.process.communicate()
    for left in marked(platform.state):
        left.kill()


def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("did not happen")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serves_until_a_signal_and_leaves_nothing(platform: Platform, number: signal.Signals) -> None:
    site = website()
    supervisor = platform.start(site, python("idle", SLEEP))
    with urllib.request.urlopen(str(site["ready_url"])) as answer:
        assert answer.status == 200
    supervisor.send_signal(number)
    assert supervisor.wait(30) == 0
    assert platform.pids() == set()
    assert "GET / HTTP" in platform.log("website")
    assert Record(platform.state).living() == set()


def test_ctrl_c_in_the_terminal_stops_the_services_one_by_one_in_reverse_order(
    platform: Platform, tmp_path: Path
) -> None:
    code = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\ntry:\n"
    code += " open(sys.argv[1] + sys.argv[2], 'w').close(); time.sleep(600)\n"
    code += "finally:\n time.sleep(0.1); open(sys.argv[1] + 'order', 'a').write(sys.argv[2])"
    names = ["a", "b", "c"]
    supervisor = platform.start(*(python(name, code, f"{tmp_path}/", name) for name in names))
    until(lambda: all((tmp_path / name).exists() for name in names))
    os.killpg(supervisor.pid, signal.SIGINT)  # what a terminal does: the whole foreground group
    assert supervisor.wait(30) == 0
    assert (tmp_path / "order").read_text() == "cba"


def test_kills_what_ignores_sigterm_and_grandchildren_in_sessions_of_their_own(
    platform: Platform, tmp_path: Path
) -> None:
    supervisor = platform.start(
        python("stubborn", STUBBORN), python("parent", WITH_GRANDCHILD + SLEEP, str(tmp_path / "pid"))
    )
    until((tmp_path / "pid").exists)
    until(lambda: len(platform.pids()) == 3)
    supervisor.terminate()
    assert supervisor.wait(30) == 0
    assert platform.pids() == set()


def test_a_second_ctrl_c_does_not_wait(platform: Platform) -> None:
    supervisor = platform.start(python("stubborn", STUBBORN, stop_seconds=600))
    until(lambda: len(platform.pids()) == 1)
    supervisor.send_signal(signal.SIGINT)
    time.sleep(0.5)
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(30) == 0
    assert platform.pids() == set()


def test_a_crashed_service_is_started_again_and_its_orphans_are_ended_first(platform: Platform, tmp_path: Path) -> None:
    first = tmp_path / "first"
    crash_once = "import os, sys, time\nif os.path.exists(sys.argv[2]): time.sleep(600)\nopen(sys.argv[2], 'w').close()"
    supervisor = platform.start(
        python("parent", WITH_GRANDCHILD + crash_once, str(tmp_path / "pid"), str(first)), ready=False
    )
    until(first.exists)
    orphan = int((tmp_path / "pid").read_text())
    until(lambda: int((tmp_path / "pid").read_text() or orphan) != orphan)
    assert orphan not in platform.pids()
    assert supervisor.poll() is None
    supervisor.terminate()
    _, warnings = supervisor.communicate(timeout=30)
    assert "parent ended with code 0: restart 1 of 5" in warnings
    assert platform.pids() == set()


def test_a_service_that_always_crashes_stops_all_with_one_line(platform: Platform, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    code = "import sys; open(sys.argv[1], 'a').write('x'); sys.exit('no such model')"
    supervisor = platform.start(python("idle", SLEEP), python("crashing", code, str(starts)), ready=False)
    said, _ = supervisor.communicate(timeout=30)
    line = said.removeprefix("ready\n")
    assert line.startswith("crashing ended with code 1, 6 times within 5 minutes: ")
    assert "no such model; the whole log: " in line
    assert line.rstrip().endswith("logs/crashing.log")
    assert line.count("\n") == 1
    assert starts.read_text() == "x" * 6
    assert supervisor.returncode == 3
    assert platform.pids() == set()


def test_a_service_that_is_not_ready_in_time_fails_for_good(platform: Platform) -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    supervisor = platform.start(python("mute", SLEEP, ready_url=url, start_seconds=0.5), ready=False)
    said, _ = supervisor.communicate(timeout=30)
    assert said.startswith(f"mute did not answer at {url} within 0.5 s: (nothing was logged); the whole log: ")
    assert platform.pids() == set()


def test_ready_means_an_answer_below_500(platform: Platform) -> None:
    port = free_port()
    code = (
        "import http.server as h, sys\ncodes = [503, 404]\nclass H(h.BaseHTTPRequestHandler):\n"
        " def do_GET(self): self.send_response(codes.pop(0)); self.end_headers()\n"
        "h.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()"
    )
    platform.start(python("slow", code, str(port), ready_url=f"http://127.0.0.1:{port}/health"))
    assert [line.split('"')[2].split()[0] for line in platform.log("slow").splitlines()] == ["503", "404"]


def test_a_program_that_does_not_exist_is_named(platform: Platform) -> None:
    missing = {"name": "missing", "command": ["no-such-program"]}
    said, _ = platform.start(missing, ready=False).communicate(timeout=30)
    assert said.startswith("missing cannot be started: ")
    assert "no-such-program" in said


def test_the_next_start_ends_what_a_killed_supervisor_left(platform: Platform, tmp_path: Path) -> None:
    supervisor = platform.start(
        python("stubborn", STUBBORN), python("parent", WITH_GRANDCHILD + SLEEP, str(tmp_path / "pid"))
    )
    until(lambda: len(platform.pids()) == 3)
    supervisor.kill()
    supervisor.wait()
    left = platform.pids()
    assert len(left) == 3
    again = platform.start(python("stubborn", STUBBORN))
    assert not left & platform.pids()
    again.terminate()
    _, warnings = again.communicate(timeout=30)
    assert f"pid {supervisor.pid}, since " in warnings
    assert "did not stop properly: taking over, 3 leftovers ended" in warnings


def test_leftovers_are_found_by_record_when_their_environment_is_cleared(platform: Platform, tmp_path: Path) -> None:
    code = f"import os, sys; os.execve(sys.executable, [sys.executable, '-c', {SLEEP!r}], {{}})"
    supervisor = platform.start(python("cleared", code))
    until(lambda: Record(platform.state).living() and not platform.pids())
    (left,) = Record(platform.state).living()
    supervisor.kill()
    supervisor.wait()
    with PlatformLock(platform.state, ports={}):
        assert same_process(left.pid, left.create_time()) is None


def test_a_pid_that_another_program_got_since_is_not_killed(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", SLEEP])
    try:
        created = psutil.Process(stranger.pid).create_time()
        (tmp_path / "processes.json").write_text(json.dumps({"idle": [stranger.pid, created - 60]}))
        with PlatformLock(tmp_path, ports={}):
            assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_services_of_another_state_folder_are_left_alone(platform: Platform, tmp_path: Path) -> None:
    platform.start(python("idle", SLEEP))
    before = platform.pids()
    with PlatformLock(tmp_path / "other", ports={}), PlatformLock(tmp_path / "state#idle", ports={}):
        assert platform.pids() == before != set()


def test_secrets_stay_in_the_environment(platform: Platform) -> None:
    secret = "hunter" + "2-hunter2"
    service = python("idle", "import os, time; print(len(os.environ['PASSWORD']), flush=True); time.sleep(600)")
    service["environment"] = {"PASSWORD": secret}
    assert secret not in repr(Service(**service))  # type: ignore[arg-type]
    platform.start(service)
    until(lambda: platform.log("idle") == f"{len(secret)}\n")
    assert all(secret not in " ".join(process.cmdline()) for process in marked(platform.state))
    assert all(secret not in path.read_text() for path in platform.state.rglob("*") if path.is_file())


def test_a_log_is_bounded_and_the_last_start_is_kept(platform: Platform) -> None:
    code = "import time\nfor i in range(10**9): print('line', i, 'x' * 80, flush=True); time.sleep(0.0002)"
    supervisor = platform.start(python("chatty", code))
    log, old = platform.state / "logs" / "chatty.log", platform.state / "logs" / "chatty.log.1"
    until(lambda: old.exists() and log.stat().st_size)
    until(lambda: b"line 0 " not in old.read_bytes())  # cut at least twice
    supervisor.terminate()
    supervisor.wait(30)
    last = log.read_bytes()
    assert b"\0" not in last
    assert ServiceLog(log).gist().count("line") == 3
    platform.start(python("chatty", SLEEP)).terminate()
    until(lambda: old.read_bytes() == last)


def test_two_services_cannot_share_a_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same name"):
        Supervisor([Service("a", ["true"]), Service("a", ["true"])], tmp_path)
